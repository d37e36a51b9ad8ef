"""What goes wrong in production: every role killed, stopped, out of disk, lied to. Nothing hangs, nothing crashes, no sealed data is
lost, and each says what happened."""
import collections
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from lab import HUB_ADDRESS, run, wait_for
from oracle import Oracle, compare, per_interface, serve_everywhere, start_senders, told_losses, wait_senders
from test_snapshot import rfc3339


def seeded():
    """Random moments, another time others: the seed is printed, and LOOKBACK_TEST_SEED brings them back."""
    seed = int(os.environ.get("LOOKBACK_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"LOOKBACK_TEST_SEED={seed}")
    return random.Random(seed)


def traffic(lab, seconds=3, pps=800, seed=1):
    return start_senders(lab, seed, seconds=seconds, pps=pps)


def export(lab, name, tmp_path):
    path = tmp_path / f"{name}.pcapng"
    lab.client("snapshot", "pcap", name, "-o", path, check=False)
    return per_interface(path)


def frozen_members(node, name, start, end):
    """All members of a node's freeze as they are sent; the freeze is made where there is none of that name."""
    order = json.dumps({"id": name, "owner": "test", "from": rfc3339(start), "to": rfc3339(end), "ttl_ns": 10**12, "networks": []})
    frozen = json.loads(node.curl("-X", "POST", f"{node.url}/api/v1/freezes", "-d", order).stdout)
    return [node.curl(f"{node.url}/api/v1/freezes/{name}/members/{m['index']}", text=False).stdout for m in frozen["members"]]


@pytest.mark.timeout(240)
def test_kill_capture_again_and_again(make_lab, tmp_path):
    """kill -9 at random moments: what was on disk is served, recording goes on, the outage is a gap."""
    lab = make_lab(nodes=2)
    rng = seeded()
    for node in lab.nodes:
        node.start_capture(storage="2GiB")
    lab.wait_for_nodes()
    serve_everywhere(lab)
    oracle = Oracle(lab.nodes[0], "eth0")
    senders = traffic(lab, seconds=14, pps=400)
    start = time.time_ns()
    outages = []
    for i in range(5):
        time.sleep(rng.uniform(1.0, 2.5))
        sealed = time.time_ns()  # a freeze seals what came before it
        sent = frozen_members(lab.nodes[0], f"held-{i}", start, sealed)
        time.sleep(rng.uniform(0, 1))
        lab.nodes[0].capture.kill()
        lab.nodes[0].start_capture(storage="2GiB")
        outages.append((sealed, time.time_ns()))
        # What the freeze holds is sent byte for byte as it was the first time.
        assert frozen_members(lab.nodes[0], f"held-{i}", start, sealed) == sent and any(sent)
    wait_senders(senders)
    time.sleep(0.2)
    end = time.time_ns()
    lab.wait_for_nodes()
    result = lab.client("snapshot", "create", "killed", "--from", rfc3339(start), "--to", rfc3339(end), "--wait", check=False)
    assert result.returncode == 3, (result.returncode, result.stderr)  # the outages are told
    oracle.stop()
    got = export(lab, "killed", tmp_path)[("n1", "eth0")]
    # Lost are only packets around the outages: those since the latest seal before each kill.
    lost_around = lambda t: any(a - 10**7 <= t < b for a, b in outages)
    have = collections.Counter((data, length) for _, data, length in got)
    crossed = collections.Counter((p.data, p.length) for p in oracle.packets)
    assert not have - crossed, "packets that never were, or twice"
    outside = collections.Counter((p.data, p.length) for p in oracle.packets if start + 10**7 <= p.time_ns < end - 10**7 and not lost_around(p.time_ns))
    missing = outside - have
    print(f"{sum(crossed.values())} packets, {sum((crossed - have).values())} lost to 5 kills, all {sum(outside.values())} outside the outages there")
    snapshot = lab.snapshot("killed")
    told = told_losses(snapshot, "n1")  # by a machine that was too busy
    assert sum(missing.values()) <= told, f"{sum(missing.values())} packets lost outside the outages, {told} told"
    gaps = [g for n in snapshot["nodes"] if n["name"] == "n1" for g in n["gaps"]]
    running_out = [g for g in gaps if "not running" in g["reason"]]
    for sealed, up in outages:
        assert any(g["start"] < rfc3339(up) and rfc3339(sealed) < g["end"] for g in running_out), (rfc3339(sealed), rfc3339(up), gaps)
    lab.client("snapshot", "verify", "killed")


# Members of one node that travel at a time.
IN_FLIGHT = 4


def journal_of(lab, name):
    """{(node, member)} that the hub had stored; nothing where the snapshot is done."""
    path = lab.hub_data / "jobs" / name / "journal.ndjson"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return {(line["node"], line["index"]) for line in whole if "node" in line}


@pytest.mark.timeout(300)
def test_kill_hub_in_mid_transfer(make_lab, tmp_path):
    """The freezes stand, so a hub killed at any moment resumes; no whole member is sent twice."""
    lab = make_lab(nodes=3)
    for node in lab.nodes:
        node.start_capture(storage="2GiB")
    lab.wait_for_nodes()
    serve_everywhere(lab)
    oracles = [Oracle(n, "eth0") for n in lab.nodes]
    start = time.time_ns()
    wait_senders(start_senders(lab, 3, seconds=4, pps=1000))
    end = time.time_ns()
    for o in oracles:
        o.stop()
    # A slow management network, so that there is a middle to be killed in.
    for index in (1, 2, 3):
        run("ip", "netns", "exec", lab.nodes[index - 1].namespace, "tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "100mbit",
            "burst", "64kb", "latency", "400ms")
    counters = [Oracle(n, "mgmt0", "tcp port 7401 and greater 100", snaplen=256) for n in lab.nodes]
    lab.client("snapshot", "create", "resumed", "--from", rfc3339(start), "--to", rfc3339(end))
    rng = seeded()
    kills, journaled = 0, []
    for _ in range(4):
        time.sleep(rng.uniform(0.4, 1.5))
        if lab.snapshot("resumed")["state"] == "completed":
            break
        lab.hub.kill()
        kills += 1
        journaled.append((time.time_ns(), journal_of(lab, "resumed")))
        lab.start_hub()
    snapshot = lab.wait_for_snapshot("resumed")
    assert snapshot["state"] == "completed", json.dumps(snapshot)[:1500]
    assert all(g["reason"] == "kernel ring full" for n in snapshot["nodes"] for g in n["gaps"]), json.dumps(snapshot)[:1500]
    assert kills >= 2, "the transfer was too quick to be killed"
    lab.client("snapshot", "verify", "resumed")
    got = export(lab, "resumed", tmp_path)
    for o in oracles:
        compare(got[(o.node.name, "eth0")], o.packets, start, end, o.node.name, told_losses(snapshot, o.node.name))
    for counter in counters:
        counter.stop()
    # What was stored at a kill is never asked for again, and nothing but what was asked for twice is sent twice.
    asked = [(c.node.name, p.time_ns, int(m[1])) for c in counters for p in c.packets if (m := re.search(rb"GET /api/v1/freezes/\S+/members/(\d+) ", p.data))]
    assert {(node, index) for node, _, index in asked} >= set().union(*(stored for _, stored in journaled))
    for killed, stored in journaled:
        again = [(node, index) for node, when, index in asked if when > killed and (node, index) in stored]
        assert not again, f"sent twice, although whole: {again}"
    manifest = json.loads(run("tar", "--zstd", "-xOf", lab.archives / "resumed.tar.zst", "manifest.json").stdout)
    sizes = {(m["node"], int(m["name"].rsplit("/", 1)[1].split(".")[0])): sum(f[0] for f in m["frames"]) for m in manifest["members"]}
    expected = sum(sizes.get((node, index), 0) for node, _, index in asked)
    sent = sum(p.length for c in counters for p in c.packets if p.data[34:36] == (7401).to_bytes(2, "big"))
    print(f"{len(sizes)} members of {sum(sizes.values())} bytes, {len(asked)} times asked for, {sent} bytes on the wire, {kills} kills")
    assert sent < expected * 1.1 + 200_000 * (1 + len(asked))
    times = collections.Counter((node, index) for node, _, index in asked)
    # What was asked for again had not come whole: no more than was on its way to the hub when it died.
    assert sum(n - 1 for n in times.values()) <= kills * IN_FLIGHT * len(lab.nodes), times
    for node in lab.nodes:
        wait_for(lambda n=node: not json.loads(n.curl(f"{n.url}/api/v1/freezes").stdout)["freezes"], "the freezes to be released")


@pytest.mark.timeout(200)
def test_nodes_that_die_hang_or_are_away(make_lab, tmp_path):
    lab = make_lab(nodes=4)
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(traffic(lab))
    n1, n2, n3, n4 = lab.nodes
    n2.capture.kill()                     # refused
    n3.capture.signal(signal.SIGSTOP)     # accepts, never answers
    lab._ip(lab.switch, "link", "set", "m4", "down")  # no route
    result = lab.client("snapshot", "create", "partial", "--last", "20s", "--deadline", "5s", "--wait", check=False, timeout=90)
    assert result.returncode == 3, (result.returncode, result.stdout, result.stderr)
    n3.capture.signal(signal.SIGCONT)
    snapshot = lab.snapshot("partial")
    assert snapshot["state"] == "completed" and not snapshot["complete"]
    nodes = {n["name"]: n for n in snapshot["nodes"]}
    assert nodes["n1"]["status"] == "complete" or nodes["n1"]["packets"] > 0
    for name in ("n2", "n3", "n4"):
        assert nodes[name]["status"] == "failed" and nodes[name]["reason"], nodes[name]
    assert export(lab, "partial", tmp_path)[("n1", "eth0")]
    lab.client("snapshot", "verify", "partial")
    assert "n2" in lab.client("snapshot", "show", "partial").stdout


@pytest.mark.timeout(200)
def test_node_dies_half_way(make_lab, tmp_path):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(start_senders(lab, 4, seconds=6, pps=5000))
    n1, n2 = lab.nodes
    n2.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "16mbit", "burst", "64kb", "latency", "400ms")
    lab.client("snapshot", "create", "half", "--last", "20s", "--deadline", "5s")
    wait_for(lambda: next(n for n in lab.snapshot("half")["nodes"] if n["name"] == "n2")["members_done"] >= 1, "the first member of n2")
    n2.capture.kill()
    snapshot = lab.wait_for_snapshot("half")
    assert snapshot["state"] == "completed" and not snapshot["complete"]
    lost = next(n for n in snapshot["nodes"] if n["name"] == "n2")
    assert lost["status"] in ("partial", "failed") and lost["reason"]
    got = export(lab, "half", tmp_path)
    assert got[("n1", "eth0")] and got[("n2", "eth0")], "what was whole is kept"
    lab.client("snapshot", "verify", "half")


@pytest.mark.timeout(200)
def test_cancel_leaves_nothing(make_lab):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(start_senders(lab, 4, seconds=5, pps=5000))
    for node in lab.nodes:
        node.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "8mbit", "burst", "64kb", "latency", "400ms")
    lab.client("snapshot", "create", "gone", "--last", "20s")
    # Ctrl-C on a waiting client only detaches.
    waiting = subprocess.Popen(["ip", "netns", "exec", lab.hub_namespace, lab.binary, "snapshot", "create", "gone2", "--last", "20s", "--wait"],
                               env=dict(os.environ, **lab.client_environment()), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: lab.client("snapshot", "show", "gone2", check=False).returncode == 0, "gone2")
    time.sleep(0.3)
    waiting.send_signal(signal.SIGINT)
    waiting.wait(10)
    assert lab.snapshot("gone2")["state"] in ("pending", "in_progress")
    for name in ("gone", "gone2"):
        lab.client("snapshot", "cancel", name)
    wait_for(lambda: lab.client("snapshot", "list", "-o", "name").stdout.split() == [], "an empty list")
    leftovers = [p for p in lab.hub_data.rglob("*") if p.is_file() and "gone" in str(p)]
    assert not leftovers, leftovers
    for node in lab.nodes:
        wait_for(lambda n=node: not json.loads(n.curl(f"{n.url}/api/v1/freezes").stdout)["freezes"], "no freeze on the nodes")


@pytest.fixture
def small_disk(tmp_path):
    mounts = []

    def make(megabytes):
        path = tmp_path / f"disk{len(mounts)}"
        path.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path)
        mounts.append(path)
        return path

    yield make
    for path in mounts:
        run("umount", "-l", path)


@pytest.mark.timeout(200)
def test_disk_full_on_a_node(make_lab, tmp_path, small_disk):
    """Somebody else fills the node's disk: recording says so, loses only what it counts, and goes on when there is room."""
    lab = make_lab(nodes=2)
    disk = small_disk(160)
    n1, n2 = lab.nodes
    refused = n1.start_capture(storage="10GiB", data_dir=disk / "data", wait=False)
    assert refused.popen.wait(20) == 1
    assert "storage-size" in refused.text(), refused.text()
    n1.start_capture(storage="128MiB", data_dir=disk / "data")
    n2.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    filler = disk / "filler"
    oracle = Oracle(n1, "eth0")
    start = time.time_ns()
    senders = start_senders(lab, 9, seconds=20, pps=4000)
    time.sleep(2)
    with open(filler, "wb") as f:
        try:
            while True:
                f.write(bytes(1 << 20))
                f.flush()
        except OSError:
            pass
    wait_for(lambda: n1.status()["drops"]["disk_full_packets"] > 0, "the disk to be full", timeout=60)
    filler.unlink()
    recorded = n1.status()["packets"]
    wait_for(lambda: n1.status()["packets"] > recorded + 500, "recording to go on", timeout=60)
    wait_senders(senders)
    time.sleep(1.2)
    end = time.time_ns()
    oracle.stop()
    lost = n1.status()["drops"]["disk_full_packets"]
    lab.client("snapshot", "create", "full", "--from", rfc3339(start), "--to", rfc3339(end), "--node", "n1", "--wait", check=False)
    got = export(lab, "full", tmp_path)[("n1", "eth0")]
    have = collections.Counter((data, length) for _, data, length in got)
    crossed = collections.Counter((p.data, p.length) for p in oracle.packets if start <= p.time_ns < end)
    assert not have - collections.Counter((p.data, p.length) for p in oracle.packets)
    missing = sum((crossed - have).values())
    gaps = [g for n in lab.snapshot("full")["nodes"] for g in n["gaps"]]
    told = sum(g["packets"] for g in gaps if "disk full" in g["reason"])
    print(f"{sum(crossed.values())} packets, {missing} missing, {told} told, {lost} counted; gaps {gaps}")
    if not any("recycled" in g["reason"] for g in gaps):
        assert missing == told == lost


@pytest.mark.timeout(200)
def test_disk_full_on_the_hub(make_lab, tmp_path, small_disk):
    disk = small_disk(400)
    lab = make_lab(nodes=2, hub=False)
    lab.hub_data = disk / "hub"
    lab.start_hub()
    for node in lab.nodes:
        node.start_capture(storage="512MiB")
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(start_senders(lab, 5, seconds=4, pps=3000))
    filler = disk / "filler"
    filler.write_bytes(bytes(330 << 20))
    refused = lab.client("snapshot", "create", "big", "--last", "30s", check=False)
    assert refused.returncode == 1 and "do not fit" in refused.stderr, refused.stderr
    filler.unlink()
    result = lab.client("snapshot", "create", "fits", "--last", "5s", "--wait", check=False)
    assert lab.snapshot("fits")["state"] == "completed", result.stderr
    # The disk fills while a transfer runs: the snapshot fails with a reason and leaves nothing behind.
    for node in lab.nodes:
        node.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "8mbit", "burst", "64kb", "latency", "400ms")
    lab.client("snapshot", "create", "cut", "--last", "60s")
    with open(filler, "wb") as f:
        try:
            while True:
                f.write(bytes(1 << 18))
                f.flush()
        except OSError:
            pass
    snapshot = lab.wait_for_snapshot("cut")
    if snapshot["state"] == "failed":
        assert "space" in snapshot["reason"].lower() or "disk" in snapshot["reason"].lower(), snapshot["reason"]
    filler.unlink()
    lab.client("snapshot", "verify", "fits")
    assert lab.hub.alive()


@pytest.mark.timeout(120)
def test_damaged_archives(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    lab.nodes[0].start_capture()
    lab.wait_for_nodes()
    for _ in range(3):
        lab.nodes[0].run("bash", "-c", "for i in $(seq 300); do echo $RANDOM > /dev/udp/10.77.0.200/9; done", check=False)
    lab.client("snapshot", "create", "s", "--last", "30s", "--wait", check=False)
    good = (lab.archives / "s.tar.zst").read_bytes()
    rng = random.Random(2)
    bad = tmp_path / "bad.tar.zst"
    plain = run("zstd", "-dc", lab.archives / "s.tar.zst", text=False).stdout
    for i in range(60):
        damaged = bytearray(good)
        if i % 3 == 0:
            damaged = damaged[:rng.randrange(len(good))]
        else:
            damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        bad.write_bytes(damaged)
        verify = run(lab.binary, "snapshot", "verify", bad, check=False)
        assert verify.returncode in (0, 1), (i, verify)
        if verify.returncode == 0:
            # A compressed stream has bits that mean nothing: such a flip may pass, but then nothing has changed.
            assert run("zstd", "-dc", bad, text=False).stdout == plain, f"damage {i} went unseen"
        else:
            assert len(verify.stderr.strip().splitlines()) == 1, verify.stderr
        exported = run(lab.binary, "snapshot", "pcap", bad, "-o", tmp_path / "out.pcapng", check=False)
        assert exported.returncode in (0, 1, 3), (i, exported)
        refused = lab.client("snapshot", "import", bad, "--name", f"bad{i}", check=False)
        assert refused.returncode == verify.returncode, refused


LIAR = r'''
import http.server, json, sys
good = open(sys.argv[3], "rb").read()
lie = sys.argv[4]
frozen = json.load(open(sys.argv[5]))
# Made ahead: a machine that is busy takes longer for it than the hub's patience lasts.
huge_list = b""
if lie == "huge-list":
    member = dict(frozen["members"][0], content_bytes=16)
    huge_list = json.dumps([dict(member, index=i) for i in range(200000)]).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, status, body, kind="application/json"):
        self.send_response(status); self.send_header("Content-Type", kind); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_DELETE(self): self.answer(200, b"{}")
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path.endswith("/renew"): return self.answer(200, b"{}")
        frozen["id"] = body.get("id", frozen["id"])
        if lie == "bad-json": return self.answer(201, b'{"id": [')
        if lie == "huge-list":
            return self.answer(201, json.dumps(dict(frozen, members=[])).encode().replace(b'"members": []', b'"members": ' + huge_list))
        self.answer(201, json.dumps(frozen).encode())
    def do_GET(self):
        if "/members/" not in self.path: return self.answer(200, json.dumps(frozen).encode())
        if lie == "endless":
            self.send_response(200); self.send_header("Content-Type", "application/octet-stream"); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            try:
                while True: self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            except OSError: return
        if lie == "short": return self.answer(200, good[:-10])
        if lie == "flip": return self.answer(200, good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
        if lie == "wrong-hash":
            at = good.index(b'"sha256"') + 12
            return self.answer(200, good[:at] + (b"0" if good[at:at+1] != b"0" else b"1") + good[at+1:])
        if lie == "silent":
            import time; time.sleep(3600)
        self.answer(200, good, "application/octet-stream")
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
print("serving", flush=True)
server.serve_forever()
'''


@pytest.mark.timeout(240)
@pytest.mark.parametrize("lie", ["wrong-hash", "endless", "short", "flip", "bad-json", "silent", "huge-list"])
def test_a_lying_node(make_lab, tmp_path, lie):
    """A node can supply content, never a name or a structure: its lies cost only itself."""
    lab = make_lab(nodes=2)
    n1, n2 = lab.nodes
    n1.start_capture()
    n2.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    wait_senders(traffic(lab, seconds=2))
    frozen = json.loads(n2.curl("-X", "POST", f"{n2.url}/api/v1/freezes", "-d",
                               json.dumps({"id": "truth", "owner": "test", "from": rfc3339(time.time_ns() - 10**10),
                                           "to": rfc3339(time.time_ns()), "ttl_ns": 10**11, "networks": []})).stdout)
    frozen["members"] = frozen["members"][:1]
    member = tmp_path / "member"
    member.write_bytes(n2.curl(f"{n2.url}/api/v1/freezes/truth/members/{frozen['members'][0]['index']}", text=False).stdout)
    (tmp_path / "frozen.json").write_text(json.dumps(frozen))
    (tmp_path / "liar.py").write_text(LIAR)
    liar = n2.spawn(sys.executable, tmp_path / "liar.py", n2.management, "7999", member, lie, tmp_path / "frozen.json")
    wait_for(lambda: "serving" in liar.text(), "the liar")
    # The liar takes the place of n2: it registers under a new name with its own port.
    beat = json.dumps({"version": "0.1.0", "url": f"http://{n2.management}:7999", "port": 7999, "tls": False, "incarnation": "liar",
                       "status": {}, "clock": None, "sent_ns": time.time_ns()})
    n2.curl("-X", "POST", f"{lab.hub_url}/api/v1/nodes/liar/heartbeat", "-d", beat)
    # Only where the lie is to say nothing, or never to end, does the deadline have to pass.
    deadline = "6s" if lie in ("silent", "endless") else "60s"
    result = lab.client("snapshot", "create", "lied", "--last", "30s", "--node", "n1", "--node", "liar", "--deadline", deadline, "--wait",
                        check=False, timeout=200)
    assert result.returncode == 3, (result.returncode, result.stderr)
    nodes = {n["name"]: n for n in lab.snapshot("lied")["nodes"]}
    assert nodes["liar"]["status"] in ("failed", "partial") and nodes["liar"]["reason"], nodes["liar"]
    if lie == "huge-list":
        assert "it lists 200000 members" in nodes["liar"]["reason"], nodes["liar"]
    assert nodes["n1"]["packets"] > 0
    lab.client("snapshot", "verify", "lied")
    names = re.findall(r"\S+$", run("tar", "--zstd", "-tvf", lab.archives / "lied.tar.zst").stdout, re.M)
    assert all(re.fullmatch(r"nodes/(n1|liar)/(packets/\d{8}\.pcapng|os-events/\d{8}\.ndjson)|manifest\.json", n) for n in names), names
    assert lab.hub.alive()
