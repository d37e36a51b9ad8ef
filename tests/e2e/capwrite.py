"""Writes pcap and pcapng files, and the packets in them, for tests of the import: independent of the product's writer."""
import socket
import struct


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ethernet(payload, ether_type=0x0800):
    return bytes.fromhex("020000000002020000000001") + struct.pack("!H", ether_type) + payload


def udp(number, payload=b"payload"):
    return ethernet(ipv4("10.0.0.1", f"10.0.{number >> 8 & 255}.{number & 255}", 17, struct.pack("!HHHH", 4000, 5353, 8 + len(payload), 0) + payload))


def tcp(from_client, sequence, acknowledged, flags, payload=b""):
    ends = ("10.0.0.1", "10.0.0.2") if from_client else ("10.0.0.2", "10.0.0.1")
    ports = (5000, 80) if from_client else (80, 5000)
    header = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 64240, 0, 0)
    pseudo = socket.inet_aton(ends[0]) + socket.inet_aton(ends[1]) + struct.pack("!BBH", 0, 6, len(header) + len(payload))
    header = header[:16] + struct.pack("!H", checksum(pseudo + header + payload)) + header[18:]
    return ethernet(ipv4(*ends, 6, header + payload))


def connection():
    """Seven packets of one HTTP exchange."""
    request, answer = b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"
    return [tcp(True, 1000, 0, 2), tcp(False, 9000, 1001, 0x12), tcp(True, 1001, 9001, 0x10), tcp(True, 1001, 9001, 0x18, request),
            tcp(False, 9001, 1001 + len(request), 0x18, answer), tcp(True, 1001 + len(request), 9001 + len(answer), 0x11),
            tcp(False, 9001 + len(answer), 1002 + len(request), 0x11)]


def pcap(packets, link_type=1, order="<", magic=0xA1B2C3D4):
    """`packets`: (seconds, fraction, bytes)."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)
    for seconds, fraction, data in packets:
        out += struct.pack(order + "IIII", seconds, fraction, len(data), len(data)) + data
    return out


class Pcapng:
    """One section after the other; every method adds a block."""

    def __init__(self, order="<"):
        self.order, self.bytes = order, b""

    def pack(self, layout, *values):
        return struct.pack(self.order + layout, *values)

    def block(self, kind, body):
        body += b"\0" * (-len(body) % 4)
        self.bytes += self.pack("II", kind, len(body) + 12) + body + self.pack("I", len(body) + 12)
        return self

    def options(self, options):
        out = b"".join(self.pack("HH", code, len(value)) + value + b"\0" * (-len(value) % 4) for code, value in options)
        return out + self.pack("HH", 0, 0) if options else b""

    def section(self, *options):
        return self.block(0x0A0D0D0A, self.pack("IHHq", 0x1A2B3C4D, 1, 0, -1) + self.options(options))

    def interface(self, *options, link_type=1):
        return self.block(1, self.pack("HHI", link_type, 0, 262144) + self.options(options))

    def packet(self, ticks, data, *options, interface=0):
        body = self.pack("IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)) + data + b"\0" * (-len(data) % 4)
        return self.block(6, body + self.options(options))

    def simple(self, data):
        return self.block(3, self.pack("I", len(data)) + data)

    def statistics(self, *options, interface=0):
        return self.block(5, self.pack("III", interface, 0, 0) + self.options(options))

    def write(self, path):
        path.write_bytes(self.bytes)
        return path
