"""Numbered frames at a steady rate: whoever knows the seed and the number knows every byte of a frame.

    numbered.py INTERFACE SEED COUNT PACKETS_PER_SECOND
"""
import random
import socket
import struct
import sys
import time

# Bytes on the wire; 12 frames of them have a mean of about 350.
SIZES = (64, 590, 64, 64, 1400, 64, 590, 64, 64, 590, 64, 590)
_NUMBER_AT = 14 + 20 + 8


def _checksum(header):
    total = sum(struct.unpack("!10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def templates(seed):
    """One frame for each place in SIZES, all but its number filled in."""
    rng = random.Random(seed)
    frames = []
    for size in SIZES:
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size - 14, seed & 0xFFFF, 0, 64, 17, 0, b"\x0a\x63\x00\x01", b"\x0a\x63\x00\x02")
        ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
        head = b"\x02\x00\x00\x00\x00\x02" + b"\x02\x00\x00\x00\x00\x01" + b"\x08\x00" + ip + struct.pack("!HHHH", 9, 9, size - 34, 0)
        frames.append(bytearray(head + b"\0" * 8 + rng.randbytes(size - len(head) - 8)))
    return frames


def frame(frames, number):
    one = frames[number % len(frames)]
    struct.pack_into("!Q", one, _NUMBER_AT, number)
    return one


def number_of(data):
    return struct.unpack_from("!Q", data, _NUMBER_AT)[0]


def main():
    interface, seed, count, rate = sys.argv[1], *map(int, sys.argv[2:5])
    frames = templates(seed)
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((interface, 0))
    start, number = time.monotonic(), 0
    while number < count:
        due = min(count, int((time.monotonic() - start) * rate) + 1)
        # After a pause of the machine the rest comes no faster than ten times the rate.
        due = min(due, number + rate // 100)
        while number < due:
            out.send(frame(frames, number))
            number += 1
        time.sleep(0.001)
    print(f"{count / (time.monotonic() - start):.0f}")


if __name__ == "__main__":
    main()
