"""Sockets of several network namespaces that have the very same ends: each packet must bear the right process, or none."""
import collections
import json
import sys

import pytest

import capfile
from lab import run, wait_for

PORT = 8099

# Connects from a port of its own and keeps the connection, with a message now and then; says its pid when it is connected or on its way.
CLIENT = """
import os, socket, sys, time
source, port, target = sys.argv[1:4]
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((source, int(port)))
s.setblocking(False)
try: s.connect((target, %d))
except BlockingIOError: pass
print("pid", os.getpid(), flush=True)
while True:
    time.sleep(0.1)
    try: s.send(b"x")
    except OSError: pass
""" % PORT
SERVER = """
import os, socket, sys
s = socket.create_server((sys.argv[1], %d))
print("pid", os.getpid(), flush=True)
held = []
while True: held.append(s.accept()[0])
""" % PORT


class Host:
    """A namespace behind a veth of the node, as a container's is."""

    def __init__(self, lab, node, name, bridge, address):
        self.lab, self.veth = lab, f"v{name}"
        self.namespace = lab._namespace(f"x{name}")
        lab._ip(node.namespace, "link", "add", self.veth, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        lab._ip(node.namespace, "link", "set", self.veth, "master", bridge, "up")
        lab._ip(self.namespace, "link", "set", "eth0", "up")
        lab._ip(self.namespace, "address", "add", f"{address}/24", "dev", "eth0")


def start(lab, namespace, program, *arguments):
    process = lab.nodes[0].spawn("nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", program, *arguments)
    wait_for(lambda: "pid " in process.text(), "a process")
    return int(process.text().split()[1])


@pytest.mark.timeout(120)
def test_the_same_ends_in_two_namespaces(make_lab, tmp_path):
    lab = make_lab(nodes=2)
    node, other = lab.nodes
    hosts = {}
    for bridge, client, server in (("br1", "a", "c"), ("br2", "b", "d")):
        lab._ip(node.namespace, "link", "add", bridge, "type", "bridge")
        lab._ip(node.namespace, "link", "set", bridge, "up")
        hosts[client] = Host(lab, node, client, bridge, "10.50.0.2")
        hosts[server] = Host(lab, node, server, bridge, "10.50.0.1")
    # One of them has the node's address too, and tries to connect as the node does.
    lab._ip(hosts["a"].namespace, "address", "add", f"{node.address}/24", "dev", "eth0")
    node.start_capture(interface=None)
    lab.wait_for_nodes(["n1"])

    pids = {}
    for name in ("c", "d"):
        pids[name] = start(lab, hosts[name].namespace, SERVER, "10.50.0.1")
    for name in ("a", "b"):
        pids[name] = start(lab, hosts[name].namespace, CLIENT, "10.50.0.2", 41000, "10.50.0.1")
    # Everybody's own loopback.
    for name, namespace in (("lo", node.namespace), ("lo-a", hosts["a"].namespace)):
        pids[name + "-server"] = start(lab, namespace, SERVER, "127.0.0.1")
        pids[name] = start(lab, namespace, CLIENT, "127.0.0.1", 42000, "127.0.0.1")
    # The node and one behind it, with the same address.
    pids["other"] = start(lab, other.namespace, SERVER, other.address)
    pids["elsewhere"] = start(lab, hosts["a"].namespace, CLIENT, node.address, 43000, other.address)
    pids["eth0"] = start(lab, node.namespace, CLIENT, node.address, 43000, other.address)
    run("sleep", "1.5")
    lab.client("snapshot", "create", "same", "--last", "1m", "--wait", check=False)
    out = tmp_path / "same.pcapng"
    lab.client("snapshot", "pcap", "same", "--filter", f"tcp port {PORT}", "-o", out, check=False)

    interfaces, packets = capfile.read(out)
    ends = {"va": {"a", "c"}, "vc": {"a", "c"}, "vb": {"b", "d"}, "vd": {"b", "d"}, "lo": {"lo", "lo-server"}, "eth0": {"eth0", "other"}}
    right = {interface: {pids[name] for name in names} for interface, names in ends.items()}
    told = {interface: set() for interface in right}
    nobody = collections.Counter()
    for packet in packets:
        interface = interfaces[packet.interface].name.rsplit("/", 1)[-1]
        if interface not in right:
            continue  # the bridges, which see what they have no port for yet
        if packet.pid is None:
            nobody[interface] += 1
        else:
            told[interface].add(packet.pid)
    print({interface: sorted(found) for interface, found in told.items()}, dict(nobody))
    assert told == right
    assert not nobody

    events = lab.directory / "events"
    events.mkdir()
    run("tar", "--zstd", "-xf", lab.archives / "same.tar.zst", "-C", events)
    lines = [json.loads(line) for path in sorted(events.glob("nodes/n1/os-events/*.ndjson")) for line in path.read_text().splitlines()]
    inode = lambda namespace: int(run("stat", "-Lc", "%i", f"/run/netns/{namespace}").stdout)
    networks = {line["netns"]: line for line in lines if line["kind"] == "network"}
    assert [netns for netns, line in networks.items() if line.get("recorder")] == [inode(node.namespace)]
    assert "10.50.0.2" in networks[inode(hosts["b"].namespace)]["addresses"]
    links = {line["name"]: line for line in lines if line["kind"] == "interface"}
    for host in hosts.values():
        assert links[host.veth]["peer_netns"] == inode(host.namespace)
    assert links["lo"]["loopback"] and node.address in links["eth0"]["addresses"]
    assert all(line["netns"] == inode(node.namespace) for line in links.values())
