"""Reads pcap and pcapng files for comparison: an independent reader, so that a mistake of ours is not mirrored."""
import collections
import struct

Packet = collections.namedtuple("Packet", "time_ns interface data length comment pid process", defaults=(None, None))
Interface = collections.namedtuple("Interface", "name description link_type")


def read(path_or_bytes):
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else open(path_or_bytes, "rb").read()
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return read_pcapng(data)
    return read_pcap(data)


def read_pcap(data):
    magic = data[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    scale = 1 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    packets, at = [], 24
    header = struct.Struct(order + "IIII")
    while at + 16 <= len(data):
        sec, fraction, captured, length = header.unpack_from(data, at)
        at += 16
        assert at + captured <= len(data), "the file ends inside a packet"
        packets.append(Packet(sec * 10**9 + fraction * scale, 0, data[at:at + captured], length, None))
        at += captured
    assert at == len(data), "bytes behind the last packet"
    return [Interface("", "", link_type)], packets


def _options(data, at, end):
    while at + 4 <= end:
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4:at + 4 + length]
        at += 4 + (length + 3) // 4 * 4


def _process(options, blocks):
    """(pid, name) by the options of a packet and the process blocks before it."""
    if 8 not in options:
        assert 0x8001 not in options, "a process block without a process"
        return None, None
    pid = struct.unpack_from("<I", options[8])[0]
    block = blocks[struct.unpack_from("<I", options[0x8001])[0]]
    assert block[0] == pid, f"process {pid} refers to the block of process {block[0]}"
    return pid, block[1]


def read_pcapng(data):
    interfaces, packets, processes, base, at = [], [], [], 0, 0
    while at < len(data):
        kind, total = struct.unpack_from("<II", data, at)
        assert total >= 12 and total % 4 == 0 and at + total <= len(data), f"bad block length {total} at {at}"
        assert struct.unpack_from("<I", data, at + total - 4)[0] == total, f"block lengths differ at {at}"
        end = at + total - 4
        if kind == 0x0A0D0D0A:
            assert data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a", "a section of another byte order"
            base, processes = len(interfaces), []
        elif kind == 1:
            options = dict(_options(data, at + 16, end))
            assert options.get(9) == b"\x09", "not in nanoseconds"
            interfaces.append(Interface(options.get(2, b"").decode(), options.get(3, b"").decode(), struct.unpack_from("<H", data, at + 8)[0]))
        elif kind == 6:
            interface, high, low, captured, length = struct.unpack_from("<IIIII", data, at + 8)
            start = at + 28
            options = dict(_options(data, start + (captured + 3) // 4 * 4, end))
            packets.append(Packet(high << 32 | low, base + interface, data[start:start + captured], length, options.get(1, b"").decode() or None, *_process(options, processes)))
        elif kind == 0x80000001:
            processes.append((struct.unpack_from("<I", data, at + 8)[0], dict(_options(data, at + 12, end)).get(2, b"").decode()))
        at += total
    return interfaces, packets
