"""scripts/compare-captures over captures that the test writes: what agrees, what a rule explains, and what it must find."""
import gzip
import pathlib
import stat
import struct
import subprocess
import sys

import pytest

from capwrite import Pcapng, connection, pcap, udp

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "compare-captures"
T0 = 1_700_000_000


def compare(binary, *arguments):
    return subprocess.run([sys.executable, SCRIPT, "--lookback", binary, *map(str, arguments)], capture_output=True, text=True, timeout=600)


@pytest.fixture
def captures(tmp_path):
    folder = tmp_path / "captures"
    folder.mkdir()
    plain = pcap([(T0, n * 1000, data) for n, data in enumerate(connection())])
    (folder / "plain.pcap").write_bytes(plain)
    (folder / "big.pcap").write_bytes(pcap([(T0, n, udp(n)) for n in range(20)], order=">"))
    (folder / "nanoseconds.pcap.gz").write_bytes(gzip.compress(pcap([(T0, n, udp(n)) for n in range(20)], magic=0xA1B23C4D)))
    (folder / "cut.pcap").write_bytes(plain[:-5])
    (folder / "raw.pcap").write_bytes(pcap([(T0, n, udp(n)[14:]) for n in range(5)], link_type=101))
    (folder / "usb.pcap").write_bytes(pcap([(T0, 0, struct.pack(">QBBBBHBBqiiII", 1, 83, 2, 0x81, 5, 3, 45, 60, T0, 5, -115, 64, 0) + bytes(8))], 189, ">"))
    (folder / "none.pcap").write_bytes(pcap([]))
    (folder / "README").write_text("no capture")
    file = Pcapng(">").section().interface((2, b"eth0")).interface((2, b"eth1"), (9, b"\x0c"), link_type=101)
    file.packet(T0 * 10**6 + 5, udp(1)).packet(5 * 10**12 + 1, udp(2)[14:], interface=1).packet(T0 * 10**6, udp(3)).simple(udp(4))
    file.write(folder / "odd.pcapng")
    return folder


def test_captures_agree_or_a_rule_says_why_not(binary, captures):
    done = compare(binary, captures)
    assert done.returncode == 0, done
    assert "8 captures" in done.stdout and "0 unexplained differences" in done.stdout, done
    for rule in ("the import refuses it as well", "files of one link type only", "in the order of stamps"):
        assert rule in done.stdout, done


@pytest.mark.parametrize("fault,found", [
    ('case "$2" in pcap) set -- $(printf "%s\\n" "$@" | sed "/^--filter$/,+1d");; esac', "filter 'udp': tcpdump"),
    ('case "$2" in pcap) set -- "$@" --filter "udp and not dst host 10.0.0.3";; esac', "packets, 19 in the export")])
def test_a_difference_is_named(binary, captures, tmp_path, fault, found):
    wrong = tmp_path / "wrong"
    wrong.write_text(f"#!/bin/sh\n{fault}\nexec {binary} \"$@\"\n")
    wrong.chmod(wrong.stat().st_mode | stat.S_IXUSR)
    done = compare(wrong, "--filter", "udp", captures)
    assert done.returncode == 1 and found in done.stdout, done


def test_wrong_usage(binary, tmp_path):
    assert compare(binary, tmp_path / "absent").returncode == 2
    assert compare(tmp_path / "no-binary", tmp_path).returncode == 4
