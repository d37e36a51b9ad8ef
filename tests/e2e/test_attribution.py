"""Short connections of short-lived processes: each flow must bear the processes that really had its ends, and no other."""
import collections
import datetime
import glob
import json
import sys

import pytest

CLIENTS, CONNECTIONS = 120, 10

# Four forked servers share a listening socket; clients live for ten connections, some on ports that are used again at once.
TRAFFIC = """
import json, os, random, signal, socket, struct, sys, time
folder, clients, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def note(name, peer):
    with open(f"{folder}/{name}-{os.getpid()}", "a") as out:
        out.write(json.dumps([os.getpid(), peer[0].replace("::ffff:", ""), peer[1], time.time_ns()]) + chr(10))
listener = socket.create_server(("::", 8088), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
def serve():
    while True:
        c, peer = listener.accept()
        with c:
            try:
                c.recv(100); note("server", peer); c.sendall(b"ok"); c.recv(10)
            except OSError: pass
def talk(number):
    for i in range(connections):
        v6 = random.Random(number * 100 + i).random() < 0.5
        c = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if i < 2:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.bind(("::1" if v6 else "127.0.0.1", 41000 + number % 2))
            c.connect(("::1" if v6 else "127.0.0.1", 8088))
        except OSError:
            c.close(); continue
        note("client", c.getsockname())
        c.sendall(b"x"); c.recv(5); c.close()
def fork(job, *arguments):
    pid = os.fork()
    if pid == 0:
        try: job(*arguments)
        finally: os._exit(0)
    return pid
servers = [fork(serve) for _ in range(4)]
time.sleep(0.5)
running = []
for number in range(clients):
    running.append(fork(talk, number))
    if len(running) == 3: os.waitpid(running.pop(0), 0)
for pid in running: os.waitpid(pid, 0)
for pid in servers: os.kill(pid, signal.SIGKILL)
"""


def nanoseconds(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    return int(datetime.datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


@pytest.mark.timeout(120)
def test_flows_bear_their_processes(make_lab, tmp_path):
    lab = make_lab(nodes=1, hub=True)
    node = lab.nodes[0]
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    truth = tmp_path / "truth"
    truth.mkdir()
    node.run(sys.executable, "-c", TRAFFIC, truth, CLIENTS, CONNECTIONS, timeout=60)
    lab.client("snapshot", "create", "who", "--last", "1m", "--wait", check=False)  # the window begins before the recording
    report = json.loads(lab.client("snapshot", "flows", "who", "--filter", "tcp port 8088", "-o", "json", check=False).stdout)

    notes = {"client": collections.defaultdict(list), "server": collections.defaultdict(list)}
    for side, ends in notes.items():
        for path in glob.glob(f"{truth}/{side}-*"):
            for line in open(path):
                pid, ip, port, time_ns = json.loads(line)
                ends[ip, port].append((time_ns, pid))
    count = collections.Counter()
    for flow in report["flows"]:
        client = flow["client"]["ip"], flow["client"]["port"]
        start = nanoseconds(flow["start"])
        for side, ends in notes.items():
            # Who noted it first after the flow began; a connection that was noted by nobody was refused or cut off.
            after = sorted(one for one in ends[client] if one[0] >= start)
            if not after:
                continue
            told = flow[side].get("pid")
            count["unknown" if told is None else "right" if told == after[0][1] else "wrong"] += 1
    total = sum(count.values())
    print(f"{len(report['flows'])} flows, {total} ends: {dict(count)}")
    assert total > CLIENTS * CONNECTIONS
    assert count["wrong"] == 0
    assert count["unknown"] <= total / 1000
