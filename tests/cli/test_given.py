"""An option that was given is never taken for one that was not: an empty or zero value is wrong usage, or means something of its own."""
import pytest

from fake_hub import Answer

EMPTY = [
    ["snapshot", "create", ""], ["snapshot", "show", ""], ["snapshot", "pcap", ""], ["snapshot", "flows", ""], ["snapshot", "verify", ""],
    ["snapshot", "download", ""], ["snapshot", "delete", "", "--yes"], ["snapshot", "cancel", ""], ["snapshot", "import", ""],
    *(["snapshot", "create", "s", option, ""] for option in
      ("--last", "--from", "--to", "--node", "--ip", "--tag", "--deadline", "-o", "--hub", "--token-file", "--ca-file")),
    *(["snapshot", command, "s", option, ""] for command in ("pcap", "flows") for option in
      ("--from", "--to", "--node", "--interface", "--ip", "--filter", "--process", "--pid", "--container", "-o")),
    ["snapshot", "pcap", "s", "--format", ""], ["snapshot", "pcap", "s", "--snaplen", ""], ["snapshot", "pcap", "s", "--split-size", ""],
    ["snapshot", "flows", "s", "--sort", ""], ["snapshot", "flows", "s", "--limit", ""],
    ["snapshot", "import", "x.pcap", "--name", ""], ["snapshot", "import", "x.pcap", "--name", "n", "-o", ""],
    ["snapshot", "download", "s", "-o", ""], ["nodes", "--hub", ""], ["completion", ""],
    *([daemon, option, ""] for daemon in ("capture", "standalone", "hub") for option in
      ("--listen", "--data-dir", "--token-file", "--log-level", "--config")),
    *(["capture", option, ""] for option in ("--hub", "--node", "--advertise", "--storage-size", "--freeze-size", "--event-storage-size",
                                             "--interface", "--filter", "--snaplen", "--ring-size", "--ca-file", "--node-url")),
    ["hub", "--snapshot-storage-size", ""], ["standalone", "--storage-size", ""], ["standalone", "--node", ""],
]
ZERO = [
    ["snapshot", "create", "s", "--last", "0s"], ["snapshot", "create", "s", "--last", "0m0s"], ["snapshot", "create", "s", "--deadline", "0s"],
    ["snapshot", "create", "s", "--from", "-1m", "--to", "-1m"], ["snapshot", "flows", "s", "--limit", "0"], ["snapshot", "pcap", "s", "--pid", "0"],
    ["snapshot", "pcap", "s", "--split-size", "0"], ["capture", "--storage-size", "0"], ["capture", "--freeze-size", "0"],
    ["capture", "--event-storage-size", "0"], ["capture", "--ring-size", "0"], ["standalone", "--storage-size", "0"],
    ["hub", "--snapshot-storage-size", "0"], ["snapshot", "pcap", "s", "--split-size", "1MiB", "-o", "-"],
]


@pytest.mark.parametrize("words", EMPTY + ZERO, ids=" ".join)
def test_a_given_value_is_used_or_refused(client, hub, words):
    done = client(*words)
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.startswith("lookback: ") and done.stderr.count("\n") == 1, done
    assert hub.requests == []


def test_settings_files_are_held_to_the_same(client, tmp_path):
    for line in ("node = ''", "interface = []", "interface = ['']", "storage-size = 0", "freeze-size = '0'", "filter = ''"):
        (tmp_path / "capture.toml").write_text(line + "\n")
        done = client("capture", "--config", tmp_path / "capture.toml")
        assert done.returncode == 2 and line.split(" ")[0] in done.stderr, (line, done)


def test_an_empty_variable_is_as_good_as_none(client, hub):
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": []})
    assert client("nodes", env={"LOOKBACK_CA_FILE": "", "LOOKBACK_TOKEN_FILE": ""}).returncode == 0


def test_what_was_not_given_is_not_sent(client, hub):
    hub.routes["POST /api/v1/snapshots"] = Answer({"name": "s", "state": "in_progress"}, 202)
    client("snapshot", "create", "s")
    assert hub.requests[-1].json == {"name": "s", "tags": {}, "deadline_ns": 60_000_000_000, "last_ns": 300_000_000_000}
    hub.routes["GET /api/v1/snapshots/s/flows"] = Answer({"flows": []})
    client("snapshot", "flows", "s")
    assert "limit" not in hub.requests[-1].path and "filter" not in hub.requests[-1].path
    client("snapshot", "flows", "s", "--limit", "3")
    assert "limit=3" in hub.requests[-1].path
