"""At a stated load nothing is lost: three nodes on one machine, each 20,000 packets/s of 350 bytes on average for 6 s."""
import pathlib
import random
import sys
import time

import pytest

import capfile
import numbered

RATE, SECONDS = 20_000, 6


@pytest.mark.timeout(180)
def test_nothing_is_lost_at_the_stated_load(make_lab, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    lab = make_lab(nodes=3)
    for node in lab.nodes:
        node.run("ip", "link", "add", "load0", "type", "veth", "peer", "name", "load1")
        for name in ("load0", "load1"):
            node.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            node.run("ip", "link", "set", name, "up")
        node.start_capture(interface="load1", storage="1GiB")
    lab.wait_for_nodes()

    start = time.time()
    sender = pathlib.Path(numbered.__file__)
    senders = [node.spawn(sys.executable, sender, "load0", seed + node.index, RATE * SECONDS, RATE) for node in lab.nodes]
    for process in senders:
        assert process.popen.wait(90) == 0, process.text()
    rates = [int(process.text()) for process in senders]
    print(f"sent at {rates} packets/s")

    # Exit status 0 says that the window is wholly covered: not one drop, stall or gap in it.
    lab.client("snapshot", "create", "load", "--last", f"{time.time() - start:.3f}s", "--wait")
    assert [node.status()["drops"]["packets"] for node in lab.nodes] == [0, 0, 0]
    for node in lab.nodes:
        path = tmp_path / f"{node.name}.pcap"
        lab.client("snapshot", "pcap", "load", "--node", node.name, "--format", "pcap", "-o", path)
        _, packets = capfile.read(path)
        frames = numbered.templates(seed + node.index)
        assert len(packets) == RATE * SECONDS, f"{node.name}: {len(packets)} packets"
        for expected, packet in enumerate(packets):
            if packet.data != numbered.frame(frames, expected):
                raise AssertionError(f"{node.name}: packet {expected} is not the one sent, but {numbered.number_of(packet.data)}")
