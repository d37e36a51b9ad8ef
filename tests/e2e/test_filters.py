"""`capture --filter` against tcpdump with the same expression on the same interface, live: stripped VLAN tags, QinQ, tun, loopback."""
import os
import sys
import time

import pytest

from oracle import HERE, Oracle, compare, per_interface, serve_everywhere, start_senders, start_tagged, wait_senders
from test_snapshot import rfc3339

TUN_WRITER = r'''
import fcntl, os, random, struct, sys, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"tun0", 0x0001 | 0x1000))
print("attached", flush=True)
time.sleep(1.5)
rng = random.Random(1)
for i in range(400):
    payload = rng.randbytes(rng.randint(0, 900))
    proto, port = (17, rng.choice((53, 9999)))
    udp = struct.pack("!HHHH", 4000 + i, port, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i, 0, 64, proto, 0, bytes((10, 90, 0, 2)), bytes((10, 90, 0, 1)))
    header = ip[:10]
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    os.write(tun, ip[:10] + struct.pack("!H", total) + ip[12:] + udp)
    time.sleep(0.002)
time.sleep(1)
'''


@pytest.mark.timeout(120)
@pytest.mark.parametrize("expression", ["udp port 53", "vlan 10", "vlan 20", "vlan and udp port 53", "vlan 100 and vlan 20", "host 10.77.0.12",
                                        "not vlan", "vlan 10 or tcp port 8080", "ip6", "less 100", "udp[8] & 1 = 1", "inbound", "outbound"])
def test_filter_as_tcpdump(make_lab, tmp_path, expression):
    lab = make_lab(nodes=2)
    n1, n2 = lab.nodes
    n1.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    n1.run("ip", "link", "set", "tun0", "up")
    n1.run("ip", "address", "add", "10.90.0.1/24", "dev", "tun0")
    n1.start_capture("--filter", expression, interface="eth0,lo,tun0")
    lab.wait_for_nodes(["n1"])
    serve_everywhere(lab)
    oracles = []
    for interface in ("eth0", "lo", "tun0"):
        if interface == "tun0" and expression in ("vlan 10 or tcp port 8080", "not vlan") or "vlan" in expression and interface == "tun0":
            continue  # tcpdump refuses vlan on a link without link-layer headers
        oracles.append(Oracle(n1, interface, expression))
    start = time.time_ns()
    senders = start_senders(lab, 3, seconds=2, pps=500, addresses=lambda n: [o.address for o in lab.nodes if o is not n] + ["127.0.0.1", "::1", n2.address6 if n is n1 else n1.address6])
    senders += start_tagged(lab, 5, seconds=2)
    if os.path.exists("/dev/net/tun"):
        senders.append(n1.spawn(sys.executable, "-c", TUN_WRITER))
    wait_senders(senders)
    time.sleep(0.2)
    end = time.time_ns()
    lab.client("snapshot", "create", "s", "--from", rfc3339(start), "--to", rfc3339(end), "--wait")
    path = tmp_path / "s.pcapng"
    lab.client("snapshot", "pcap", "s", "-o", path)
    got = per_interface(path)
    for oracle in oracles:
        oracle.stop()
        compare(got[("n1", oracle.interface)], oracle.packets, start, end, f"'{expression}' on {oracle.interface}")


@pytest.mark.timeout(120)
def test_own_traffic_is_left_out_and_late_interfaces_come_in(make_lab, tmp_path):
    """No feedback loop with the hub, whose network is recorded as well; an interface made later is recorded from its first packets on."""
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture(interface=None)
    lab.wait_for_nodes()
    time.sleep(6)  # a heartbeat answered: the daemon knows the hub's ports
    n1 = lab.nodes[0]
    start = time.time_ns()
    n1.run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
    for name in ("late0", "late1"):
        n1.run("ip", "link", "set", name, "up")
    time.sleep(1)
    lab.in_hub("curl", "-s", f"http://{n1.management}:9/", check=False)  # somebody else's TCP on that network stays
    n1.spawn(sys.executable, HERE / "traffic.py", "tagged", "1", "1", "100", "late0", "10.77.0.99").popen.wait()
    lab.client("snapshot", "create", "a", "--from", rfc3339(start), "--to", rfc3339(time.time_ns()), "--wait")
    lab.client("snapshot", "create", "b", "--from", rfc3339(start), "--to", rfc3339(time.time_ns()), "--wait")
    path = tmp_path / "b.pcapng"
    lab.client("snapshot", "pcap", "b", "-o", path)
    got = per_interface(path)
    assert len(got[("n1", "late0")]) >= 90 and len(got[("n1", "late1")]) >= 90, {k: len(v) for k, v in got.items()}
    from subprocess import run as sh
    def count(expression):
        return len(sh(["tcpdump", "-nr", path, expression], capture_output=True).stdout.splitlines())
    assert count("tcp port 7400 or tcp port 7401") == 0
    assert count("tcp port 9") > 0
