"""Texts from a hub that are meant to steer a terminal or a spreadsheet: nothing of them is printed as it is."""
import csv
import io
import json

import pytest

from fake_hub import Answer, problem
from test_client import SNAPSHOT

# ESC, CSI as one C1 character, right-to-left override, an isolate, line separator, next line, DEL, bell, a tag, zero width space, carriage return
HIDDEN = ["\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\x85", "\x7f", "\x07", "\U000e0061", "\u200b", "\r"]
EVIL = "a" + "".join(HIDDEN) + "[2Jz"
PAGE = "/api/v1/snapshots/s"

HOSTILE = {
    **SNAPSHOT, "id": EVIL, "reason": EVIL, "tags": {EVIL: EVIL}, "networks": [EVIL], "location": EVIL, "complete": False, "state": EVIL,
    "nodes": [{"name": EVIL, "status": "partial", "reason": EVIL, "packets": 1, "bytes": 1, "clock": [], "version": EVIL,
               "gaps": [{"start": SNAPSHOT["from"], "end": SNAPSHOT["to"], "packets": 0, "reason": EVIL}]}],
}
JOB = {"id": EVIL, "kind": EVIL, "subject": EVIL, "state": "failed", "error": {"kind": EVIL, "message": EVIL}}
FLOW = {"start": EVIL, "end": EVIL, "node": EVIL, "interface": EVIL, "protocol": EVIL, "state": EVIL, "packets": 1, "bytes": 1, "retransmits": 0,
        "client": {"ip": EVIL, "port": 1, "process": EVIL, "container": EVIL}, "server": {"ip": EVIL, "port": 2, "process": EVIL, "container": EVIL}}


def is_clean(text):
    return not any(c in text for c in HIDDEN) and all(c == "\n" or c.isprintable() for c in text)


@pytest.fixture
def hostile(client, hub):
    hub.routes.update({
        f"GET {PAGE}": Answer(HOSTILE), "GET /api/v1/snapshots": Answer({"snapshots": [HOSTILE, {**HOSTILE, "name": EVIL}]}),
        "GET /api/v1/nodes": Answer({"nodes": [{"name": EVIL, "state": EVIL, "version": EVIL, "url": EVIL, "last_seen": EVIL, "oldest": EVIL,
                                                "newest": EVIL}]}),
        f"GET {PAGE}/flows": Answer({"flows": [FLOW], "warnings": [EVIL], "complete": False}),
        "POST /api/v1/snapshots": Answer({**HOSTILE, "name": "s"}, 202),
        f"POST {PAGE}/verify": Answer({**JOB, "id": "j"}, 202),
        "GET /api/v1/jobs/j": Answer(JOB), "GET /api/v1/jobs": Answer({"jobs": [JOB]}),
        f"POST {PAGE}/cancel": problem(409, EVIL, "conflict"),
        "GET /api/v1/status": Answer({"node": EVIL, "version": EVIL, "started": EVIL, "hub": {"url": EVIL, "error": EVIL}, "filter": EVIL,
                                      "retention_text": EVIL, "interfaces": [{"name": EVIL}],
                                      "layers": {"os_events": {"state": EVIL, "reason": EVIL}},
                                      "gaps": [{"start": EVIL, "end": EVIL, "reason": EVIL}]}),
    })
    return client


@pytest.mark.parametrize("words", [
    ["snapshot", "show", "s"], ["snapshot", "show", "s", "-o", "json"], ["snapshot", "list"], ["snapshot", "list", "-o", "name"],
    ["snapshot", "list", "-o", "json"], ["nodes"], ["nodes", "-o", "name"], ["nodes", "-o", "json"], ["snapshot", "flows", "s"],
    ["snapshot", "flows", "s", "-o", "csv"], ["snapshot", "flows", "s", "-o", "json"], ["snapshot", "create", "s"],
    ["snapshot", "create", "s", "-o", "json"], ["snapshot", "cancel", "s"], ["snapshot", "verify", "s"], ["jobs"], ["jobs", "-o", "json"], ["jobs", "show", "j"], ["snapshot", "download", "s"],
    ["snapshot", "pcap", EVIL], ["snapshot", "pcap", "./" + EVIL], ["snapshot", "pcap", "s", "--filter", EVIL], ["nodes", "--" + EVIL]], ids=repr)
def test_no_output_steers_a_terminal(hostile, words):
    done = hostile(*words)
    assert is_clean(done.stdout) and is_clean(done.stderr), done
    assert done.stdout or done.stderr


@pytest.mark.parametrize("change", [{"from": EVIL}, {"created": EVIL}, {"nodes": [{"name": EVIL, "coverage": {"from": EVIL, "to": EVIL}}]},
                                    {"nodes": [{"name": EVIL, "gaps": [{"start": EVIL, "end": EVIL, "reason": EVIL}]}]}], ids=repr)
def test_times_that_are_none_are_an_error(hostile, hub, change):
    hub.routes[f"GET {PAGE}"] = Answer({**HOSTILE, **change})
    for words in (["snapshot", "show", "s"], ["snapshot", "delete", "s", "--yes"]):
        done = hostile(*words)
        assert is_clean(done.stdout) and is_clean(done.stderr), done
    assert hostile("snapshot", "show", "s").returncode == 1


def test_the_status_of_a_daemon_is_cleaned_too(hostile, hub):
    for words in ([], ["-o", "json"]):
        done = hostile("capture", "--status", "--node-url", hub.url, *words)
        assert done.returncode == 0 and is_clean(done.stdout) and is_clean(done.stderr), done


def test_what_is_asked_and_what_a_progress_bar_says_is_cleaned(hostile):
    status, shown = hostile.on_terminal("snapshot", "delete", "s", answer=b"n\n")
    assert status == 1 and "Delete snapshot" in shown
    assert not any(c in shown for c in HIDDEN if c not in "\r\x1b"), shown


def test_json_means_what_the_hub_said(hostile):
    assert json.loads(hostile("nodes", "-o", "json").stdout)["nodes"][0]["name"] == EVIL
    assert json.loads(hostile("snapshot", "flows", "s", "-o", "json").stdout)["flows"] == [FLOW]


def test_a_spreadsheet_finds_no_formula(client, hub):
    starts = ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "=HYPERLINK(\"http://x\",\"y\")", "=a,b", "=\"x\""]
    flows = [{**FLOW, "node": text, "client": {**FLOW["client"], "process": text}, "interface": "plain", "server": {"ip": "10.0.0.1"}} for text in starts]
    hub.routes[f"GET {PAGE}/flows"] = Answer({"flows": flows})
    done = client("snapshot", "flows", "s", "-o", "csv")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(starts)
    for row, text in zip(rows, starts):
        for key in ("node", "client_process"):
            assert row[key].startswith("'"), row
            if text.isprintable():
                assert row[key] == "'" + text
        assert row["interface"] == "plain" and row["server_ip"] == "10.0.0.1"
    for line in done.stdout.splitlines()[1:]:
        assert '"\'' in line
