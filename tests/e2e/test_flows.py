"""`snapshot flows` against tshark: the same connections, bytes, packets, retransmissions and round trips."""
import collections
import csv
import io
import json
import sys

import pytest

from conftest import find_binary
from lab import Lab, Process, run, wait_for
from oracle import Oracle

FIELDS = ("tcp.stream", "udp.stream", "frame.len", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport",
          "udp.dstport", "tcp.analysis.retransmission", "tcp.analysis.initial_rtt", "tcp.analysis.out_of_order", "tcp.seq", "tcp.len")

SERVER = """
import socket, threading
def echo(c):
    with c:
        while data := c.recv(65536): c.sendall(data)
s = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(("::", 5300))
def answer():
    while True:
        data, peer = u.recvfrom(2048); u.sendto(data, peer)
threading.Thread(target=answer, daemon=True).start()
print("serving", flush=True)
while True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
"""

CLIENT = """
import random, socket, struct, sys
random.seed(3)
def talk(address, size, port=0):
    c = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        c.bind(("", port))
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset frees the port at once
    c.connect((address, 8080))
    left = size
    c.settimeout(20)
    while left:
        part = min(left, 20000)
        c.sendall(bytes(part))
        got = 0
        while got < part: got += len(c.recv(65536))
        left -= part
    c.close()
for address in sys.argv[1:]:
    for size in (0, 1, 300, 200000): talk(address, size)
    for _ in range(5): talk(address, 500, 41000)       # five connections on one pair of ports
    for i in range(6): talk(address, random.randrange(100000))
    u = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(20): u.sendto(bytes(100 + i), (address, 5300))
"""

# A wire between tun0 of two namespaces that delays every packet, some of them more than others, and loses some.
WIRE = """
import ctypes, fcntl, heapq, itertools, os, random, select, struct, subprocess, sys, time
random.seed(11)
libc = ctypes.CDLL(None, use_errno=True)
def tun(namespace, addresses):
    fd = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if libc.setns(fd, 0x40000000): raise OSError(ctypes.get_errno(), "setns")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))
    for address in addresses: subprocess.run(["ip", "address", "add", address, "dev", "tun0", "nodad"], check=True)
    subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
    return tun
a = tun(sys.argv[1], ["10.99.0.1/24", "fd99::1/64"])
b = tun(sys.argv[2], ["10.99.0.2/24", "fd99::2/64"])
print("wired", flush=True)
late, number = [], itertools.count()
while True:
    wait = max(0, late[0][0] - time.monotonic()) if late else None
    for fd in select.select([a, b], [], [], wait)[0]:
        packet = os.read(fd, 65536)
        if random.random() < 0.02: continue
        delay = 0.008 + (0.004 if random.random() < 0.02 else 0)
        heapq.heappush(late, (time.monotonic() + delay, next(number), b if fd == a else a, packet))
    while late and late[0][0] <= time.monotonic(): os.write(late[0][2], heapq.heappop(late)[3])
"""


@pytest.fixture(scope="module")
def lossy_capture(request, tmp_path_factory):
    """A lossy, slow link as the sender's and the receiver's side saw it."""
    lab = Lab(find_binary(), tmp_path_factory.mktemp("flows") / "lab", nodes=2, hub=True)
    request.addfinalizer(lab.close)
    first, second = lab.nodes
    server = second.spawn(sys.executable, "-c", SERVER)
    wait_for(lambda: "serving" in server.text(), "the server")
    wire = Process([sys.executable, "-c", WIRE, first.namespace, second.namespace], lab.directory / "wire.log")
    lab.processes.append(wire)
    wait_for(lambda: "wired" in wire.text(), "the wire")
    oracles = [Oracle(n, "tun0") for n in lab.nodes]
    first.run(sys.executable, "-c", CLIENT, "10.99.0.2", "fd99::2", timeout=120)
    for o in oracles:
        o.stop()
    return lab, oracles


def tshark_streams(path):
    """{(protocol, stream): {packets, bytes, retransmits, rtt, ends}} of a capture file."""
    command = ["tshark", "-n", "-r", path, "-Y", "(tcp or udp) and not icmp and not icmpv6", "-T", "fields", "-o", "ip.defragment:FALSE"]
    for field in FIELDS:
        command += ["-e", field]
    streams = {}
    for line in run(*command).stdout.splitlines():
        row = dict(zip(FIELDS, line.split("\t")))
        protocol = "tcp" if row["tcp.stream"] else "udp"
        ends = frozenset({(row["ip.src"] or row["ipv6.src"], int(row[f"{protocol}.srcport"])),
                          (row["ip.dst"] or row["ipv6.dst"], int(row[f"{protocol}.dstport"]))})
        stream = streams.setdefault((protocol, row[f"{protocol}.stream"]), {"packets": 0, "bytes": 0, "retransmits": 0, "rtt": None, "ends": ends, "seen": collections.defaultdict(set)})
        stream["packets"] += 1
        stream["bytes"] += int(row["frame.len"])
        # tshark takes a segment that comes soon behind a newer one for late, even where it has seen that segment before.
        seen_before = False
        if int(row["tcp.len"] or 0):
            content = set(range(int(row["tcp.seq"]), int(row["tcp.seq"]) + int(row["tcp.len"])))
            seen = stream["seen"][row["tcp.srcport"]]
            seen_before = content <= seen
            seen |= content
        stream["retransmits"] += bool(row["tcp.analysis.retransmission"] or (row["tcp.analysis.out_of_order"] and seen_before))
        if row["tcp.analysis.initial_rtt"]:
            stream["rtt"] = float(row["tcp.analysis.initial_rtt"])
    return streams


def ends_of(flow):
    return frozenset({(flow[end]["ip"], flow[end]["port"]) for end in ("client", "server")})


@pytest.mark.timeout(180)
@pytest.mark.parametrize("side", (0, 1))
def test_flows_are_those_of_tshark(lossy_capture, tmp_path, side):
    lab, oracles = lossy_capture
    capture = oracles[side].file
    name = f"side-{side}"
    lab.client("snapshot", "import", capture, "--name", name)
    report = json.loads(lab.client("snapshot", "flows", name, "-o", "json", "--filter", "tcp or udp").stdout)
    flows = report["flows"]
    streams = tshark_streams(capture)

    figures = lambda ends, x: (sorted(ends), x["packets"], x["bytes"])
    ours = collections.Counter(map(str, (figures(ends_of(f), f) for f in flows)))
    theirs = collections.Counter(map(str, (figures(s["ends"], s) for s in streams.values())))
    assert ours == theirs, (ours - theirs, theirs - ours)
    assert sum(f["protocol"] == "tcp" for f in flows) == 2 * (4 + 5 + 6)

    # Connection by connection: tcp.stream counts from 0 in the order of their beginnings, as the flows do.
    tcp = sorted((f for f in flows if f["protocol"] == "tcp"), key=lambda f: f["start"])
    total = differing = 0
    for number, flow in enumerate(tcp):
        stream = streams["tcp", str(number)]
        assert ends_of(flow) == stream["ends"]
        # Whether a segment is late or sent again, tshark guesses by times; so one may be judged otherwise now and then.
        assert abs(flow["retransmits"] - stream["retransmits"]) <= 1, (flow, stream)
        differing += flow["retransmits"] != stream["retransmits"]
        if stream["rtt"] is not None and stream["retransmits"] == 0:  # else it depends on which SYN was answered
            assert abs(flow["rtt_us"] / 1e6 - stream["rtt"]) < 2e-6, (flow, stream)
        assert flow["client"]["port"] != 8080 and flow["server"]["port"] == 8080
        total += flow["retransmits"]
    assert total > 20 and differing <= 2, (total, differing)  # the link did lose segments
    assert {"closed", "reset"} <= {f["state"] for f in tcp} <= {"closed", "reset", "open"}  # a last FIN may be lost


@pytest.mark.timeout(60)
def test_flows_of_a_file_and_of_the_hub_are_the_same(lossy_capture, tmp_path):
    lab, oracles = lossy_capture
    lab.client("snapshot", "import", oracles[0].file, "--name", "twice")
    archive = tmp_path / "twice.tar.zst"
    lab.client("snapshot", "download", "twice", "-o", archive)
    for options in (["-o", "json"], ["-o", "csv", "--sort", "start"], ["--sort", "retransmits", "--limit", "3"], ["-o", "csv", "--filter", "udp"]):
        assert lab.client("snapshot", "flows", "twice", *options).stdout == lab.client("snapshot", "flows", archive, *options).stdout
    rows = list(csv.DictReader(io.StringIO(lab.client("snapshot", "flows", archive, "-o", "csv").stdout)))
    flows = json.loads(lab.client("snapshot", "flows", archive, "-o", "json").stdout)["flows"]
    assert [(int(r["packets"]), int(r["bytes"]), r["client_ip"]) for r in rows] == [(f["packets"], f["bytes"], f["client"]["ip"]) for f in flows]
    assert [f["bytes"] for f in flows] == sorted((f["bytes"] for f in flows), reverse=True)
    table = lab.client("snapshot", "flows", archive, "--limit", "3").stdout.splitlines()
    assert len(table) == 4 and table[0].split()[:4] == ["START", "NODE", "PROTOCOL", "CLIENT"]
    wrong = lab.client("snapshot", "flows", "twice", "--filter", "no such thing", check=False)
    assert wrong.returncode == 2 and "filter" in wrong.stderr
    assert lab.client("snapshot", "flows", "absent", check=False).returncode == 4
