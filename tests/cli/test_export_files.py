"""The files that an export makes: formats, lengths, parts, and whose they are. The oracles are editcap, mergecap and capinfos."""
import os
import re
import shutil
import stat
import struct
import subprocess

import pytest

from conftest import BINARY

TIME = 1_772_366_400
PACKETS = 400


def frame(number):
    payload = bytes((number + i) % 256 for i in range(20 + number * 37 % 1400))
    udp = struct.pack(">HHHH", 1000 + number % 5, 53, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02") + udp
    return bytes(12) + b"\x08\x00" + ip


@pytest.fixture
def archive(client, tmp_path):
    records = b""
    for number in range(PACKETS):
        data = frame(number)
        records += struct.pack("<IIII", TIME + number // 100, number % 100 * 9_999_991 + 123, len(data), len(data)) + data
    (tmp_path / "in.pcap").write_bytes(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1) + records)
    done = client("snapshot", "import", "in.pcap", "--name", "x", "-o", "x.tar.zst")
    assert done.returncode == 0, done
    return "./x.tar.zst"


def tool(*words):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def tshark(path):
    return tool("tshark", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len", "-e", "udp.srcport", "-e", "ip.id").splitlines()


def export(client, archive, output, *words):
    done = client("snapshot", "pcap", archive, "-o", output, *words)
    assert done.returncode == 0, done
    return done


def test_microseconds_on_request(client, archive, tmp_path):
    export(client, archive, "us.pcap", "--format", "pcap-us")
    export(client, archive, "ns.pcap", "--format", "pcap")
    us, ns = (tmp_path / "us.pcap").read_bytes(), (tmp_path / "ns.pcap").read_bytes()
    assert us[:4] == bytes.fromhex("d4c3b2a1") and ns[:4] == bytes.fromhex("4d3cb2a1")
    tool("editcap", "-F", "pcap", tmp_path / "ns.pcap", tmp_path / "editcap.pcap")
    assert us[24:] == (tmp_path / "editcap.pcap").read_bytes()[24:]


@pytest.mark.parametrize("format", ["pcapng", "pcap", "pcap-us"])
@pytest.mark.parametrize("snaplen", [1, 14, 60, 61, 63, 700, 65535])
def test_packets_are_cut_on_request(client, archive, tmp_path, format, snaplen):
    export(client, archive, "cut.cap", "--format", format, "--snaplen", snaplen, "--filter", "udp port 1003")
    export(client, archive, "whole.cap", "--format", format, "--filter", "udp port 1003")
    tool("editcap", "-s", snaplen, tmp_path / "whole.cap", tmp_path / "editcap.cap")
    cut = tshark(tmp_path / "cut.cap")
    assert len(cut) == PACKETS / 5 and cut == tshark(tmp_path / "editcap.cap")
    assert all(int(line.split("\t")[1]) <= snaplen for line in cut)
    # A pcap file says it in its header, a pcapng file of each interface.
    told = re.findall(r"(?:Capture length =|file hdr:) (\d+)", tool("capinfos", tmp_path / "cut.cap"))
    assert told and all(int(one) == snaplen for one in told) or snaplen == 65535, told


def test_a_snaplen_of_0_is_whole_packets(client, archive, tmp_path):
    export(client, archive, "a.pcapng", "--snaplen", "0")
    export(client, archive, "b.pcapng")
    assert (tmp_path / "a.pcapng").read_bytes() == (tmp_path / "b.pcapng").read_bytes()


def test_copies_are_found_before_packets_are_cut(client, archive, tmp_path):
    export(client, archive, "whole.pcapng", "--dedup")
    export(client, archive, "cut.pcapng", "--dedup", "--snaplen", "20")
    assert len(tshark(tmp_path / "cut.pcapng")) == len(tshark(tmp_path / "whole.pcapng"))


@pytest.mark.parametrize("format", ["pcapng", "pcap", "pcap-us"])
@pytest.mark.parametrize("size", ["100KiB", "20000"])
def test_an_export_is_split_on_request(client, archive, tmp_path, format, size):
    limit = {"100KiB": 100 << 10, "20000": 20000}[size]
    done = export(client, archive, "part.cap", "--format", format, "--split-size", size)
    export(client, archive, "whole.cap", "--format", format)
    parts = sorted(tmp_path.glob("part_*.cap"))
    assert len(parts) > 1 and parts[0].name == "part_00001.cap" and not (tmp_path / "part.cap").exists()
    assert f"part_{len(parts):05}.cap" in done.stderr
    for part in parts[:-1]:
        assert part.stat().st_size <= limit
    tool("mergecap", "-a", "-w", tmp_path / "merged.cap", *parts)
    assert tshark(tmp_path / "merged.cap") == tshark(tmp_path / "whole.cap")


def test_a_packet_larger_than_a_part_has_one_of_its_own(client, archive, tmp_path):
    export(client, archive, "part.pcap", "--format", "pcap", "--split-size", "1", "--filter", "udp port 1003")
    parts = sorted(tmp_path.glob("part_*.pcap"))
    assert len(parts) > 1 and [len(tshark(part)) for part in parts[:5]] == [1] * len(parts[:5])


def test_an_export_is_its_owners_alone(client, archive, tmp_path):
    def mode(name):
        return stat.S_IMODE((tmp_path / name).stat().st_mode)
    old = os.umask(0)
    try:
        export(client, archive, "new.pcapng")
        export(client, archive, "part.pcapng", "--split-size", "100KiB")
        (tmp_path / "kept.pcapng").write_text("old")
        (tmp_path / "kept.pcapng").chmod(0o640)
        export(client, archive, "kept.pcapng")
    finally:
        os.umask(old)
    assert mode("new.pcapng") == 0o600 and mode("part_00001.pcapng") == 0o600 and mode("kept.pcapng") == 0o640
    assert mode("x.tar.zst") == 0o400


def test_an_existing_file_keeps_its_owner(client, archive, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root has files of others")
    path = tmp_path / "theirs.pcapng"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    path.chmod(0o600)
    export(client, archive, "theirs.pcapng")
    assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (12345, 23456, 0o600)
    assert len(tshark(path)) == PACKETS


def test_special_files_are_written_to(client, archive, tmp_path):
    export(client, archive, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["cat", tmp_path / "fifo"], stdout=subprocess.PIPE) as reader:
        export(client, archive, "fifo")
        data = reader.stdout.read()
    export(client, archive, "file.pcapng")
    assert data == (tmp_path / "file.pcapng").read_bytes()
    (tmp_path / "link").symlink_to("not-there-yet.pcapng")
    export(client, archive, "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "not-there-yet.pcapng").read_bytes() == data
    with open(tmp_path / "by-shell.pcapng", "wb") as out:
        done = subprocess.run([BINARY, "snapshot", "pcap", archive, "-o", "/dev/stdout"],
                              cwd=tmp_path, env=client.environment, stdout=out, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0 and os.fstat(out.fileno()).st_size == len(data)
