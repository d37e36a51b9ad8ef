"""What a capture file says comes back from import and export as tshark reads it from the file, or is named as left out."""
import json
import os
import re
import struct
import subprocess

import pytest

from capwrite import Pcapng, connection, pcap, udp

T0 = 1_700_000_000


@pytest.fixture
def client(binary, tmp_path):
    """Commands that need no hub; the exit status is for the test to judge."""
    def run(*command):
        environment = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.run([binary, *map(str, command)], capture_output=True, text=True, env=environment, timeout=300, cwd=tmp_path)
    return run


@pytest.fixture
def there_and_back(client, tmp_path):
    """Imports files and exports them: (the import's result, the export's path)."""
    def go(*files, options=(), export=()):
        (tmp_path / "x.tar.zst").unlink(missing_ok=True)
        imported = client("snapshot", "import", *files, "--name", "x", "-o", tmp_path / "x.tar.zst", *options)
        out = tmp_path / "out.pcapng"
        out.unlink(missing_ok=True)
        if imported.returncode in (0, 3):
            assert client("snapshot", "verify", "./x.tar.zst").returncode == 0
            exported = client("snapshot", "pcap", "./x.tar.zst", "-o", out, *export)
            assert exported.returncode in (0, 3), exported
        return imported, out
    return go


def fields(path, *names, display=""):
    command = ["tshark", "-n", "-r", path, *(["-Y", display] if display else []), "-T", "fields", *(a for n in names for a in ("-e", n))]
    return [line.split("\t") for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]


def manifest(tmp_path):
    return json.loads(subprocess.run(["tar", "--zstd", "-xOf", tmp_path / "x.tar.zst", "manifest.json"], capture_output=True, check=True).stdout)


def flows(client):
    result = client("snapshot", "flows", "./x.tar.zst", "-o", "json")
    assert result.returncode in (0, 3), result
    found = json.loads(result.stdout)
    return found["flows"] if isinstance(found, dict) else found


@pytest.mark.parametrize("resolution,ticks,offset", [
    (0, [T0, 0, T0 + 1], 0), (3, [T0 * 1000 + 1, T0 * 1000], 0), (6, [0, 1, T0 * 10**6], 0), (9, [T0 * 10**9 + 1, 5], 0),
    (12, [5 * 10**12 + 5000, 1000], 0), (0x80 | 10, [T0 * 1024 + 512, 0], 0), (0x80 | 20, [T0 << 20 | 1 << 19], 0), (6, [T0 * 10**6], 3600), (6, [T0 * 10**6], -3600)])
@pytest.mark.parametrize("order", "<>")
def test_stamps_that_can_be_kept(there_and_back, tmp_path, resolution, ticks, offset, order):
    file = Pcapng(order)
    file.section().interface((9, bytes([resolution])), (14, file.pack("q", offset)))
    for number, tick in enumerate(ticks):
        file.packet(tick, udp(number))
    imported, out = there_and_back(file.write(tmp_path / "stamps.pcapng"))
    assert imported.returncode == 0, imported
    assert not imported.stderr, imported
    stamps = lambda path: sorted(fields(path, "frame.time_epoch", "ip.dst"), key=lambda row: row[1])
    assert stamps(out) == stamps(tmp_path / "stamps.pcapng")


@pytest.mark.parametrize("resolution,ticks,offset,first", [
    (6, [T0 * 10**9, T0 * 10**9 + 1000], 0, "1700000000000.000000"),            # nanoseconds called microseconds
    (9, [2**64 - 1, 2**64 - 2], 0, "18446744073.709551615"),
    (6, [10**16, 10**16 + 5], 0, "10000000000.000000"),                         # beyond 2262
    (6, [1_000_000, 1_500_000], -3, "-2.000000"), (0, [0, 1], -2**40, "-1099511627776"), (0x80 | 4, [8, 9], -5, "-4.5")])
def test_stamps_that_cannot_be_kept_are_told(there_and_back, tmp_path, resolution, ticks, offset, first):
    file = Pcapng()
    file.section().interface((9, bytes([resolution])), (14, file.pack("q", offset)))
    for number, tick in enumerate(ticks):
        file.packet(tick, udp(number))
    imported, out = there_and_back(file.write(tmp_path / "stamps.pcapng"))
    assert imported.returncode == 3, imported
    assert f"the stamps of 2 packets cannot be kept, the first is {first} s" in imported.stderr.replace("\n", " "), imported
    rows = fields(out, "frame.time_epoch", "ip.dst", "frame.comment")
    assert [row[1] for row in rows] == ["10.0.0.0", "10.0.0.1"], "every packet is exported, in its order"
    assert rows[0][0] != rows[1][0], "two stamps became one"
    assert f"is {first} s since 1970" in rows[0][2]


def test_a_stamp_of_0_stays_and_packets_without_one_follow_the_one_before(there_and_back, tmp_path):
    (tmp_path / "zero.pcap").write_bytes(pcap([(T0, 0, udp(1)), (0, 0, udp(2)), (T0, 5, udp(3))]))
    imported, out = there_and_back(tmp_path / "zero.pcap")
    assert imported.returncode == 0 and not imported.stderr, imported
    assert fields(out, "ip.dst", "frame.time_epoch") == [["10.0.0.2", "0.000000000"], ["10.0.0.1", f"{T0}.000000000"], ["10.0.0.3", f"{T0}.000005000"]]
    file = Pcapng().section().interface().packet(T0 * 10**6, udp(1)).simple(udp(2)).write(tmp_path / "simple.pcapng")
    imported, out = there_and_back(file)
    assert imported.returncode == 0 and "1 packets have no stamp" in imported.stderr, imported
    assert [row[1] for row in fields(out, "ip.dst", "frame.time_epoch")] == [f"{T0}.000000000"] * 2


def test_classic_pcap_refuses_times_that_it_cannot_say(there_and_back, client, tmp_path):
    file = Pcapng().section().interface().packet(T0 * 10**6, udp(1)).packet(5_000_000_000 * 10**6, udp(2)).write(tmp_path / "late.pcapng")
    imported, _ = there_and_back(file)
    assert imported.returncode == 0, imported
    refused = client("snapshot", "pcap", "./x.tar.zst", "--format", "pcap", "-o", tmp_path / "late.pcap")
    assert refused.returncode == 2 and "2106" in refused.stderr, refused
    taken = client("snapshot", "pcap", "./x.tar.zst", "--format", "pcap", "--to", "2100-01-01T00:00:00Z", "-o", tmp_path / "late.pcap")
    assert taken.returncode in (0, 3), taken
    assert fields(tmp_path / "late.pcap", "ip.dst") == [["10.0.0.1"]]


def test_two_interfaces_of_one_name_are_two(there_and_back, client, tmp_path):
    """One connection that two interfaces called eth0 saw is one flow, and without copies seven packets."""
    file = Pcapng().section().interface((2, b"eth0"), (3, b"host a")).interface((2, b"eth0"), (3, b"host b"))
    for number, data in enumerate(connection()):
        for interface in (0, 1):
            file.packet(T0 * 10**6 + 1000 * number + 150 * interface, data, interface=interface)
    imported, out = there_and_back(file.write(tmp_path / "merged.pcapng"))
    assert imported.returncode == 0, imported
    rows = fields(out, "frame.interface_id", "frame.interface_name", "frame.interface_description")
    assert sorted(set(map(tuple, rows))) == [("0", "eth0", "node merged (host a)"), ("1", "eth0", "node merged (host b)")]
    [flow] = flows(client)
    assert flow["client"]["packets"] + flow["server"]["packets"] == 7 and flow["client"]["retransmits"] == 0, flow
    once = tmp_path / "once.pcapng"
    assert client("snapshot", "pcap", "./x.tar.zst", "--dedup", "-o", once).returncode == 0
    assert len(fields(once, "frame.number")) == 7
    # And once more from the export.
    again = tmp_path / "again.pcapng"
    out.rename(again)
    imported, out = there_and_back(again)
    assert imported.returncode == 0, imported
    rows = fields(out, "frame.interface_id", "frame.interface_name", "frame.interface_description")
    assert sorted(set(map(tuple, rows))) == [("0", "eth0", "node merged (host a)"), ("1", "eth0", "node merged (host b)")]


@pytest.mark.parametrize("order", "<>")
def test_losses_of_statistics_are_told_and_claimed_where_they_are_known(there_and_back, client, tmp_path, order):
    file = Pcapng(order)
    count = lambda n: file.pack("Q", n)
    file.section().interface((2, b"eth0")).interface((2, b"eth1"))
    for number in range(4):
        file.packet(T0 * 10**6 + number, udp(number), interface=number % 2)
    file.statistics((4, count(2000)), (5, count(1234)), (7, count(1234)))
    imported, out = there_and_back(file.write(tmp_path / "lossy.pcapng"))
    assert imported.returncode == 3, imported
    shown = client("snapshot", "show", "./x.tar.zst").stdout
    assert re.search(r"\b1[,'  ]?234\+", shown) and "lost by the recorder" in shown, shown
    claims = {}
    for line in subprocess.run(["tshark", "-r", out, "-q", "-z", "io,stat,0"], capture_output=True, text=True).stdout.splitlines():
        claims[line] = True
    data, at, dropped = out.read_bytes(), 0, {}
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 5:
            interface, options = struct.unpack_from("<I", data, at + 8)[0], at + 20
            while True:
                code, length = struct.unpack_from("<HH", data, options)
                if code == 0:
                    break
                if code == 5:
                    dropped[interface] = struct.unpack_from("<Q", data, options + 4)[0]
                options += 4 + (length + 3) // 4 * 4
        at += size
    assert dropped == {0: 1234}, "eth0 lost 1,234, and of eth1 nothing is known"
    # Of a classic pcap nothing is known either.
    (tmp_path / "plain.pcap").write_bytes(pcap([(T0, 0, udp(1))]))
    imported, out = there_and_back(tmp_path / "plain.pcap")
    assert imported.returncode == 0, imported
    node = [line for line in client("snapshot", "show", "./x.tar.zst").stdout.splitlines() if line.startswith("plain")]
    assert node and " -" in node[0], node
    assert "isb_ifdrop" not in subprocess.run(["capinfos", out], capture_output=True, text=True).stdout


def test_a_file_that_cannot_be_read_does_not_stop_the_others(there_and_back, client, tmp_path):
    whole = pcap([(T0, n, udp(n)) for n in range(5)])
    (tmp_path / "good.pcap").write_bytes(whole)
    bad = {"empty.pcap": b"", "first.pcap": whole[:50], "text.pcap": b"no capture", "header.pcapng": Pcapng().section().bytes[:20]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        for files in ((tmp_path / "good.pcap", tmp_path / name), (tmp_path / name, tmp_path / "good.pcap")):
            imported, out = there_and_back(*files)
            assert imported.returncode == 3 and name in imported.stderr, imported
            assert len(fields(out, "frame.number")) == 5
        assert there_and_back(tmp_path / name)[0].returncode == 1
    assert there_and_back(tmp_path / "good.pcap", tmp_path / "absent.pcap")[0].returncode == 4


@pytest.mark.parametrize("names", [
    ["ring_00001.pcap", "ring_00002.pcap"], ["ring_00001_20260301120000.pcap", "ring_00002_20260301120100.pcap"],
    ["ring_20260301120000_00001.pcap", "ring_20260301120100_00002.pcap"], ["ring.pcap", "ring.pcap1"], ["ring.pcap00", "ring.pcap01"],
    ["ring-2026-03-01T12:00:00.pcap", "ring-2026-03-01T12:01:00.pcap"], ["ring-1772366400.pcap", "ring-1772366460.pcap"]])
def test_files_of_a_ring_are_one_node(there_and_back, client, tmp_path, names):
    packets = [(T0, n, data) for n, data in enumerate(connection())]
    (tmp_path / names[0]).write_bytes(pcap(packets[:4]))
    (tmp_path / names[1]).write_bytes(pcap(packets[4:]))
    imported, out = there_and_back(*(tmp_path / n for n in names))
    assert imported.returncode == 0 and "1 node" in imported.stdout, imported
    assert [(n["name"], len(n["interfaces"])) for n in manifest(tmp_path)["nodes"]] == [("ring", 1)]
    [flow] = flows(client)
    assert flow["client"]["packets"] + flow["server"]["packets"] == 7, flow
    imported, _ = there_and_back(*(tmp_path / n for n in reversed(names)), options=["--node", "web-1"])
    assert [n["name"] for n in manifest(tmp_path)["nodes"]] == ["web-1"]
    [flow] = flows(client)
    assert flow["client"]["packets"] + flow["server"]["packets"] == 7, flow


def test_a_folder_of_very_many_files(client, there_and_back, tmp_path):
    """More files than may be open, as one ring and as a node each."""
    for name in ("ring_{:05d}.pcap", "host-{}.pcap"):
        folder = tmp_path / name[:4]
        folder.mkdir()
        for number in range(1100):
            (folder / name.format(number)).write_bytes(pcap([(T0, number, udp(number))]))
    (tmp_path / "ring" / "notes.txt").write_text("no capture")
    imported, out = there_and_back(tmp_path / "ring")
    assert imported.returncode == 0 and "notes.txt is not a capture" in imported.stderr, imported
    assert [(n["name"], n["packets"]) for n in manifest(tmp_path)["nodes"]] == [("ring", 1100)]
    assert len(fields(out, "frame.number")) == 1100
    imported, out = there_and_back(tmp_path / "host")
    assert imported.returncode == 0 and len(manifest(tmp_path)["nodes"]) == 1100, imported
    assert len(fields(out, "frame.number")) == 1100


def test_unnamed_interfaces_of_a_shared_node_are_called_after_their_files(there_and_back, tmp_path):
    (tmp_path / "eth0.pcap").write_bytes(pcap([(T0, 0, udp(1))]))
    (tmp_path / "eth1.pcap").write_bytes(pcap([(T0, 1, udp(2))]))
    imported, out = there_and_back(tmp_path / "eth0.pcap", tmp_path / "eth1.pcap", options=["--node", "web-1"])
    assert imported.returncode == 0, imported
    assert fields(out, "frame.interface_name", "frame.interface_description") == [["eth0", "node web-1"], ["eth1", "node web-1"]]


@pytest.mark.parametrize("order", "<>")
def test_options_of_packets_and_interfaces_are_kept(there_and_back, tmp_path, order):
    file = Pcapng(order)
    file.section((2, b"x86"), (4, b"xdpdump"))
    file.interface((2, b"eth0"), (3, b"prog entry"), (8, file.pack("Q", 10**10)), (11, b"\0tcp port 80"), (12, b"Linux 6"), (15, b"ixgbe"), (1, b"an interface comment"))
    file.packet(T0 * 10**6, udp(1), (2, file.pack("I", 0x01000009)), (5, file.pack("Q", 77)), (6, file.pack("I", 3)),
                (7, b"\2" + file.pack("Q", 2)), (3, b"\2\1\2\3\4"), (1, b"a packet comment"), (8, file.pack("II", 4242, 4243)),
                (2988, file.pack("I", 32473) + b"custom"), (19372, file.pack("I", 32473) + b"not to be copied"))
    file.block(0xBAD, file.pack("I", 32473) + b"data").block(9, b"__REALTIME_TIMESTAMP=1\nMESSAGE=hello\n").block(4, file.pack("HH", 0, 0))
    source = file.write(tmp_path / "options.pcapng")
    imported, out = there_and_back(source)
    assert imported.returncode == 0, imported
    for word in ("1 custom options that are not to be copied", "1 custom blocks", "1 systemd journal entries", "1 name resolution blocks"):
        assert word in imported.stderr, imported
    names = ["frame.time_epoch", "frame.interface_queue", "frame.packet_id", "frame.verdict", "frame.comment", "frame.packet_flags", "frame.packet_flags_direction"]
    known = subprocess.run(["tshark", "-G", "fields"], capture_output=True, text=True).stdout
    names = [n for n in names if f"\t{n}\t" in known]
    assert fields(out, *names) == fields(source, *names, display="frame")[:1]
    told = subprocess.run(["capinfos", out], capture_output=True, text=True).stdout
    for word in ("eth0", "node options (prog entry)", "tcp port 80", "ixgbe"):
        assert word in told, (word, told)
    option = lambda code, value: struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
    data = out.read_bytes()
    for code, value in ((8, struct.pack("<Q", 10**10)), (5, struct.pack("<Q", 77)), (6, struct.pack("<I", 3)), (7, b"\2" + struct.pack("<Q", 2)), (3, b"\2\1\2\3\4"),
                        (8, struct.pack("<II", 4242, 4243)), (2988, struct.pack("<I", 32473) + b"custom"), (2, struct.pack("<I", 0x01000009))):
        assert option(code, value) in data, (code, value)
    assert b"not to be copied" not in data and b"was captured by: x86; xdpdump" in data


def test_processes_of_an_export_come_back(there_and_back, tmp_path):
    import capfile
    file = Pcapng().section().interface((2, b"eth0"), (3, b"node web-1"))
    names = ["nginx", "curl", "a longer name"]
    for number, name in enumerate(names):
        file.block(0x80000001, file.pack("I", 100 + number) + file.options([(2, name.encode())]))
    for number in range(3000):
        who = number % 4
        options = [(8, file.pack("II", 100 + who, 7)), (0x8001, file.pack("I", who))] if who < 3 else []
        file.packet(T0 * 10**6 + number, udp(number), *options)
    source = file.write(tmp_path / "processes.pcapng")
    imported, out = there_and_back(source)
    assert imported.returncode == 0 and not imported.stderr, imported
    expected = [(100 + n % 4, names[n % 4]) if n % 4 < 3 else (None, None) for n in range(3000)]
    assert [(p.pid, p.process) for p in capfile.read(out)[1]] == expected
    once_more = tmp_path / "again.pcapng"
    out.rename(once_more)
    _, out = there_and_back(once_more)
    assert [(p.pid, p.process) for p in capfile.read(out)[1]] == expected


@pytest.mark.parametrize("link_type,header", [
    (0, lambda o: struct.pack(o + "I", 2)),
    (189, lambda o: struct.pack(o + "QBBBBHBBqiiII", 0xFFFF880012345678, 83, 2, 0x81, 5, 3, 45, 60, T0, 5, -115, 64, 0) + bytes(8)),
    (220, lambda o: struct.pack(o + "QBBBBHBBqiiII", 0xFFFF880012345678, 83, 2, 0x81, 5, 3, 45, 60, T0, 5, -115, 64, 0) + bytes(8) + struct.pack(o + "iiII", 1, 2, 3, 0)),
    (239, lambda o: struct.pack(">BBH", 2, 0, 5) + struct.pack(o + "HH", 11, 10) + b"prefix\0\0"),
    (117, lambda o: struct.pack(">BBBB16s16sII", 61, 2, 0, 0, b"em0", b"", 1, 2) + struct.pack(o + "IiIi", 1000, 4711, 0, 12) + b"\1\0\0\0"),
    (113, lambda o: struct.pack(">HHH8sH", 0, 280, 0, b"", 0x0C) + struct.pack(o + "I", 0x123) + b"\4\0\0\0data"),
    (276, lambda o: struct.pack(">HHIHBB8s", 0x0C, 0, 3, 280, 0, 0, b"") + struct.pack(o + "I", 0x123) + b"\4\0\0\0data")])
def test_pseudo_headers_of_the_other_byte_order(there_and_back, tmp_path, link_type, header):
    """What tcpdump shows of the export is what it shows of the file, in which it swaps them itself."""
    dissected = lambda path: subprocess.run(["tshark", "-n", "-r", path, "-T", "text", "-O", "usb,nflog,pflog,sll,can,null"], capture_output=True, text=True).stdout
    seen = []
    for order in "<>":
        file = tmp_path / ("little.pcap" if order == "<" else "big.pcap")
        file.write_bytes(pcap([(T0, 5, header(order))], link_type, order))
        imported, out = there_and_back(file, options=["--node", "n"])
        assert imported.returncode == 0, imported
        plain = tmp_path / "out.pcap"
        subprocess.run(["editcap", "-F", "nsecpcap", out, plain], check=True)
        seen.append(plain.read_bytes()[40:])
        keep = lambda text: [line for line in text.splitlines() if "nterface" not in line]
        assert keep(dissected(plain)) == keep(dissected(file)), (link_type, order)
    assert seen[0] == seen[1] == header("<")


def test_zeros_behind_gzip_data(there_and_back, tmp_path):
    import gzip
    packed = gzip.compress(pcap([(T0, n, udp(n)) for n in range(50)]))
    for name, behind in (("zeros", bytes(1000)), ("garbage", b"garbage"), ("none", b"")):
        file = tmp_path / f"{name}.pcap.gz"
        file.write_bytes(packed + behind)
        good = subprocess.run(["gzip", "-t", file], capture_output=True).returncode == 0
        imported, out = there_and_back(file)
        assert imported.returncode == (0 if good else 3), imported
        assert len(fields(out, "frame.number")) == 50


@pytest.mark.timeout(120)
def test_the_most_interfaces_that_a_file_may_have(there_and_back, tmp_path):
    file = Pcapng().section()
    blocks = [file.bytes]
    count = 65536
    for number in range(count):
        one = Pcapng()
        blocks.append(one.interface((2, b"veth%d" % number)).bytes)
    for number in range(0, count, 16):
        one = Pcapng()
        blocks.append(one.packet(T0 * 10**6 + number, udp(number), interface=number).bytes)
    (tmp_path / "many.pcapng").write_bytes(b"".join(blocks))
    imported, out = there_and_back(tmp_path / "many.pcapng")
    assert imported.returncode == 0, imported
    import capfile
    interfaces, packets = capfile.read(out)
    assert [interfaces[p.interface].name for p in packets] == [f"veth{n}" for n in range(0, count, 16)]
