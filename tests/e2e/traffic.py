#!/usr/bin/env python3
"""Random traffic between the nodes of a lab: UDP of all sizes (fragments too), TCP with large writes (super-packets), IPv4 and
IPv6, VLANs where they exist.

    traffic.py serve                       echo servers on every address, until killed
    traffic.py send SEED SECONDS PPS ADDRESS…   random packets and connections to the addresses
    traffic.py tagged SEED SECONDS PPS INTERFACE ADDRESS   broadcast frames with one or two VLAN tags: whoever receives them sees
                                                   the outer tag as metadata, as from a card that strips it
"""
import random
import socket
import socketserver
import struct
import sys
import threading
import time

TCP_PORTS = (8080, 6379)
UDP_PORTS = (53, 5300, 9999)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def serve():
    for port in TCP_PORTS:
        threading.Thread(target=Server(("::", port), Echo).serve_forever, daemon=True).start()
    sockets = []
    for port in UDP_PORTS:
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.bind(("::", port))
        sockets.append(s)
        threading.Thread(target=sink, args=(s,), daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


def sink(s):
    while True:
        data, peer = s.recvfrom(65536)
        if len(data) % 3 == 0:
            s.sendto(data[:200], peer)


def tcp_client(rng, address, end):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, rng.choice(TCP_PORTS)), timeout=5) as s:
                for _ in range(rng.randint(1, 6)):
                    message = rng.randbytes(rng.choice((1, 100, 1448, 9000, 60000)))
                    sender = threading.Thread(target=s.sendall, args=(message,))
                    sender.start()
                    left = len(message)
                    while left:
                        left -= len(s.recv(65536))
                    sender.join()
        except OSError as error:
            print(f"tcp to {address} ({family}): {error}", flush=True)
        time.sleep(rng.uniform(0.005, 0.05))


def send(seed, seconds, pps, addresses):
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    for address in addresses:
        threading.Thread(target=tcp_client, args=(random.Random(rng.random()), address, end), daemon=True).start()
    sockets = {family: socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)}
    payload = rng.randbytes(9000)
    sent = 0
    start = time.monotonic()
    while (now := time.monotonic()) < end:
        if sent > (now - start) * pps:
            time.sleep(0.001)
            continue
        for _ in range(16):
            address = rng.choice(addresses)
            size = rng.choice((0, 1, 18, 64, 200, 512, 1000, 1400, 1472, 1473, 4000)) + rng.randint(0, 7)
            at = rng.randrange(4000)
            s = sockets[socket.AF_INET6 if ":" in address else socket.AF_INET]
            try:
                s.sendto(payload[at:at + size], (address, rng.choice(UDP_PORTS)))
            except OSError as error:
                print(f"udp to {address}: {error}", flush=True)
            sent += 1
    print(f"sent {sent} datagrams", flush=True)


def tagged(seed, seconds, pps, interface, address):
    rng = random.Random(seed)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((interface, 0))
    source = s.getsockname()[4]
    end = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < end:
        payload = rng.randbytes(rng.randint(20, 1200))
        udp = struct.pack("!HHHH", rng.choice((53, 5353, 4000)), rng.choice((53, 80, 9999)), 8 + len(payload), 0) + payload
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), sent & 0xFFFF, 0, 64, 17, 0, socket.inet_aton(address), b"\x0a\x77\x00\xff")
        tags = rng.choice((b"\x81\x00\x00\x0a", b"\x81\x00\x60\x14", b"\x88\xa8\x00\x64\x81\x00\x00\x14", b"\x81\x00\x00\x0a\x81\x00\x00\x14"))
        s.send(b"\xff" * 6 + source + tags + b"\x08\x00" + ip + udp)
        sent += 1
        time.sleep(1 / pps)
    print(f"sent {sent} tagged frames", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    elif sys.argv[1] == "tagged":
        tagged(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5], sys.argv[6])
    else:
        send(int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
