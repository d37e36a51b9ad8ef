"""Captures made elsewhere become snapshots, and copies of a packet seen at several places become one."""
import collections
import gzip
import json
import random
import subprocess
import time

import pytest

import capfile
from lab import run
from oracle import Oracle, compare, judge_capture_file, per_interface, serve_everywhere, start_senders, wait_senders
from test_snapshot import rfc3339


@pytest.fixture
def two_captures(make_lab):
    """Two nodes' traffic as tcpdump and dumpcap write it."""
    lab = make_lab(nodes=2, hub=True)
    serve_everywhere(lab)
    oracles = [Oracle(n, "eth0") for n in lab.nodes]
    wait_senders(start_senders(lab, 21, seconds=3, pps=800))
    for o in oracles:
        o.stop()
    return lab, oracles


@pytest.mark.timeout(120)
def test_import_pcap_pcapng_gz_zst(two_captures, tmp_path):
    lab, (first, second) = two_captures
    files = {"web-1.pcap": first.file.read_bytes()}
    pcapng = tmp_path / "db-1.pcapng"
    run("editcap", "-F", "pcapng", second.file, pcapng)
    (tmp_path / "web-1.pcap").write_bytes(files["web-1.pcap"])
    (tmp_path / "web-2.pcap.gz").write_bytes(gzip.compress(files["web-1.pcap"]))
    run("zstd", "-q", pcapng, "-o", tmp_path / "db-2.pcapng.zst")
    names = ["web-1.pcap", "db-1.pcapng", "web-2.pcap.gz", "db-2.pcapng.zst"]
    lab.client("snapshot", "import", *[tmp_path / n for n in names], "--name", "imported")
    lab.client("snapshot", "verify", "imported")
    snapshot = lab.snapshot("imported")
    assert sorted(n["name"] for n in snapshot["nodes"]) == ["db-1", "db-2", "web-1", "web-2"]
    out = tmp_path / "all.pcapng"
    lab.client("snapshot", "pcap", "imported", "-o", out)
    judge_capture_file(out)
    interfaces, packets = capfile.read(out)
    by_node = collections.defaultdict(list)
    for p in packets:
        by_node[interfaces[p.interface].description.split()[1]].append((p.time_ns, p.data, p.length))
    for node, oracle in (("web-1", first), ("web-2", first), ("db-1", second), ("db-2", second)):
        compare(by_node[node], oracle.packets, 0, 1 << 62, node)
    # What tshark counts in the source it counts in the export.
    count = lambda f: len(run("tshark", "-n", "-r", f, "-Y", "tcp").stdout.splitlines())
    one = tmp_path / "one.pcapng"
    lab.client("snapshot", "pcap", "imported", "--node", "web-1", "-o", one)
    assert count(one) == count(first.file)
    (tmp_path / "junk.pcap").write_bytes(b"this is not a capture")
    result = lab.client("snapshot", "import", tmp_path / "junk.pcap", "--name", "bad", check=False)
    assert result.returncode == 1 and "junk.pcap" in result.stderr, result
    assert lab.client("snapshot", "show", "bad", check=False).returncode == 4
    # A file that ends inside a packet gives what is before it, and says so.
    (tmp_path / "cut.pcap").write_bytes(files["web-1.pcap"][:-7])
    result = lab.client("snapshot", "import", tmp_path / "cut.pcap", "--name", "cut", check=False)
    assert result.returncode == 3 and "cut.pcap" in result.stderr, result
    assert lab.snapshot("cut")["packets"] == len(first.packets) - 1


@pytest.mark.timeout(120)
def test_dedup_keeps_every_packet_once(make_lab, tmp_path):
    """n1 sends to n2; both record. UDP datagrams of unique content must be there once; TCP byte for byte; repeats survive."""
    lab = make_lab(nodes=2)
    n1, n2 = lab.nodes
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    start = time.time_ns()
    # The same datagram three times in a row is three packets, not copies.
    n1.run("python3", "-c", "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
           "for i in range(200):\n for _ in range(3): s.sendto(b'same %04d' % i, ('10.77.0.12', 9999))\n time.sleep(0.005)")
    wait_senders(start_senders(lab, 5, seconds=3, pps=600))
    lab.client("snapshot", "create", "d", "--from", rfc3339(start), "--to", rfc3339(time.time_ns()), "--wait")
    whole, once = tmp_path / "whole.pcapng", tmp_path / "once.pcapng"
    lab.client("snapshot", "pcap", "d", "-o", whole)
    result = lab.client("snapshot", "pcap", "d", "--dedup", "-o", once)
    judge_capture_file(once)
    assert "duplicate" in result.stderr.lower(), result.stderr
    udp_fields = ["-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.payload"]
    udp = lambda f: collections.Counter(run("tshark", "-n", "-r", f, "-Y", "udp and not icmp and not ip.flags.mf == 1 and ip.frag_offset == 0", *udp_fields).stdout.splitlines())
    all_udp, once_udp = udp(whole), udp(once)
    assert set(all_udp) == set(once_udp)
    for key, n in all_udp.items():
        assert once_udp[key] == (n + 1) // 2, (key, n, once_udp[key])
    same = [n for key, n in once_udp.items() if key.startswith("10.77.0.11\t10.77.0.12") and bytes.fromhex(key.split("\t")[2]).startswith(b"same ")]
    assert same == [3] * 200
    # TCP: of each segment as many as the side that saw it more often has, and so every byte of every stream. A segment that was lost
    # between the two is on one side only.
    streams = lambda f: sorted(run("tshark", "-n", "-r", f, "-q", "-z", "conv,tcp").stdout.splitlines())
    assert len(streams(whole)) == len(streams(once))
    fields = ["-T", "fields", *(a for f in ("ip.src", "ipv6.src", "ip.id", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags",
                                            "tcp.len", "tcp.options") for a in ("-e", f))]
    segments = lambda f: collections.Counter(run("tshark", "-n", "-r", f, "-Y", "tcp.len > 0", *fields).stdout.splitlines())
    sides = []
    for node in ("n1", "n2"):
        side = tmp_path / f"{node}.pcapng"
        lab.client("snapshot", "pcap", "d", "--node", node, "-o", side)
        sides.append(segments(side))
    expected, kept = sides[0] | sides[1], segments(once)  # the larger count of each
    assert sum(expected.values()) > 500
    assert kept == expected, (list((kept - expected).items())[:5], list((expected - kept).items())[:5])
