"""The completion scripts, by the shells themselves where they are installed."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

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
    assert {"snapshot", "nodes", "jobs", "capture", "hub", "standalone", "token", "completion"} == bash("")
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


EVIL = ["$(touch pwned-1)", "`touch pwned-2`", ";touch pwned-3", "x;touch${IFS}pwned-4", "'\"$(touch pwned-5)", "-rf", "a b", "*", "~", "\x1b[2J",
        "x[$(touch pwned-6)]", "${(e):-$(touch pwned-7)}", "(touch pwned-8)"]


@pytest.fixture
def evil_program(client, tmp_path):
    """A lookback in front of all others that names what must never run, as a client without checks would print it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "names").write_text("\n".join([*EVIL, "incident-1", "indigo"]) + "\n")
    program = folder / "lookback"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/names\n")
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "$(touch pwned-9)").write_text("")
    (tmp_path / "work" / "in file;touch pwned-10").write_text("")
    return {**client.environment, "PATH": f"{folder}:{client.environment['PATH']}"}


class Terminal:
    """A shell on a terminal, to type into."""

    def __init__(self, command, env, directory):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=directory, start_new_session=True)
        os.close(slave)
        self.shown = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=20):
        end, start = time.monotonic() + timeout, len(self.shown)
        while text not in self.shown[start:]:
            assert time.monotonic() < end, f"no {text!r} in {self.shown!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


STARTS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_runs_nothing_that_a_hub_names(client, evil_program, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(client("completion", shell).stdout)
    terminal = Terminal(STARTS[shell], {**evil_program, "PS1": "> ", "TERM": "xterm"}, tmp_path / "work")
    try:
        if shell == "zsh":
            terminal.type("autoload -Uz compinit && compinit -u -D\n")
        terminal.type(f"source {tmp_path}/script; echo rea''dy\n")
        terminal.expect("ready")
        for line, shown in (("lookback snapshot delete i", "indigo"), ("lookback snapshot create x --node i", "indigo"), ("lookback snapshot show i", "indigo"),
                            ("lookback snapshot delete ", "indigo"), ("lookback snapshot show ./", "pwned-10"), ("lookback snapshot delete '$", None)):
            terminal.type(line + "\t\t\t")  # readline lists at the third, where the first has completed something
            if shown:
                terminal.expect(shown)
            terminal.type("\x15echo do''ne\n")  # the line goes away before it is run
            terminal.expect("done")
    finally:
        terminal.close()
    assert not list(tmp_path.rglob("pwned*")), terminal.shown
    assert not re.search(r"pwned-[1-8]\b", terminal.shown), terminal.shown


def test_fish_runs_nothing_that_a_hub_names(client, evil_program, tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "script").write_text(client("completion", "fish").stdout)
    for line, wanted in (("lookback snapshot delete ", True), ("lookback snapshot create x --node ", True), ("lookback snapshot show ", True),
                         ("lookback snapshot delete \\$", False)):
        done = subprocess.run(["fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", tmp_path / "script", line],
                              capture_output=True, text=True, env={**evil_program, "HOME": str(tmp_path)}, cwd=tmp_path / "work", timeout=60)
        assert done.returncode in (0, 1), done
        offered = {one.split("\t")[0] for one in done.stdout.splitlines()}
        assert not offered & set(EVIL), offered
        if wanted:
            assert {"incident-1", "indigo"} <= offered, done
    assert not list(tmp_path.rglob("pwned*"))


def test_names_that_cannot_be_are_not_listed(client, hub):
    for path, words, key in (("GET /api/v1/snapshots", ["snapshot", "list"], "snapshots"), ("GET /api/v1/nodes", ["nodes"], "nodes")):
        hub.routes[path] = Answer({key: [{"name": name} for name in [*EVIL, "", "incident-1"]]})
        done = client(*words, "-o", "name")
        assert done.returncode == 0 and done.stdout == "incident-1\n", done
        assert len(done.stderr.splitlines()) == len(EVIL) + 1 and "\x1b" not in done.stderr, done
