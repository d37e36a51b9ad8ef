"""Processes and containers in the capture files themselves, held against what the processes say."""
import collections
import ipaddress
import json
import pathlib
import re
import subprocess
import sys
import time

import pytest

import capfile
from cgroups import TREES, cgroup_mounts, make_cgroup, remove_cgroups
from lab import Process, run, wait_for
from oracle import judge_capture_file
from test_os_events import ACTOR, PORT, actor_lines, start_server, start_sink, stop_server

PROCESSES, CONNECTIONS = 20, 10  # of each of ten containers: 200 processes, 2,000 connections

OWNER = re.compile(r"(from|to) \S+ \(pid (\d+)[^)]*\)(?: in container \S+ \(([^)]*)\))?")


def ends_of(packet):
    """((address, port), (address, port), flags, payload) of a TCP packet in Ethernet."""
    data = packet.data
    v6 = data[12:14] == b"\x86\xdd"
    ip, tcp = 14, 14 + (40 if v6 else (data[14] & 15) * 4)
    source, target = (data[ip + 8:ip + 24], data[ip + 24:ip + 40]) if v6 else (data[ip + 12:ip + 16], data[ip + 16:ip + 20])
    text = lambda address: str(ipaddress.ip_address(address))
    ports = int.from_bytes(data[tcp:tcp + 2], "big"), int.from_bytes(data[tcp + 2:tcp + 4], "big")
    # Short packets are padded up to Ethernet's least length.
    length = 14 + (40 + int.from_bytes(data[18:20], "big") if v6 else int.from_bytes(data[16:18], "big"))
    return (text(source), ports[0]), (text(target), ports[1]), data[tcp + 13], data[tcp + (data[tcp + 12] >> 4) * 4:length]


def export(lab, name, out, *arguments):
    lab.client("snapshot", "create", name, "--last", "2m", "--wait", check=False)
    done = lab.client("snapshot", "pcap", name, "-o", out, "--filter", f"tcp port {PORT}", *arguments, check=False)
    assert done.returncode in (0, 3), done.stderr
    return capfile.read(out)[1]


@pytest.mark.timeout(240)
def test_short_connections_of_containers(make_lab, tmp_path):
    mounts = list(cgroup_mounts().values())
    if not mounts:
        pytest.skip("no control groups are mounted here")
    lab = make_lab(nodes=2)
    node, other = lab.nodes
    node.start_capture(interface="eth0,lo")
    lab.wait_for_nodes(["n1"])
    server = start_server(node)
    made, clients = [], []
    try:
        for number, (path, container, _, pod) in enumerate([*TREES, (None, None, None, None)]):
            enter = ""
            if path:
                folder = make_cgroup(mounts[number % len(mounts)], path, made)
                enter = f"echo $$ > {folder}/cgroup.procs && "
            # Every third of them in another namespace, which has no loopback in common with the server.
            away = number % 3 == 2
            addresses = [node.address, node.address6] if away else ["127.0.0.1", "::1", node.address, node.address6]
            command = (f"{enter}exec nsenter --net=/run/netns/{(other if away else node).namespace} {sys.executable} {ACTOR} connect {PORT} "
                       f"{PROCESSES} {CONNECTIONS} {' '.join(addresses)}")
            client = Process(["sh", "-c", command], lab.directory / f"client{number}.log")
            lab.processes.append(client)
            clients.append((client, container, pod))
            assert client.popen.wait(60) == 0, client.text()
        time.sleep(0.2)
    finally:
        stop_server(server)
        remove_cgroups(made)

    # By the client's end and the server's address: who connected, in which container, and who accepted. An end may be used twice.
    truth = collections.defaultdict(set)
    told = 0
    for client, container, pod in clients:
        for line in actor_lines(client):
            if line["role"] == "connect":
                truth["from", line["address"], line["own_port"]].add((line["pid"], container and container[:12], pod))
                told += 1
    assert told == PROCESSES * CONNECTIONS * len(clients) == 2000
    assert len({pid for owners in truth.values() for pid, _, _ in owners}) == PROCESSES * len(clients) == 200
    for line in actor_lines(server):
        if line["role"] == "accept":
            truth["to", line["peer"], line["peer_port"]].add((line["pid"], None, None))

    out = tmp_path / "containers.pcapng"
    packets = export(lab, "containers", out)
    count, bad, flows = collections.Counter(), [], 0
    for packet in packets:
        source, target, flags, _ = ends_of(packet)
        if flags & 0x12 == 0x02:  # the first packet of a flow bears the comment
            flows += 1
            found = {m[1]: (int(m[2]), *described(m[3])) for m in OWNER.finditer(packet.comment or "")}
            for side in ("from", "to"):
                owners = truth[(side, *source)]
                verdict = "unknown" if side not in found else "right" if found[side] in owners else "wrong"
                count[verdict] += 1
                if verdict != "right":
                    bad.append((verdict, side, source, found.get(side), owners))
        # Every packet bears its sender, or else its receiver.
        pids = {pid for side in ("from", "to") for pid, _, _ in truth[(side, *(source if target[1] == PORT else target))]}
        count["packet right" if packet.pid in pids else "packet unknown" if packet.pid is None else "packet wrong"] += 1
    total = 2 * flows
    attributed = count["right"] / total
    print(f"{flows} flows: {attributed:.3%} of their ends attributed, {count['wrong']} wrongly; of {len(packets)} packets "
          f"{count['packet right'] / len(packets):.3%} attributed, {count['packet wrong']} wrongly")
    assert flows == 2000
    assert count["wrong"] == count["packet wrong"] == 0, bad[:5]
    assert attributed >= 0.999, bad[:5]
    assert count["packet right"] >= 0.999 * len(packets)
    judge_capture_file(out)
    # Wireshark reads the process blocks: here in its view of the file itself.
    blocks = run("tshark", "-n", "-X", "read_format:MIME Files Format", "-r", out, "-T", "fields", "-e", "pcapng.darwin.process_id").stdout
    assert {int(pid) for pid in re.split(r"[,\s]+", blocks) if pid} == {packet.pid for packet in packets if packet.pid is not None}
    # What the kernel left out, because a program was interrupted for itself, is told: as many as the kernel says.
    missed = kernel_misses(node.capture.popen.pid)
    print(f"the kernel left out {missed} calls")
    wait_for(lambda: node.status()["layers"]["os_events"]["missed"] >= missed, "status to tell the calls that were missed")
    assert node.status()["layers"]["os_events"]["missed"] <= kernel_misses(node.capture.popen.pid)


def kernel_misses(pid):
    """Calls left out of the BPF programs that a process holds."""
    total = 0
    for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = info.read_text()
        except FileNotFoundError:  # a connection that ended since the folder was listed; programs stay
            continue
        total += sum(int(n) for n in re.findall(r"^recursion_misses:\s*(\d+)", text, re.M))
    return total


def described(inside):
    """(short id, pod) of "docker 0123456789ab, image x, pod y"; (None, None) without a container."""
    if inside is None:
        return None, None
    pod = re.search(r", pod (\S+)", inside)
    return inside.split(",")[0].split(" ")[-1], pod and pod[1]


@pytest.mark.timeout(120)
def test_sockets_that_change_hands(make_lab, tmp_path):
    """Opened before the recording, written by their owner, then by a fork, by another program and by a process that got it passed."""
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    start_sink(node)
    log = lab.directory / "hold.log"
    with open(log, "wb") as out:
        holder = subprocess.Popen(["ip", "netns", "exec", node.namespace, sys.executable, ACTOR, "hold", str(PORT), node.address],
                                  stdin=subprocess.PIPE, stdout=out)
    said = lambda role: [line for line in map(json.loads, log.read_text().splitlines()) if line["role"] == role]
    try:
        held = wait_for(lambda: said("held"), "the sockets")[0]
        node.start_capture(interface="eth0,lo")
        lab.wait_for_nodes()
        holder.stdin.write(b"go\n")
        holder.stdin.flush()
        heirs = {role: wait_for(lambda: said(role), role)[0]["pid"] for role in ("inherited", "passed", "executed")}
        time.sleep(0.3)
        packets = export(lab, "hands", tmp_path / "hands.pcapng")
    finally:
        holder.kill()
        holder.wait()
        for role in ("passed", "inherited", "executed"):
            for line in said(role):
                run("kill", "-9", str(line["pid"]), check=False)
    told = {}
    for packet in packets:
        source, target, _, payload = ends_of(packet)
        role = {held[name]: name for name in heirs}.get(source[1])
        if role and payload and target[1] == PORT:
            told.setdefault((role, payload.decode()), set()).add((packet.pid, packet.process))
    name = comm_of(sys.executable)
    assert told == {**{(role, "of the holder"): {(held["pid"], name)} for role in heirs},
                    ("inherited", "inherited"): {(heirs["inherited"], name)},
                    ("passed", "passed"): {(heirs["passed"], name)},
                    ("executed", "executed"): {(heirs["executed"], "sh")}}


def comm_of(executable):
    """The name that the kernel gives a process of this program: its file's, at most 15 characters."""
    return executable.rsplit("/", 1)[-1][:15]


@pytest.mark.timeout(120)
def test_accepted_and_not_used(make_lab, tmp_path):
    """A server that accepts and then says and hears nothing for longer than an export reads ahead."""
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    program = f"""
import os, socket, sys
s = socket.create_server(("127.0.0.1", {PORT}))
if os.fork() == 0:
    c, _ = s.accept()
    print("pid", os.getpid(), flush=True)
    sys.stdin.read() or __import__("time").sleep(14)
    c.sendall(b"at last")
    __import__("time").sleep(30)
__import__("time").sleep(60)
"""
    server = node.spawn(sys.executable, "-c", program)
    wait_for(lambda: node.run("ss", "-Hltn", f"sport = :{PORT}").stdout, "the server")
    client = node.spawn(sys.executable, "-c", f"import socket, time; s = socket.create_connection(('127.0.0.1', {PORT})); s.recv(10); time.sleep(30)")
    worker = int(wait_for(lambda: re.search(r"pid (\d+)", server.text()), "the worker")[1])
    try:
        # Held at once, and again when it has spoken.
        for name, seconds in (("early", 0.5), ("late", 15)):
            time.sleep(seconds)
            packets = export(lab, name, tmp_path / f"{name}.pcapng")
            told = {(ends_of(packet)[0][1] == PORT, packet.pid) for packet in packets}
            assert told == {(True, worker), (False, client.pid)}, name
    finally:
        run("kill", "-9", str(worker), check=False)
