"""Frozen windows: none stays on a node longer than its snapshot, nobody's keep another's out, and nobody who talks to the daemons
decides what is recorded."""
import json
import os
import signal
import subprocess
import time

import pytest

from lab import run, wait_for
from oracle import serve_everywhere, start_senders, wait_senders
from test_snapshot import rfc3339


def held(node):
    return sorted(f["id"] for f in node.api("freezes")["freezes"])


def wait_for_heartbeats(node, count=2):
    """Until the node has acted on answers of the hub that were given after this call."""
    seen = set()

    def enough():
        hub = node.status()["hub"]
        if hub["registered"]:
            seen.add(hub["last_heartbeat"])
        return len(seen) > count
    wait_for(enough, f"{count} heartbeats of {node.name}", timeout=90)


def cut(lab, node, on):
    lab._ip(lab.switch, "link", "set", f"m{node.index}", "down" if on else "up")


def slow(node):
    node.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "8mbit", "burst", "64kb", "latency", "400ms")


def freeze_by_hand(node, name, **more):
    now = time.time_ns()
    order = {"id": name, "owner": "by hand", "from": rfc3339(now - 2 * 10**9), "to": rfc3339(now), **more}
    done = node.run("curl", "-s", *node.lab.bearer, "-H", "Content-Type: application/json", "-w", "\n%{http_code}", "-X", "POST", f"{node.url}/api/v1/freezes", "-d", json.dumps(order)).stdout
    text, status = done.rsplit("\n", 1)
    return int(status), json.loads(text)


def ordered(lab, *args):
    """An order that waits for nodes."""
    return subprocess.Popen(["ip", "netns", "exec", lab.hub_namespace, lab.binary, "snapshot", "create", *args],
                            env=dict(os.environ, **lab.client_environment()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def busy_lab(make_lab):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture("--os-events=off")
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(start_senders(lab, 4, seconds=5, pps=5000))
    return lab


@pytest.mark.timeout(400)
def test_a_node_that_was_stopped_keeps_nothing(busy_lab):
    """Its kernel takes the order, and the release finds nobody: when it goes on it freezes, and has to be told."""
    lab = busy_lab
    n1, n2 = lab.nodes
    assert freeze_by_hand(n1, "kept")[0] == 201
    # The order itself ends without it.
    n1.capture.signal(signal.SIGSTOP)
    lab.client("snapshot", "create", "stopped", "--last", "20s", "--deadline", "3s", "--wait", check=False)
    n1.capture.signal(signal.SIGCONT)
    wait_for_heartbeats(n1)
    wait_for(lambda: held(n1) == ["kept"] and held(n2) == [], "the freezes of 'stopped' to be released", timeout=60)
    # The order is cancelled meanwhile.
    n1.capture.signal(signal.SIGSTOP)
    order = ordered(lab, "cancelled", "--last", "20s", "--deadline", "60s")
    wait_for(lambda: lab.client("snapshot", "show", "cancelled", check=False).returncode == 0, "the order")
    wait_for(lambda: held(n2) != [], "n2 to freeze")
    done = lab.client("snapshot", "cancel", "cancelled")
    assert "n1" in done.stderr and "nothing of it is left" not in done.stderr, done.stderr
    _, said = order.communicate(timeout=60)
    assert order.returncode == 1 and "n1" in said, said
    n1.capture.signal(signal.SIGCONT)
    wait_for_heartbeats(n1)
    wait_for(lambda: held(n1) == ["kept"] and held(n2) == [], "the freezes of 'cancelled' to be released", timeout=60)
    # The hub dies meanwhile.
    n1.capture.signal(signal.SIGSTOP)
    order = ordered(lab, "killed", "--last", "20s", "--deadline", "60s")
    wait_for(lambda: held(n2) != [], "n2 to freeze")
    lab.hub.kill()
    order.communicate(timeout=60)
    lab.start_hub()
    n1.capture.signal(signal.SIGCONT)
    for node in lab.nodes:
        wait_for_heartbeats(node)
    wait_for(lambda: held(n1) == ["kept"] and held(n2) == [], "the freezes of 'killed' to be released", timeout=60)
    assert lab.client("snapshot", "show", "killed", check=False).returncode == 4


@pytest.mark.timeout(400)
def test_a_node_that_was_cut_off_keeps_nothing(busy_lab):
    lab = busy_lab
    n1, n2 = lab.nodes
    slow(n1)
    slow(n2)
    lab.client("snapshot", "create", "cut", "--last", "20s")
    assert len(held(n2)) == 1
    cut(lab, n2, True)
    done = lab.client("snapshot", "cancel", "cut")
    assert "n2" in done.stderr and "nothing of it is left" not in done.stderr, done.stderr
    assert held(n1) == [] and len(held(n2)) == 1, "it is told as soon as it can be reached, not before"
    cut(lab, n2, False)
    wait_for(lambda: held(n2) == [], "the node to release what it kept", timeout=60)
    # All can be reached: then the word is that nothing is left, and it is so at once.
    lab.client("snapshot", "create", "reached", "--last", "20s")
    done = lab.client("snapshot", "cancel", "reached")
    assert "nothing of it is left" in done.stderr and held(n1) == held(n2) == [], done.stderr


@pytest.mark.timeout(400)
def test_what_is_needed_stays_through_restarts(busy_lab):
    """Heartbeats release nothing that a snapshot under way needs, also after the hub or the node was killed."""
    lab = busy_lab
    n1, n2 = lab.nodes
    slow(n1)
    slow(n2)
    lab.client("snapshot", "create", "long", "--last", "20s", "--deadline", "60s")
    ids = held(n1)
    assert len(ids) == 1 and held(n2) == ids
    lab.hub.kill()
    lab.start_hub()
    n2.capture.kill()
    n2.start_capture("--os-events=off")
    for node in lab.nodes:
        wait_for_heartbeats(node)
    if lab.snapshot("long")["state"] == "in_progress":
        assert held(n1) == ids or held(n2) == ids
    for node in lab.nodes:
        node.run("tc", "qdisc", "del", "dev", "mgmt0", "root")
    done = lab.wait_for_snapshot("long")
    # The window may begin before the recorders did; of what was frozen nothing is missing.
    assert done["state"] == "completed" and all(n["packets"] > 0 and n["members_done"] == n["members_total"] > 0 for n in done["nodes"]), done
    assert not any("no longer" in n["reason"] or "not transferred" in n["reason"] for n in done["nodes"]), done
    wait_for(lambda: held(n1) == held(n2) == [], "the freezes to be released")


@pytest.mark.timeout(400)
def test_a_flood_of_freezes_keeps_no_snapshot_out(busy_lab):
    lab = busy_lab
    n1 = lab.nodes[0]
    status, said = freeze_by_hand(n1, "for-ever", ttl_ns=2**63 - 1)
    assert status == 400 and "1d" in json.dumps(said), said
    status, said = freeze_by_hand(n1, "a-day", ttl_ns=24 * 3600 * 10**9)
    assert status == 201
    done = n1.run("curl", "-s", *lab.bearer, "-H", "Content-Type: application/json", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", f"{n1.url}/api/v1/freezes/a-day/renew", "-d",
                  json.dumps({"ttl_ns": 2**62}))
    assert done.stdout == "400"
    answers = [freeze_by_hand(n1, f"flood-{i}") for i in range(70)]
    refused = [said for status, said in answers if status != 201]
    assert len(refused) == 70 - 63 and all(status in (201, 409) for status, _ in answers), [s for s, _ in answers]
    assert "'by hand'" in json.dumps(refused[0]) and "64" in json.dumps(refused[0]), refused[0]
    assert freeze_by_hand(n1, "somebody-else", owner="another")[0] == 201
    # In the hub's name as well: what it does not know of is gone soon.
    hub_id = json.loads(lab.in_hub("curl", "-sf", *lab.bearer, f"{lab.hub_url}/api/v1/status").stdout)["hub_id"]
    assert freeze_by_hand(n1, "forged", hub=hub_id)[0] == 201
    lab.client("snapshot", "create", "all-the-same", "--last", "20s", "--wait", check=False)
    n1_entry = next(n for n in lab.wait_for_snapshot("all-the-same")["nodes"] if n["name"] == "n1")
    assert n1_entry["status"] in ("complete", "partial") and n1_entry["packets"] > 0, n1_entry
    wait_for(lambda: "forged" not in held(n1), "the forged freeze to be released", timeout=60)
    assert "flood-0" in held(n1)


@pytest.mark.timeout(300)
def test_no_peer_blinds_the_recorder(make_lab, tmp_path):
    """Only the daemons' own connections are left out, whatever ports and addresses somebody registers or calls from."""
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture(interface=None)
    lab.wait_for_nodes()
    n1, n2 = lab.nodes

    def register(name, **more):
        body = {"version": "1", "port": 4444, "incarnation": "x", "status": {}, **more}
        return n2.run("curl", "-s", *lab.bearer, "-H", "Content-Type: application/json", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST",
                      f"{lab.hub_url}/api/v1/nodes/{name}/heartbeat", "-d", json.dumps(body)).stdout
    assert register("evil") == "200"
    # Somebody else's address is not theirs to give.
    assert register("evil-2", url=f"http://{n1.management}:4444") == "400"
    assert freeze_by_hand(n1, "from-elsewhere")[0] == 201
    wait_for_heartbeats(n1)
    began = time.time_ns()
    for port in (4444, 7400, 7401):
        n1.run("curl", "-s", "-m", "3", f"http://{n2.address}:{port}/", check=False)
        n2.run("curl", "-s", "-m", "3", f"http://{n1.address}:{port}/", check=False)
    lab.in_hub("curl", "-s", "-m", "3", f"http://{n1.management}:4444/", check=False)
    n2.run("curl", "-s", *lab.bearer, "-m", "3", "-o", "/dev/null", f"{n1.url}/api/v1/status")
    lab.in_hub("curl", "-s", *lab.bearer, "-m", "3", "-o", "/dev/null", f"{n1.url}/api/v1/status")
    ended = time.time_ns()
    lab.client("snapshot", "create", "first", "--from", rfc3339(began), "--to", rfc3339(ended), "--wait", check=False)
    lab.client("snapshot", "create", "second", "--from", rfc3339(began), "--to", rfc3339(time.time_ns()), "--wait", check=False)
    path = tmp_path / "n1.pcapng"
    lab.client("snapshot", "pcap", "second", "-o", path, "--node", "n1", check=False)

    def count(expression):
        return len(run("tcpdump", "-nr", path, expression).stdout.splitlines())
    for port in (4444, 7400, 7401):
        assert count(f"tcp and src host {n1.address} and dst host {n2.address} and dst port {port}") > 0, port
        assert count(f"tcp and src host {n2.address} and dst host {n1.address} and dst port {port}") > 0, port
    assert count(f"tcp and host {n1.management} and port 4444") > 0
    assert count(f"tcp and host {n2.management} and host {n1.management} and port 7401") > 0, "a stranger at the recorder's own door"
    hub = lab.hub_url.split("//")[1].split(":")[0]
    assert count(f"tcp and host {hub} and host {n1.management} and (port 7400 or port 7401)") == 0, "heartbeats, freezes, transfers"
    # What is left out can be seen, in the status and in the archive.
    expected = [f"tcp {n1.management}:* {hub}:7400", f"tcp {n1.management}:7401 {hub}:*"]
    assert expected == [e for e in n1.status()["excluded"] if f" {hub}:" in e]
    run("tar", "--zstd", "-xf", lab.archives / "second.tar.zst", "-C", tmp_path, "manifest.json")
    nodes = {n["name"]: n for n in json.loads((tmp_path / "manifest.json").read_text())["nodes"]}
    told = {e["connection"]: (e["from"], e["to"]) for e in nodes["n1"]["excluded"]}
    assert set(expected) <= set(told), told
    assert all(a <= b for a, b in told.values())
    assert lab.client("snapshot", "verify", "second").returncode == 0
