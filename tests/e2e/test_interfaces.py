"""Interfaces as they are asked for: promiscuous mode as tcpdump has it, and names that are any bytes."""
import json

import pytest

from lab import Process, run, wait_for
from oracle import Tcpdump
from standalone import Standalone

ICMP = ["tshark", "-T", "fields", "-e", "icmp.type", "-Y", "icmp", "-r"]


def ping_across(lab, count=3):
    lab.nodes[0].run("ping", "-c", count, "-i", "0.2", "-W", "5", lab.nodes[1].address)


def promiscuity(namespace, interface):
    return json.loads(run("ip", "-n", namespace, "-d", "-j", "link", "show", "dev", interface).stdout)[0]["promiscuity"]


def tcpdump_counts(lab, *options):
    """How many ICMP packets tcpdump sees on the bridge; by itself, since its mode would be everybody's."""
    file = lab.directory / f"tcpdump{len(lab.processes)}.pcap"
    process = Process(["tcpdump", "-i", "br-data", "-n", "-U", "--immediate-mode", "-Z", "root", "-w", file, *options, "icmp"],
                      f"{file}.log", lab.switch)
    lab.processes.append(process)
    tcpdump = Tcpdump(process, "tcpdump on the bridge")
    ping_across(lab)
    tcpdump.stop()
    return len(run(*ICMP, file).stdout.split())


@pytest.mark.parametrize("ours, tcpdumps", [([], []), (["--no-promiscuous"], ["-p"])], ids=["default", "no-promiscuous"])
def test_what_a_bridge_forwards_is_recorded_as_tcpdump_does(make_lab, ours, tcpdumps):
    lab = make_lab(nodes=2, hub=False)
    ping_across(lab, 1)  # addresses are known then
    expected = tcpdump_counts(lab, *tcpdumps)
    wait_for(lambda: promiscuity(lab.switch, "br-data") == 0, "tcpdump's mode to end")
    daemon = Standalone(lab, lab.switch, "--interface", "br-data", "--os-events=off", *ours)
    assert promiscuity(lab.switch, "br-data") == (0 if ours else 1)
    assert daemon.status()["promiscuous"] is (not ours)
    ping_across(lab)
    daemon.snapshot("s")
    seen = run(*ICMP, daemon.export("s", "--filter", "icmp")).stdout.split()
    assert len(seen) == expected == (0 if ours else 6)
    daemon.stop()
    assert promiscuity(lab.switch, "br-data") == 0


def test_interfaces_become_promiscuous_when_they_are_named(make_lab):
    lab = make_lab(nodes=1, hub=False)
    switch = lab.switch
    everything = Standalone(lab, switch, "--os-events=off")
    assert promiscuity(switch, "br-data") == 0  # as tcpdump -i any
    everything.stop()
    daemon = Standalone(lab, switch, "--interface", "later*", "--os-events=off")
    assert promiscuity(switch, "br-data") == 0
    lab.add_pair(switch, "later0", "peer0")
    run("ip", "-n", switch, "link", "set", "later0", "up")
    wait_for(lambda: promiscuity(switch, "later0") == 1, "the new interface to become promiscuous")
    run("ip", "-n", switch, "link", "set", "later0", "down")
    run("ip", "-n", switch, "link", "set", "later0", "name", "other0")
    wait_for(lambda: promiscuity(switch, "other0") == 0, "the renamed interface to be let go")
    run("ip", "-n", switch, "link", "set", "other0", "name", "later1")
    run("ip", "-n", switch, "link", "set", "later1", "up")
    wait_for(lambda: promiscuity(switch, "later1") == 1, "the interface that is named again")
    run("ip", "-n", switch, "link", "del", "later1")
    lab.add_pair(switch, "later2", "peer2")
    wait_for(lambda: promiscuity(switch, "later2") == 1, "an interface that may have got its index")
    daemon.stop()


@pytest.mark.parametrize("name, shown", [(b"l\xe9", "l\\xe9"), (b"\xff\xfe", "\\xff\\xfe"), (b"a\x1b[2J", "a\\x1b[2J"),
                                         ("r\u202el".encode(), "r\\xe2\\x80\\xael"), (b"x\\xe9", "x\\x5cxe9"), ("b\u00e9".encode(), "b\u00e9")], ids=repr)
def test_a_name_of_any_bytes(make_lab, name, shown):
    lab = make_lab(nodes=1, hub=False)
    space = lab.nodes[0].namespace
    lab.add_pair(space, name.decode("utf-8", "surrogateescape"), "peer")
    run("ip", "-n", space, "link", "set", "peer", "up")
    run("ip", "-n", space, "address", "add", "10.90.0.1/24", "dev", name.decode("utf-8", "surrogateescape"))
    run("ip", "-n", space, "link", "set", name.decode("utf-8", "surrogateescape"), "up")
    raw = name.decode("utf-8", "surrogateescape")
    # A backslash of the name itself is given as it is shown: before xe9 it means a byte.
    given = [shown, shown[:2] + "*"] + ([] if b"\\" in name else [raw])
    for option in given:
        daemon = Standalone(lab, space, "--interface", option)
        assert shown in [interface["name"] for interface in daemon.status()["interfaces"]], (option, daemon.process.text())
        before = daemon.packets()
        lab.nodes[0].run("ping", "-c", "2", "-i", "0.2", "-W", "1", "10.90.0.2", check=False)
        wait_for(lambda: daemon.packets() > before, "packets of the interface")
        page = daemon.client("capture", "--status").stdout
        assert shown in page and "\x1b" not in page and "\u202e" not in page
        snapshot = daemon.snapshot("s")
        assert [i["name"] for n in snapshot["nodes"] for i in n["interfaces"]].count(shown) == 1, snapshot
        counts = []
        for chosen in ([], *(["--interface", one] for one in given)):
            file = daemon.export("s", *chosen)
            names = set(run("tshark", "-r", file, "-T", "fields", "-e", "frame.interface_name").stdout.split("\n")) - {""}
            counts.append(len(run("tshark", "-r", file).stdout.splitlines()))
            assert {one.replace("\\\\", "\\") for one in names} == {shown}, (names, shown)  # tshark escapes backslashes
        assert counts[0] > 0 and len(set(counts)) == 1, counts
        assert daemon.client("snapshot", "flows", "s", "-o", "json", check=False).returncode in (0, 3)
        daemon.client("snapshot", "delete", "s", "--yes")
        daemon.stop()
