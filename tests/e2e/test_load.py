"""At a stated load nothing is lost: three nodes on one machine, each 20,000 packets/s of 350 bytes on average for 6 s."""
import os
import pathlib
import random
import sys
import time

import pytest

import capfile
import numbered
from lab import run

RATE, SECONDS = 20_000, 6


def add_load_interfaces(node):
    node.run("ip", "link", "add", "load0", "type", "veth", "peer", "name", "load1")
    for name in ("load0", "load1"):
        node.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        node.run("ip", "link", "set", name, "up")


def check_all_there(path, seed):
    """Every packet that the sender numbered, in its order, byte for byte, and nothing else."""
    _, packets = capfile.read(path)
    frames = numbered.templates(seed)
    assert len(packets) == RATE * SECONDS, f"{path}: {len(packets)} packets"
    for expected, packet in enumerate(packets):
        if packet.data != numbered.frame(frames, expected):
            raise AssertionError(f"{path}: packet {expected} is not the one sent, but {numbered.number_of(packet.data)}")


@pytest.mark.timeout(180)
def test_nothing_is_lost_at_the_stated_load(make_lab, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    lab = make_lab(nodes=3)
    for node in lab.nodes:
        add_load_interfaces(node)
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
        check_all_there(path, seed + node.index)


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, on a file."""
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no loop devices")
    image, path = tmp_path / "disk.img", tmp_path / "disk"
    path.mkdir()
    run("truncate", "-s", "512M", image)
    run("mkfs.ext4", "-q", "-F", image)
    run("mount", "-o", "loop", image, path)
    yield path
    run("fsfreeze", "--unfreeze", path, check=False)
    run("umount", "-l", path)


@pytest.mark.timeout(120)
def test_nothing_is_lost_while_the_disk_stalls(make_lab, tmp_path, disk):
    """The disk takes nothing for three seconds: longer than the kernel's ring lasts, whose blocks are handed over however little is in them."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    add_load_interfaces(node)
    node.start_capture(interface="load1", data_dir=disk / "data")
    lab.wait_for_nodes()
    start = time.time()
    sender = node.spawn(sys.executable, pathlib.Path(numbered.__file__), "load0", seed, RATE * SECONDS, RATE)
    time.sleep(0.5)
    run("fsfreeze", "--freeze", disk)
    time.sleep(3)
    assert sender.popen.poll() is None, "the sender ended before the disk went on"
    run("fsfreeze", "--unfreeze", disk)
    assert sender.popen.wait(60) == 0, sender.text()
    lab.client("snapshot", "create", "stall", "--last", f"{time.time() - start:.3f}s", "--wait")
    assert node.status()["drops"]["packets"] == 0
    lab.client("snapshot", "pcap", "stall", "--format", "pcap", "-o", tmp_path / "stall.pcap")
    check_all_there(tmp_path / "stall.pcap", seed)
