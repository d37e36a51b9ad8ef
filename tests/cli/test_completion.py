"""The completion scripts, by the shells themselves where they are installed."""
import shutil
import subprocess

import pytest

from fake_hub import Answer


def complete(client, script, *words):
    """What bash would offer for the last of these words."""
    line = " ".join(f"'{w}'" for w in words)
    probe = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n_lookback 2>/dev/null\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "--norc", "-c", probe], capture_output=True, text=True, env=client.environment,
                          cwd=client.directory)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture
def bash(client):
    from conftest import BINARY
    script = client("completion", "bash")
    assert script.returncode == 0
    return lambda *words: complete(client, script.stdout, BINARY, *words)


def test_bash(bash, client, hub, tmp_path):
    hub.routes["GET /api/v1/snapshots"] = Answer({"snapshots": [{"name": "incident-1"}, {"name": "audit"}]})
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": [{"name": "web-1"}, {"name": "db-1"}]})
    assert {"snapshot", "nodes", "capture", "hub", "standalone", "completion"} == bash("")
    assert bash("sn") == {"snapshot"}
    assert bash("snapshot", "c") == {"create", "cancel"}
    assert {"--last", "--wait", "--help", "-o"} <= bash("snapshot", "create", "--", "-") | bash("snapshot", "create", "-")
    assert bash("snapshot", "create", "x", "--las") == {"--last"}
    assert bash("snapshot", "list", "-o", "") == {"table", "json", "name"}
    assert bash("snapshot", "show", "") >= {"incident-1", "audit"}
    assert bash("snapshot", "delete", "in") == {"incident-1"}
    assert bash("snapshot", "create", "x", "--node", "w") == {"web-1"}
    (tmp_path / "some.pcap").write_text("")
    assert "some.pcap" in bash("snapshot", "import", "so")
    assert bash("snapshot", "create", "x", "--last", "") == set()
    hub.close()
    assert bash("snapshot", "delete", "in") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_parse(client, shell):
    done = client("completion", shell)
    assert done.returncode == 0 and "snapshot" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)
