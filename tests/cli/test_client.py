"""The client's commands: what they ask of the hub, what they print, and their exit status."""
import json
import os
import signal
import struct
import subprocess
import time

import pytest

from fake_hub import Answer, problem

SNAPSHOT = {
    "name": "s", "id": "1f", "state": "completed", "complete": True, "reason": "", "from": "2026-03-01T12:00:00.000000000Z",
    "to": "2026-03-01T12:05:00.000000000Z", "created": "2026-03-01T12:05:01.000000000Z", "size_bytes": 2048,
    "content_bytes": 8192, "packets": 1234567, "tags": {"ticket": "42"}, "networks": ["10.0.0.0/8"], "location": "local",
    "nodes": [{"name": "n1", "status": "complete", "reason": "", "packets": 1234567, "bytes": 8192, "gaps": [],
               "coverage": {"from": "2026-03-01T12:00:00.000000000Z", "to": "2026-03-01T12:05:00.000000000Z"},
               "clock": [{"time": "2026-03-01T12:04:59.000000000Z", "offset_ns": 1250000, "error_ns": 80000}], "members_total": 1, "members_done": 1}],
    "progress": {"members_total": 1, "members_done": 1, "bytes_total": 2048, "bytes_done": 2048, "bytes_per_second": 0},
}
RUNNING = {**SNAPSHOT, "state": "in_progress", "progress": {"bytes_total": 1 << 30, "bytes_done": 1 << 29},
           "nodes": [{**SNAPSHOT["nodes"][0], "status": "transferring"}]}
INCOMPLETE = {**SNAPSHOT, "complete": False, "nodes": SNAPSHOT["nodes"] + [
    {"name": "n2", "status": "partial", "reason": "recycled before 12:01", "packets": 1, "bytes": 1, "coverage": None, "clock": [],
     "gaps": [{"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T12:01:00Z", "packets": 77, "reason": "recycled"}]}]}
ONE = "/api/v1/snapshots/s"


def one_line(text):
    return text.startswith("lookback: ") and text.count("\n") == 1 and text.endswith("\n")


@pytest.mark.parametrize("answer, status, words", [
    (problem(404, "there is no snapshot s", "not_found"), 4, "there is no snapshot s"),
    (problem(409, "it is being made", "conflict"), 1, "it is being made"),
    (problem(400, "the window is empty", "invalid"), 2, "the window is empty"),
    (problem(401, "a token is needed", "unauthorized"), 1, "--token-file"),
    (problem(507, "the disk is full", "no_space"), 1, "the disk is full"),
    (problem(502, "node n1 does not answer", "unreachable"), 1, "node n1 does not answer"),
    (Answer(b"<html>", 500), 1, "500"),
    (Answer(b"<html>hello", 200), 1, "not valid JSON"),
])
def test_errors_have_their_exit_status_and_one_line(client, hub, answer, status, words):
    hub.routes[f"GET {ONE}"] = answer
    done = client("snapshot", "show", "s")
    assert done.returncode == status and words in done.stderr and one_line(done.stderr), done
    assert done.stdout == ""


def test_a_hub_out_of_reach(client):
    done = client("nodes", "--hub", "http://127.0.0.1:1")
    assert done.returncode == 5 and "127.0.0.1:1" in done.stderr and "--hub" in done.stderr and one_line(done.stderr), done
    assert client("nodes", "--hub", "127.0.0.1:7400").returncode == 2


def test_wrong_usage(client):
    for words in (["snapshot", "frob"], ["snapshot", "create"], ["nodes", "--frob"], ["snapshot", "create", "s", "--last", "5"],
                  ["snapshot", "create", "s", "--to", "now"], ["snapshot", "create", "s", "--last", "1m", "--from", "-2m"],
                  ["snapshot", "create", "s", "--from", "-1m", "--to", "-2m"], ["snapshot", "create", "s", "--tag", "x"],
                  ["snapshot", "cancel", "../s"], ["snapshot", "list", "-o", "yaml"], ["completion", "tcsh"]):
        done = client(*words)
        assert done.returncode == 2 and one_line(done.stderr), (words, done)
    for words in ([], ["snapshot"]):  # what there is says more than an error
        done = client(*words)
        assert done.returncode == 2 and "Commands:" in done.stderr and done.stdout == ""


def every_command(client, words=()):
    yield words
    text = client(*words, "--help").stdout
    if "\nCommands:\n" in text:
        block = text.split("\nCommands:\n")[1].split("\n\n")[0]
        for line in block.splitlines():
            if line.startswith("  ") and line[2] != " ":
                yield from every_command(client, (*words, line.split()[0]))


def test_every_command_has_help_with_examples(client):
    commands = list(every_command(client))
    assert len(commands) > 10
    for words in commands:
        done = client(*words, "--help")
        assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("lookback"), words
        assert "\x1b" not in done.stdout
        head = done.stdout.split("\nExamples:\n")
        assert max(map(len, head[0].splitlines())) <= 80, words
        assert len(head) == 2 or words in (("snapshot",), ("token",)), words


def test_token_and_hub_from_flag_environment_and_file(client, hub, tmp_path):
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": []})
    configured = tmp_path / "home/.config/lookback"
    configured.mkdir(parents=True)
    for name in ("file", "flag", "variable"):
        (tmp_path / name).write_text(f"token-of-{name}\n")
    (configured / "config.toml").write_text(f'hub = "{hub.url}"\ntoken-file = "{tmp_path}/file"\n')

    def token(*words, **env):
        done = client("nodes", *words, env={"LOOKBACK_HUB": "", **env})
        assert done.returncode == 0, done
        return hub.requests[-1].headers.get("Authorization")
    assert token() == "Bearer token-of-file"
    assert token(LOOKBACK_TOKEN="direct") == "Bearer direct"
    assert token(LOOKBACK_TOKEN="direct", LOOKBACK_TOKEN_FILE=str(tmp_path / "variable")) == "Bearer token-of-variable"
    assert token("--token-file", str(tmp_path / "flag"), LOOKBACK_TOKEN="direct") == "Bearer token-of-flag"
    assert client("nodes", "--token-file", tmp_path / "absent").returncode == 4
    (tmp_path / "empty").write_text("\n")
    assert client("nodes", "--token-file", tmp_path / "empty").returncode == 2
    (configured / "config.toml").write_text("hubb = 'x'\n")
    wrong = client("nodes")
    assert wrong.returncode == 2 and "hubb" in wrong.stderr and "config.toml" in wrong.stderr


def test_a_list_is_followed_through_its_pages(client, hub):
    names = [f"s{i}" for i in range(7)]

    def page(request):
        after = next((part[7:] for part in request.path.partition("?")[2].split("&") if part.startswith("cursor=")), "")
        rest = [name for name in names if name > after]
        return Answer({"snapshots": [{"name": n, "state": "completed"} for n in rest[:3]], "next": rest[2] if len(rest) > 3 else None})
    hub.routes["GET /api/v1/snapshots"] = page
    assert client("snapshot", "list", "-o", "name").stdout.split() == names
    assert [s["name"] for s in json.loads(client("snapshot", "list", "-o", "json").stdout)["snapshots"]] == names
    for endless in ({"snapshots": [], "next": "a"}, {"snapshots": 1}, {"next": None}, []):
        hub.routes["GET /api/v1/snapshots"] = Answer(endless)
        done = client("snapshot", "list")
        assert done.returncode == 1 and one_line(done.stderr), (endless, done)


def test_answers_of_absurd_size_are_refused(client, hub):
    hub.routes["GET /api/v1/nodes"] = Answer(b"{\"nodes\":[" + b"{}," * 4_100_000 + b"{}]}")
    done = client("nodes")
    assert done.returncode == 1 and "too many values" in done.stderr and one_line(done.stderr), done.stderr[:300]


def test_the_machines_token_goes_to_this_machine_only(client, hub, tmp_path):
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": []})
    state = tmp_path / "state"
    state.mkdir()
    (state / "token").write_text("the-token-of-this-machine\n")
    (state / "token").chmod(0o600)
    env = {"LOOKBACK_STATE_DIR": str(state)}

    def token(*words, **more):
        client("nodes", *words, env={**env, **more})
        return hub.requests[-1].headers.get("Authorization")
    assert token() == "Bearer the-token-of-this-machine"
    assert token("--hub", hub.url.replace("127.0.0.1", "localhost")) == "Bearer the-token-of-this-machine"
    assert token(LOOKBACK_TOKEN="another") == "Bearer another"
    (state / "token").chmod(0o622)
    assert token() is None
    (state / "token").unlink()
    assert token() is None


def test_a_token_file_that_others_read_is_told(client, hub, tmp_path):
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": []})
    file = tmp_path / "token"
    file.write_text("a-token-of-some-length\n")
    for mode, told in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        file.chmod(mode)
        done = client("nodes", "--token-file", file)
        assert done.returncode == 0 and ("chmod 600" in done.stderr) == told, (oct(mode), done)
    for mode in (0o660, 0o602):
        file.chmod(mode)
        done = client("nodes", "--token-file", file)
        assert done.returncode == 2 and "chmod 600" in done.stderr and one_line(done.stderr), (oct(mode), done)


def test_nodes_and_list(client, hub):
    hub.routes["GET /api/v1/nodes"] = Answer({"nodes": [
        {"name": "n1", "url": "http://10.0.0.1:7401", "version": "0.1.0", "state": "up", "last_seen": "2026-03-01T12:00:00Z",
         "oldest": "2026-03-01T11:00:00.5Z", "newest": "2026-03-01T12:00:00Z", "packets": 1, "packets_per_second": 12.6,
         "bytes_per_second": 2048.0, "dropped": 3, "clock": {"offset_ns": -1500000, "error_ns": 200000}},
        {"name": "evil\x1b[2J", "state": "lost", "clock": None}]})
    done = client("nodes")
    assert done.returncode == 0 and done.stderr == ""
    header, first, second = done.stdout.splitlines()
    assert header.split()[:2] == ["Node", "State"]
    for part in ("n1", "up", "2026-03-01T11:00:00Z", "13", "2.0 KiB", "3", "-1.500 ms ± 0.200 ms", "0.1.0"):
        assert part in first
    assert "\x1b" not in second and "evil\\x1b[2J" in second
    assert json.loads(client("nodes", "-o", "json").stdout)["nodes"][0]["name"] == "n1"
    assert client("nodes", "-o", "name").stdout.splitlines()[0] == "n1"

    hub.routes["GET /api/v1/snapshots"] = Answer({"snapshots": [SNAPSHOT, {**RUNNING, "name": "r"}, {**INCOMPLETE, "name": "i"}]})
    table = client("snapshot", "list").stdout
    assert table.splitlines()[0].split() == ["Name", "Size", "Start", "End", "Status", "Created", "Nodes", "Location"]
    assert "in_progress 50 %" in table and "incomplete" in table and "2.0 KiB" in table
    assert client("snapshot", "list", "-o", "name").stdout.split() == ["s", "r", "i"]
    hub.routes["GET /api/v1/snapshots"] = Answer({"snapshots": []})
    empty = client("snapshot", "list")
    assert empty.returncode == 0 and empty.stdout == "" and "create" in empty.stderr


def test_colours_only_on_a_terminal_that_wants_them(client, hub):
    hub.routes["GET /api/v1/snapshots"] = Answer({"snapshots": [SNAPSHOT]})
    assert "\x1b[" in client.on_terminal("snapshot", "list")[1]
    assert "\x1b[" not in client.on_terminal("snapshot", "list", env={"NO_COLOR": "1"})[1]
    assert "\x1b[" not in client.on_terminal("snapshot", "list", env={"TERM": "dumb"})[1]
    assert "\x1b[" not in client("snapshot", "list").stdout


def test_show(client, hub):
    hub.routes[f"GET {ONE}"] = Answer(INCOMPLETE)
    done = client("snapshot", "show", "s")
    assert done.returncode == 0
    for part in ("incomplete", "5 m", "1,234,567", "ticket=42", "10.0.0.0/8", "+1.250 ms ± 0.080 ms", "n2: recycled before 12:01",
                 "77 packets lost"):
        assert part in done.stdout, part
    assert json.loads(client("snapshot", "show", "s", "-o", "json").stdout) == INCOMPLETE
    absent = client("snapshot", "show", "./absent.tar.zst")
    assert absent.returncode == 4 and "absent.tar.zst" in absent.stderr


def test_create_asks_for_what_was_typed(client, hub):
    hub.routes["POST /api/v1/snapshots"] = Answer(RUNNING, 202)
    done = client("snapshot", "create", "audit-%Y", "--node", "a", "--node", "b*", "--ip", "10.0.0.0/8", "--tag", "k=v=w",
                  "--deadline", "5s")
    assert done.returncode == 0 and "lookback snapshot show s" in done.stdout
    asked = hub.requests[-1].json
    assert asked == {"name": "audit-%Y", "nodes": ["a", "b*"], "networks": ["10.0.0.0/8"], "tags": {"k": "v=w"},
                     "deadline_ns": 5_000_000_000, "last_ns": 300_000_000_000}
    client("snapshot", "create", "s", "--from", "2026-03-01T12:00:00+01:00", "--to", "2026-03-01 11:30")
    asked = hub.requests[-1].json
    assert (asked["from"], asked["to"]) == ("2026-03-01T11:00:00.000000000Z", "2026-03-01T11:30:00.000000000Z")
    assert "last_ns" not in asked
    before = time.time()
    client("snapshot", "create", "s", "--from", "-30m")
    asked = hub.requests[-1].json
    to = time.mktime(time.strptime(asked["to"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    since = time.mktime(time.strptime(asked["from"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(to - since - 1800) <= 1 and to >= int(before) - 1
    assert client("snapshot", "create", "x-%H", "-o", "name").stdout == "s\n"
    failed_node = {**RUNNING, "nodes": [{"name": "n9", "status": "failed", "reason": "connection refused"}]}
    hub.routes["POST /api/v1/snapshots"] = Answer(failed_node, 202)
    done = client("snapshot", "create", "s")
    assert done.returncode == 3 and "n9" in done.stderr and "connection refused" in done.stderr


def test_create_and_wait(client, hub):
    hub.routes["POST /api/v1/snapshots"] = Answer(RUNNING, 202)
    hub.routes[f"GET {ONE}"] = [Answer(RUNNING), Answer(RUNNING), Answer(SNAPSHOT)]
    done = client("snapshot", "create", "s", "--wait")
    assert done.returncode == 0 and "1,234,567 packets" in done.stdout and done.stderr == "", done
    assert len(hub.seen("GET", ONE)) == 3

    hub.routes[f"GET {ONE}"] = Answer(INCOMPLETE)
    done = client("snapshot", "create", "s", "--wait")
    assert done.returncode == 3 and "n2" in done.stderr and "recycled before 12:01" in done.stderr and "n1" not in done.stderr
    hub.routes[f"GET {ONE}"] = Answer({**SNAPSHOT, "state": "failed", "reason": "the disk went away"})
    done = client("snapshot", "create", "s", "--wait", "-o", "json")
    assert done.returncode == 1 and "the disk went away" in done.stderr and json.loads(done.stdout)["state"] == "failed"
    hub.routes[f"GET {ONE}"] = problem(404, "gone", "not_found")
    done = client("snapshot", "create", "s", "--wait")
    assert done.returncode == 1 and "cancelled" in done.stderr
    hub.routes["POST /api/v1/snapshots"] = problem(409, "snapshot s exists", "conflict")
    assert client("snapshot", "create", "s", "--wait").returncode == 1


def test_wait_outlives_a_hub_that_restarts(client, hub):
    hub.routes["POST /api/v1/snapshots"] = Answer(RUNNING, 202)
    hub.routes[f"GET {ONE}"] = [Answer(RUNNING), Answer(b"x", cut=0), Answer(b"x", cut=0), Answer(RUNNING), Answer(SNAPSHOT)]
    assert client("snapshot", "create", "s", "--wait").returncode == 0


def test_progress_shows_on_a_terminal_and_is_wiped(client, hub):
    hub.routes["POST /api/v1/snapshots"] = Answer(RUNNING, 202)
    hub.routes[f"GET {ONE}"] = [Answer(RUNNING)] * 6 + [Answer(SNAPSHOT)]
    status, shown = client.on_terminal("snapshot", "create", "s", "--wait")
    assert status == 0 and "50 %" in shown and "512.0 MiB of 1.0 GiB" in shown and "0 of 1 nodes" in shown
    assert shown.replace("\r\n", "\n").split("\r\x1b[K")[-1].startswith("snapshot s:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_wait_detaches(client, hub, number):
    hub.routes["POST /api/v1/snapshots"] = Answer(RUNNING, 202)
    hub.routes[f"GET {ONE}"] = Answer(RUNNING)
    process = client.start("snapshot", "create", "s", "--wait", stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while len(hub.seen("GET", ONE)) < 2:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number and "goes on" in err and "cancel" in err and out == ""
    assert all(r.method == "GET" or r.path == "/api/v1/snapshots" for r in hub.requests)


def test_delete_asks(client, hub):
    hub.routes[f"GET {ONE}"] = Answer(SNAPSHOT)
    hub.routes[f"DELETE {ONE}"] = Answer(status=204)
    done = client("snapshot", "delete", "s")
    assert done.returncode == 2 and "--yes" in done.stderr and not hub.requests
    status, shown = client.on_terminal("snapshot", "delete", "s", answer=b"n\n")
    assert status == 1 and "Delete snapshot s" in shown and not hub.seen("DELETE", ONE)
    assert client.on_terminal("snapshot", "delete", "s", answer=b"\n")[0] == 1 and not hub.seen("DELETE", ONE)
    assert client.on_terminal("snapshot", "delete", "s", answer=b"y\n")[0] == 0 and len(hub.seen("DELETE", ONE)) == 1
    assert client("snapshot", "delete", "s", "--yes").returncode == 0 and len(hub.seen("DELETE", ONE)) == 2
    assert client("snapshot", "delete", "t", "--yes").returncode == 4


def test_cancel(client, hub):
    hub.routes[f"POST {ONE}/cancel"] = Answer(status=204)
    done = client("snapshot", "cancel", "s")
    assert done.returncode == 0 and hub.seen("POST", f"{ONE}/cancel") and "nothing of it is left" in done.stderr
    # What may be left on a node is said, and never denied.
    left = {"unreleased": [{"node": "web-2", "reason": "no answer"}]}
    hub.routes[f"POST {ONE}/cancel"] = Answer(left)
    done = client("snapshot", "cancel", "s")
    assert done.returncode == 0 and "nothing" not in done.stderr and "web-2 (no answer)" in done.stderr
    hub.routes[f"DELETE {ONE}"] = Answer(left)
    done = client("snapshot", "delete", "s", "--yes")
    assert done.returncode == 0 and "web-2 (no answer)" in done.stderr
    assert client("snapshot", "cancel", "t").returncode == 4


def test_verify_on_the_hub(client, hub):
    job = {"id": "7", "kind": "verify", "subject": "s"}
    hub.routes[f"POST {ONE}/verify"] = Answer({**job, "state": "pending"}, 202)
    running = Answer({**job, "state": "running", "progress": {"done": 1, "total": 2}})
    hub.routes["GET /api/v1/jobs/7"] = [running, running, Answer(
        {**job, "state": "completed", "result": {"members": 3, "content_bytes": 4096, "file_bytes": 2048}})]
    done = client("snapshot", "verify", "s")
    assert done.returncode == 0 and "3 members" in done.stdout
    error = {"kind": "corrupt", "message": "nodes/n1/packets/00000000.pcapng: SHA-256 differs"}
    hub.routes["GET /api/v1/jobs/7"] = Answer({**job, "state": "failed", "error": error})
    done = client("snapshot", "verify", "s")
    assert done.returncode == 1 and "nodes/n1/packets/00000000.pcapng" in done.stderr and one_line(done.stderr)
    hub.routes["GET /api/v1/jobs/7"] = Answer({**job, "state": "cancelled"})
    done = client("snapshot", "verify", "s")
    assert done.returncode == 1 and "cancelled" in done.stderr and one_line(done.stderr)


def test_jobs(client, hub):
    hub.routes["GET /api/v1/jobs"] = Answer({"jobs": []})
    assert "no such jobs" in client("jobs").stderr
    job = {"id": "0123456789abcdef", "kind": "verify", "subject": "s\x1b[31m", "state": "running", "created": "2026-03-01T12:00:00.5Z",
           "progress": {"done": 1 << 20, "total": 4 << 20}, "starts": 2}
    failed = {**job, "id": "f" * 16, "state": "failed", "error": {"kind": "corrupt", "message": "it is damaged"}}
    hub.routes["GET /api/v1/jobs"] = Answer({"jobs": [job, failed]})
    for words in (("jobs",), ("jobs", "list")):
        done = client(*words)
        assert done.returncode == 0 and "\x1b" not in done.stdout
        assert "1.0 MiB of 4.0 MiB (25 %)" in done.stdout and "2026-03-01T12:00:00Z" in done.stdout and "it is damaged" in done.stdout
    assert json.loads(client("jobs", "-o", "json").stdout)["jobs"][1]["error"]["kind"] == "corrupt"
    client("jobs", "--kind", "verify", "--subject", "a b", "--state", "failed")
    assert hub.requests[-1].path == "/api/v1/jobs?kind=verify&subject=a%20b&state=failed"
    assert client("jobs", "--state", "sleeping").returncode == 2
    hub.routes[f"GET /api/v1/jobs/{job['id']}"] = Answer(job)
    shown = client("jobs", "show", job["id"])
    assert shown.returncode == 0 and "the hub was restarted" in shown.stdout and "\x1b" not in shown.stdout
    assert json.loads(client("jobs", "show", job["id"], "-o", "json").stdout)["starts"] == 2
    assert client("jobs", "show", "nothing").returncode == 4
    hub.routes[f"POST /api/v1/jobs/{job['id']}/cancel"] = Answer(b"", 204)
    assert client("jobs", "cancel", job["id"]).returncode == 0
    assert client("jobs", "cancel", "nothing").returncode == 4


def test_a_hub_that_is_busy_is_not_out_of_reach(client, hub):
    busy = Answer({"detail": "16 exports are running already: try again later", "status": 503, "kind": "unavailable"}, 503)
    hub.routes[f"GET {ONE}"] = Answer(SNAPSHOT)
    hub.routes[f"GET {ONE}/pcap"] = busy
    hub.routes[f"GET {ONE}/archive"] = busy
    hub.routes[f"GET {ONE}/flows"] = busy
    for words in (("pcap", "s", "-o", "-"), ("download", "s", "-o", "-"), ("flows", "s")):
        done = client("snapshot", *words)
        assert done.returncode == 1 and "try again later" in done.stderr and "reach" not in done.stderr, words


DATA = os.urandom(300_000)


def test_download(client, hub, tmp_path):
    hub.routes[f"GET {ONE}"] = Answer({**SNAPSHOT, "size_bytes": len(DATA)})
    hub.routes[f"GET {ONE}/archive"] = Answer(DATA, headers={"Content-Type": "application/octet-stream"})
    done = client("snapshot", "download", "s", "-o", "-", text=False)
    assert done.returncode == 0 and done.stdout == DATA
    # What arrived whole but is not an archive does not become a file; nor does what was cut.
    done = client("snapshot", "download", "s")
    assert done.returncode == 1, done
    hub.routes[f"GET {ONE}/archive"] = Answer(DATA, cut=100_000)
    done = client("snapshot", "download", "s")
    assert done.returncode != 0 and done.stderr.startswith("lookback: ")
    assert client("snapshot", "download", "s", "-o", "absent/x").returncode == 4
    assert os.listdir(tmp_path) == ["home"]
    hub.routes[f"GET {ONE}"] = Answer(RUNNING)
    assert client("snapshot", "download", "s").returncode == 1


def test_pcap_from_the_hub(client, hub, tmp_path):
    stats = {"packets_read": 10, "packets_written": 7, "duplicates_dropped": 3, "complete": True, "warnings": ["node n2: a warning"]}
    exports = []

    def export(request):
        query = request.path.split("?")[1].split("&")
        summary = next(part for part in query if part.startswith("summary_id=")).split("=")[1]
        hub.routes[f"GET /api/v1/exports/{summary}"] = Answer(stats)
        exports.append(query)
        return Answer(DATA, headers={"Content-Type": "application/octet-stream", "X-Lookback-Complete": "true"})
    hub.routes[f"GET {ONE}/pcap"] = export
    done = client("snapshot", "pcap", "s", "-o", "out.pcapng", "--from", "2026-03-01T12:00:00Z", "--to", "2026-03-01T12:01:00Z",
                  "--node", "n 1", "--node", "n2", "--interface", "eth*", "--ip", "10.0.0.0/8", "--filter", "tcp port 80 & x",
                  "--dedup", "--align-clocks")
    assert done.returncode == 0 and (tmp_path / "out.pcapng").read_bytes() == DATA and done.stdout == "", done
    assert "7 packets" in done.stderr and "3 duplicates" in done.stderr and "node n2: a warning" in done.stderr
    asked = [part for part in exports[0] if not part.startswith("summary_id=")]
    assert asked[0] == "format=pcapng"
    for part in ("node=n%201", "node=n2", "dedup=1", "align_clocks=1", "interface=eth%2A", "ip=10.0.0.0%2F8",
                 "filter=tcp%20port%2080%20%26%20x", "from=2026-03-01T12%3A00%3A00.000000000Z", "to=2026-03-01T12%3A01%3A00.000000000Z"):
        assert part in asked, (part, asked)
    # Piped, it needs no -o; a terminal gets a file.
    assert client("snapshot", "pcap", "s", text=False).stdout == DATA
    status, shown = client.on_terminal("snapshot", "pcap", "s", "--format", "pcap")
    assert status == 0 and (tmp_path / "s.pcap").read_bytes() == DATA
    status, shown = client.on_terminal("snapshot", "pcap", "s", "-o", "-")
    assert status == 2 and "terminal" in shown
    stats["complete"] = False
    assert client("snapshot", "pcap", "s", "-o", "a").returncode == 3
    hub.routes[f"GET {ONE}/pcap"] = Answer(DATA, headers={"X-Lookback-Complete": "false"})
    assert client("snapshot", "pcap", "s", "-o", "b").returncode == 3
    hub.routes[f"GET {ONE}/pcap"] = problem(400, "syntax error in filter", "invalid")
    done = client("snapshot", "pcap", "s", "-o", "c", "--filter", "frob")
    assert done.returncode == 2 and "syntax error" in done.stderr
    hub.routes[f"GET {ONE}/pcap"] = Answer(DATA, cut=100_000)
    done = client("snapshot", "pcap", "s", "-o", "d")
    assert done.returncode not in (0, 3) and done.stderr.startswith("lookback: ")
    assert not (tmp_path / "c").exists() and not (tmp_path / "d").exists()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("command", [["snapshot", "pcap", "s", "-o", "-"], ["snapshot", "download", "s", "-o", "-"]])
def test_a_reader_that_had_enough_is_no_error(client, hub, command):
    big = os.urandom(1 << 20) * 16
    hub.routes[f"GET {ONE}"] = Answer({**SNAPSHOT, "size_bytes": len(big)})
    hub.routes[f"GET {ONE}/archive"] = hub.routes[f"GET {ONE}/pcap"] = Answer(big)
    process = client.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(100) == big[:100]
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 0


def test_interrupted_export_leaves_no_file(client, hub, tmp_path):
    started = []

    def slow(request):
        started.append(request)
        time.sleep(3)
        return Answer(DATA)
    hub.routes[f"GET {ONE}/pcap"] = slow
    process = client.start("snapshot", "pcap", "s", "-o", "x.pcapng", stderr=subprocess.PIPE, text=True)
    while not started:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130 and "no file" in process.stderr.read()
    assert os.listdir(tmp_path) == ["home"]


def capture(packets):
    """A classic pcap file of Ethernet frames."""
    out = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)
    for i, data in enumerate(packets):
        out += struct.pack("<IIII", 1_700_000_000 + i, 0, len(data), len(data)) + data
    return out


FRAMES = [bytes(12) + b"\x08\x00" + bytes([i]) * 46 for i in range(5)]


def test_import_without_a_hub_and_all_that_a_file_can_do(client, hub, tmp_path):
    (tmp_path / "web-1.pcap").write_bytes(capture(FRAMES))
    (tmp_path / "db-1.pcap").write_bytes(capture(FRAMES[:2]))
    done = client("snapshot", "import", "web-1.pcap", "db-1.pcap", "--name", "old", "-o", "old.tar.zst")
    assert done.returncode == 0 and "7 packets of 2 nodes" in done.stdout and done.stderr == "", done
    shown = json.loads(client("snapshot", "show", "old.tar.zst", "-o", "json").stdout)
    assert shown["name"] == "old" and shown["packets"] == 7 and sorted(n["name"] for n in shown["nodes"]) == ["db-1", "web-1"]
    assert "web-1" in client("snapshot", "show", "./old.tar.zst").stdout
    assert client("snapshot", "verify", "old.tar.zst").returncode == 0
    assert json.loads(client("snapshot", "verify", "old.tar.zst", "-o", "json").stdout)["members"] >= 2
    exported = client("snapshot", "pcap", "old.tar.zst", "-o", "web.pcap", "--node", "web-1", "--format", "pcap")
    assert exported.returncode == 0 and "5 packets" in exported.stderr, exported
    assert b"".join(FRAMES) == b"".join((tmp_path / "web.pcap").read_bytes()[24 + 16 + i * 76:][:60] for i in range(5))
    assert client("snapshot", "pcap", "old.tar.zst", "--node", "nobody", "-o", "x").returncode == 4
    assert client("snapshot", "pcap", "old.tar.zst", "--filter", "frob frob", "-o", "x").returncode == 2
    assert client("snapshot", "pcap", "old.tar.zst", "--ip", "10.0.0.0/99", "-o", "x").returncode == 2
    assert client("snapshot", "import", "web-1.pcap", "--name", "old", "-o", "old.tar.zst").returncode == 1
    assert not (tmp_path / "x").exists() and not hub.requests

    damaged = bytearray((tmp_path / "old.tar.zst").read_bytes())
    damaged[600] ^= 0xff
    (tmp_path / "bad.tar.zst").write_bytes(damaged)
    found = client("snapshot", "verify", "bad.tar.zst")
    assert found.returncode == 1 and one_line(found.stderr)
    (tmp_path / "cut.tar.zst").write_bytes(damaged[:-100])
    for command in ("verify", "show", "pcap"):
        found = client("snapshot", command, "./cut.tar.zst")
        assert found.returncode == 1 and one_line(found.stderr), (command, found)


def test_import_to_the_hub(client, hub, tmp_path):
    (tmp_path / "web-1.pcap").write_bytes(capture(FRAMES))
    hub.routes[f"POST {ONE}/import"] = Answer(SNAPSHOT, 201)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = client("snapshot", "import", "web-1.pcap", "--name", "s", env={"TMPDIR": str(temporary)})
    assert done.returncode == 0 and "5 packets of 1 node," in done.stdout, done
    assert os.listdir(temporary) == []
    sent = hub.seen("POST", f"{ONE}/import")[0]
    (tmp_path / "sent.tar.zst").write_bytes(sent.body)
    assert json.loads(client("snapshot", "show", "./sent.tar.zst", "-o", "json").stdout)["name"] == "s"
    # An archive goes as it is, and keeps its name where no other is given.
    done = client("snapshot", "import", "sent.tar.zst")
    assert done.returncode == 0 and hub.seen("POST", f"{ONE}/import")[1].body == sent.body, done
    # What was downloaded is that archive: whole, checked, and under its name.
    hub.routes[f"GET {ONE}"] = Answer({**SNAPSHOT, "size_bytes": len(sent.body), "id": shown_id(client)})
    hub.routes[f"GET {ONE}/archive"] = Answer(sent.body)
    assert client("snapshot", "download", "s").returncode == 0
    assert (tmp_path / "s.tar.zst").read_bytes() == sent.body
    hub.routes[f"GET {ONE}"] = Answer({**SNAPSHOT, "size_bytes": len(sent.body), "id": "another"})
    assert client("snapshot", "download", "s", "-o", "wrong").returncode == 1 and not (tmp_path / "wrong").exists()

    taken = client("snapshot", "import", "web-1.pcap", "--name", "s")
    assert taken.returncode == 1 and "already" in taken.stderr and len(hub.seen("POST", f"{ONE}/import")) == 2
    del hub.routes[f"GET {ONE}"]
    (tmp_path / "junk.pcap").write_bytes(b"this is not a capture")
    junk = client("snapshot", "import", "junk.pcap", "--name", "s")
    assert junk.returncode == 1 and "junk.pcap" in junk.stderr and one_line(junk.stderr), junk
    (tmp_path / "cut.pcap").write_bytes(capture(FRAMES)[:-7])
    cut = client("snapshot", "import", "cut.pcap", "--name", "s")
    assert cut.returncode == 3 and "cut.pcap" in cut.stderr and "4 packets" in cut.stdout, cut
    assert client("snapshot", "import", "web-1.pcap").returncode == 2
    assert client("snapshot", "import", "absent.pcap", "--name", "s").returncode == 4
    assert client("snapshot", "import", "web-1.pcap", "--name", "a/b").returncode == 2
    assert client("snapshot", "import", "sent.tar.zst", "-o", "x").returncode == 2


def shown_id(client):
    return json.loads(client("snapshot", "show", "./sent.tar.zst", "-o", "json").stdout)["id"]


def test_capture_status(client, hub):
    hub.routes["GET /api/v1/status"] = Answer({
        "node": "n1", "version": "0.1.0", "started": "2026-03-01T12:00:00Z", "hub": {"url": "http://hub", "registered": True},
        "oldest": "2026-03-01T12:00:00Z", "newest": "2026-03-01T15:12:00Z", "packets": 1000, "segments": 3, "quota_bytes": 1 << 30,
        "used_bytes": 1 << 20, "frozen_bytes": 0, "rate": {"packets_per_second": 10.5, "bytes_per_second": 1024.0},
        "drops": {"packets": 5, "stalls": 1, "disk_full_packets": 0}, "retention_text": "3 h 12 m",
        "clock": {"offset_ns": 100000, "error_ns": 50000, "measured": "2026-03-01T15:12:00Z"},
        "interfaces": [{"name": "eth0"}, {"name": "lo"}],
        "gaps": [{"start": "2026-03-01T12:00:01Z", "end": "2026-03-01T12:00:02Z", "packets": 5, "reason": "kernel ring full"}]})
    done = client("capture", "--status", "--node-url", hub.url)
    assert done.returncode == 0
    for part in ("n1", "at this rate: 3 h 12 m", "5 packets by the kernel", "eth0, lo", "kernel ring full", "+0.100 ms ± 0.050 ms"):
        assert part in done.stdout, part
    address = hub.url.removeprefix("http://")
    assert json.loads(client("capture", "--status", "--listen", address, "-o", "json").stdout)["node"] == "n1"
    assert json.loads(client("capture", "--status", "-o", "json", env={"LOOKBACK_LISTEN": address}).stdout)["node"] == "n1"
    assert client("capture", "--status", "--node-url", "http://127.0.0.1:1").returncode == 5
