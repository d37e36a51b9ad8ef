#!/usr/bin/env python3
"""Processes that open sockets and say so: one line of JSON on standard output for each, with who has which end.

    socket_actor.py serve PORT WORKERS            listens on [::]:PORT, and lets forked workers accept, echo and close
    socket_actor.py connect PORT PROCESSES COUNT ADDRESS…   forks processes that each connect COUNT times, to the addresses in turn
    socket_actor.py hold PORT ADDRESS             connects, waits for a line on standard input, writes, then hands the socket to a
                                                  fork, another one over a UNIX socket to a second process, and a third one
                                                  to another program, which all write
    socket_actor.py churn SECONDS COUNT           opens, uses and closes UDP sockets
    socket_actor.py flood SECONDS PORT            short processes with arguments that pack badly, and as many packets to [::1]:PORT
"""
import array
import base64
import json
import os
import signal
import socket
import sys
import time


def tell(**what):
    # One write a line: lines of several processes do not mix.
    os.write(1, (json.dumps(what) + "\n").encode())


def plain(address):
    return address[7:] if address.startswith("::ffff:") else address


def serve(port, workers):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
    for number in range(workers):
        if os.fork() == 0:
            tell(role="worker", pid=os.getpid())
            while True:
                connection, peer = listener.accept()
                tell(role="accept", pid=os.getpid(), peer=plain(peer[0]), peer_port=peer[1], port=port)
                with connection:
                    # Every third connection the server speaks first, every fifth it never reads.
                    if peer[1] % 3 == 0:
                        connection.sendall(b"welcome")
                    if peer[1] % 5 != 0:
                        connection.recv(64)
    tell(role="listen", pid=os.getpid(), port=port)
    signal.pause()


def connect(port, processes, count, addresses):
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            for i in range(count):
                address = addresses[(number + i) % len(addresses)]
                with socket.create_connection((address, port), timeout=30) as s:
                    own = s.getsockname()
                    tell(role="connect", pid=os.getpid(), address=own[0], own_port=own[1], peer=address, port=port)
                    s.sendall(b"hello")
                    try:
                        while s.recv(64):
                            pass
                    except ConnectionResetError:
                        pass
            os._exit(0)
        children.append(child)
        if len(children) >= 20:
            os.waitpid(children.pop(0), 0)
    for child in children:
        os.waitpid(child, 0)


def hold(port, address):
    inherited = socket.create_connection((address, port))
    passed = socket.create_connection((address, port))
    executed = socket.create_connection((address, port))
    executed.set_inheritable(True)
    tell(role="held", pid=os.getpid(), inherited=inherited.getsockname()[1], passed=passed.getsockname()[1],
         executed=executed.getsockname()[1])
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    stranger = os.fork()
    if stranger == 0:
        inherited.close()
        passed.close()
        executed.close()
        _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
        with socket.socket(fileno=array.array("i", ancillary[0][2])[0]) as s:
            s.sendall(b"passed")
            tell(role="passed", pid=os.getpid())
            sys.stdin.readline()
        os._exit(0)
    sys.stdin.readline()
    for s in (inherited, passed, executed):
        s.sendall(b"of the holder")
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [passed.fileno()]))])
    if os.fork() == 0:
        inherited.sendall(b"inherited")
        tell(role="inherited", pid=os.getpid())
        os._exit(0)
    program = os.fork()
    if program == 0:
        os.execv("/bin/sh", ["sh", "-c", f"printf executed >&{executed.fileno()}"])
    tell(role="executed", pid=program)
    for _ in range(3):
        os.wait()


def churn(seconds, count):
    end = time.monotonic() + seconds
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", ("127.0.0.1", 9))
        if time.monotonic() > end:
            break
    tell(role="churned")


def flood(seconds, port):
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        while time.monotonic() < end:
            argument = base64.b64encode(os.urandom(750))
            child = os.posix_spawn("/bin/true", ["true", argument], {})
            s.sendto(argument, ("::1", port))
            os.waitpid(child, 0)
    tell(role="flooded")


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "serve":
        serve(int(arguments[0]), int(arguments[1]))
    elif command == "connect":
        connect(int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3:])
    elif command == "hold":
        hold(int(arguments[0]), arguments[1])
    elif command == "flood":
        flood(float(arguments[0]), int(arguments[1]))
    else:
        churn(float(arguments[0]), int(arguments[1]))
