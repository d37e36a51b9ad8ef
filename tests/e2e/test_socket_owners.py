"""Sockets that share a port, datagrams in fragments and programs whose file is gone: each exchange bears the process that had it, or none."""
import collections
import json
import os
import shutil
import subprocess
import sys

import pytest

from lab import Process, run, wait_for

# A UDP server of a kind: says what it was sent to whoever sent it, and notes it.
SERVER = """
import ctypes, json, os, socket, sys
kind, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET if kind in ("any4", "reuse") else socket.AF_INET6
s = socket.socket(family, socket.SOCK_DGRAM)
if kind == "only6": s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
if kind == "dual": s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
if kind == "reuse": s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("0.0.0.0" if family == socket.AF_INET else "::", port))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    print(json.dumps([os.getpid(), peer[1]]), flush=True)
    s.sendto(data[:8], peer)
"""

# A client on a port of its own for each exchange; its answer says that the server has noted it.
CLIENTS = """
import json, os, socket, sys
port, bytes_, addresses = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
for address in addresses:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 0)); s.settimeout(20)
    s.sendto(b"q" * bytes_, (address, port)); s.recvfrom(100)
    print(json.dumps([os.getpid(), s.getsockname()[1]]), flush=True)
"""

PORT = 5399


def start(lab, node, kind, name=None, python=sys.executable):
    server = Process([python, "-c", SERVER, kind, str(PORT)], lab.directory / f"{name or kind}.log", namespace=node.namespace)
    lab.processes.append(server)
    wait_for(lambda: "ready" in server.text(), f"server {kind}")
    return server


def truth_of(servers):
    return {port: pid for server in servers for pid, port in map(json.loads, server.text().splitlines()[1:])}


def report(lab, name, *arguments):
    lab.client("snapshot", "create", name, "--last", "1m", "--wait", check=False)
    done = lab.client("snapshot", "flows", name, "--filter", f"udp port {PORT}", "-o", "json", *arguments, check=False)
    return json.loads(done.stdout)


def judge(flows, truth):
    count = collections.Counter()
    for flow in flows:
        ends = {flow[side]["port"]: flow[side].get("pid") for side in ("client", "server")}
        client = next(port for port in ends if port != PORT)
        told = ends[PORT]
        count["none" if told is None else "right" if told == truth[client] else "wrong"] += 1
    return count


@pytest.fixture
def node(make_lab):
    lab = make_lab(nodes=1, hub=True)
    node = lab.nodes[0]
    node.lab = lab
    return node


@pytest.mark.timeout(120)
@pytest.mark.parametrize("servers_first", [True, False])
def test_one_port_of_both_families(node, servers_first):
    lab = node.lab
    servers = [start(lab, node, "any4"), start(lab, node, "only6")] if servers_first else []
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    if not servers_first:
        servers = [start(lab, node, "any4"), start(lab, node, "only6")]
    node.run(sys.executable, "-c", CLIENTS, PORT, 10, *["127.0.0.1", "::1"] * 4, timeout=60)
    truth = truth_of(servers)
    assert len(truth) == 8
    assert judge(report(lab, "families")["flows"], truth) == {"right": 8}


@pytest.mark.timeout(120)
def test_processes_that_share_a_port(node):
    lab = node.lab
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    servers = [start(lab, node, "reuse", f"reuse{number}") for number in range(2)]
    truth = {}
    # Until both have had some.
    while len(set(truth.values())) < 2:
        node.run(sys.executable, "-c", CLIENTS, PORT, 10, *["127.0.0.1"] * 16, timeout=60)
        truth = truth_of(servers)
    told = report(lab, "shared")
    count = judge(told["flows"], truth)
    assert count["wrong"] == 0
    assert sum(count.values()) == len(truth)
    assert not count["none"] or any("one of several" in line for line in told["warnings"])


@pytest.mark.timeout(120)
def test_all_fragments_of_a_process(node, tmp_path):
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    lab = node.lab
    subprocess.run(["ip", "-n", node.namespace, "link", "set", "lo", "mtu", "1500"], check=True)
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    server = start(lab, node, "dual")
    addresses = ["127.0.0.1", "::1"] * 3
    client = node.run(sys.executable, "-c", CLIENTS, PORT, 4000, *addresses, timeout=60)
    lab.client("snapshot", "create", "fragments", "--last", "1m", "--wait", check=False)
    pid = json.loads(client.stdout.splitlines()[0])[0]
    for choice in (["--pid", str(pid)], ["--pid", str(server.pid)]):
        out = tmp_path / "fragments.pcapng"
        done = lab.client("snapshot", "pcap", "fragments", "-o", out, *choice, check=False)
        assert done.returncode in (0, 3), done.stderr
        rows = subprocess.run(["tshark", "-r", out, "-Y", f"udp.dstport == {PORT}", "-T", "fields", "-e", "udp.length"],
                              check=True, capture_output=True, text=True).stdout.split()
        assert rows == ["4008"] * len(addresses)  # each whole again
    flows = json.loads(lab.client("snapshot", "flows", "fragments", "--pid", str(pid), "-o", "json", check=False).stdout)["flows"]
    assert len(flows) == len(addresses)
    assert {flow["client"]["packets"] for flow in flows} == {3}
    assert {(flow["client"].get("pid"), flow["server"].get("pid")) for flow in flows} == {(pid, server.pid)}


@pytest.mark.timeout(120)
def test_a_program_whose_file_is_gone(node, tmp_path):
    lab = node.lab
    program = tmp_path / "a-program-with-a-long-name"
    # An interpreter elsewhere finds its library by this.
    os.environ["PYTHONHOME"] = f"{sys.base_prefix}:{sys.base_exec_prefix}"
    try:
        shutil.copy(os.path.realpath(sys.executable), program)
        server = start(lab, node, "any4", python=str(program))
    finally:
        del os.environ["PYTHONHOME"]
    program.unlink()
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    node.run(sys.executable, "-c", CLIENTS, PORT, 10, "127.0.0.1", timeout=60)
    flows = report(lab, "gone", "--process", program.name)["flows"]
    assert [flow["server"].get("pid") for flow in flows] == [server.pid]


ECHOES = "icmp.type == 8 or icmp.type == 0 or icmpv6.type == 128 or icmpv6.type == 129"


def record_pings(node, ping_sockets, count, *targets):
    """A snapshot "pings" of pings of all targets at once, by ping sockets or by raw ones: the process of each."""
    if not shutil.which("ping"):
        pytest.skip("ping is not installed")
    node.run("sysctl", "-qw", f"net.ipv4.ping_group_range={'0 2147483647' if ping_sockets else '1 0'}")
    node.start_capture(interface="lo")
    node.lab.wait_for_nodes()
    started = [(target, node.spawn("ping", "-c", count, "-i", "0.2", target, log=node.lab.directory / f"ping-{number}.log"))
               for number, target in enumerate(targets)]
    for _, process in started:
        assert process.popen.wait(60) == 0, process.text()
    node.lab.client("snapshot", "create", "pings", "--last", "1m", "--wait", check=False)
    return {target: process.pid for target, process in started}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ping_sockets", [True, False])
def test_echoes_belong_to_who_asks(node, tmp_path, ping_sockets):
    known = record_pings(node, ping_sockets, 3, "127.0.0.1", "::1")
    file = tmp_path / "pings.pcapng"
    node.lab.client("snapshot", "pcap", "pings", "-o", file, "--process", "ping", check=False)
    rows = run("tshark", "-n", "-r", file, "-Y", ECHOES, "-T", "fields", "-e", "ip.src", "-e", "ipv6.src").stdout.split()
    assert collections.Counter(rows) == {"127.0.0.1": 6, "::1": 6}
    for target, pid in known.items():
        node.lab.client("snapshot", "pcap", "pings", "-o", file, "--pid", pid, check=False)
        rows = run("tshark", "-n", "-r", file, "-T", "fields", "-e", "ip.src", "-e", "ipv6.src").stdout.split()
        assert rows == [target] * 6


@pytest.mark.timeout(180)
def test_echoes_of_several_raw_sockets_belong_to_none(node, tmp_path):
    record_pings(node, False, 8, "127.0.0.1", "127.0.0.2")
    done = node.lab.client("snapshot", "pcap", "pings", "-o", tmp_path / "pings.pcapng", "--process", "ping", check=False)
    assert "packets of ICMP are left out" in done.stderr and "could be one of several" in done.stderr, done.stderr
