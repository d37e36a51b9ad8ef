"""Devices of hardware types that libpcap reads in a special way, or not at all: what is exported has the link type that tcpdump
records them with, or the header of a cooked capture."""
import subprocess
import sys

import pytest

from lab import run, wait_for

# A TUN device of a hardware type (linux/if_arp.h), into which frames are written with the protocol in front.
DEVICE = """
import fcntl, os, struct, subprocess, sys
name, hardware, frames = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
device = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(device, 0x400454ca, struct.pack("16sH22s", name.encode(), 1, b""))  # TUNSETIFF, with protocol information
fcntl.ioctl(device, 0x400454cd, hardware)  # TUNSETLINK
subprocess.run(["ip", "link", "set", name, "up"], check=True)
print("up", flush=True)
for line in sys.stdin:
    for frame in frames:
        protocol, data = frame.split(":")
        os.write(device, struct.pack("!HH", 0, int(protocol, 16)) + bytes.fromhex(data))
"""

IP = "4500001c000100004011" + "0000" + "0a0101010a010102" + "1b58003500080000"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("hardware, frames, encapsulation, fields", [
    (280, ["000c:23010080" + "02000000" + "6162000000000000"], "socketcan", {"can.id": "291"}),
    (824, ["0010:" + "14000000120001030000000000000000" + "00000000"], "netlink", {}),
    (65535, [f"0800:{IP}"], "linux-sll2", {"ip.src": "10.1.1.1"}),
    (827, [f"0800:{IP}"], "linux-sll2", {"ip.src": "10.1.1.1"}),
])
def test_a_device_has_the_link_type_that_others_give_it(make_lab, tmp_path, hardware, frames, encapsulation, fields):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    device = subprocess.Popen(["ip", "netns", "exec", node.namespace, sys.executable, "-c", DEVICE, "odd0", str(hardware), *frames],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert device.stdout.readline() == "up\n"
        node.start_capture(interface=None)
        lab.wait_for_nodes(["n1"])
        out = tmp_path / "odd.pcapng"
        number = 0

        def exported():
            nonlocal number
            number += 1
            device.stdin.write("once\n")
            device.stdin.flush()
            lab.client("snapshot", "create", f"odd{number}", "--last", "1m", "--wait", check=False)
            lab.client("snapshot", "pcap", f"odd{number}", "--interface", "odd0", "-o", str(out), check=False)
            return out.exists() and run("tshark", "-n", "-r", str(out), "-T", "fields", "-e", "frame.number").stdout.strip()

        wait_for(exported, "packets of the device", timeout=120, interval=0.5)
        info = run("capinfos", "-M", "-E", str(out)).stdout
        assert encapsulation in info, info
        for field, value in fields.items():
            seen = run("tshark", "-n", "-r", str(out), "-T", "fields", "-e", field).stdout.split()
            assert seen and set(seen) == {value}, seen
    finally:
        device.stdin.close()
        device.wait()
