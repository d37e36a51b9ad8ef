"""The recorder's memory has a ceiling, however many snapshots fetch from it at once, and comes back afterwards."""
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from lab import wait_for
from oracle import serve_everywhere, start_senders, wait_senders

RING = 64
# Beside the ring: 64 MiB, and half a ring while the disk stalls.
CEILING = RING + 64 + RING // 2

# Short connections and processes: each is a few events.
CHURN = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=64)
for _ in range(int(sys.argv[1])):
    c = socket.create_connection(server.getsockname())
    s, _ = server.accept()
    c.sendall(b"x"); s.recv(1)
    c.close(); s.close()
"""


def memory(process):
    """MiB: resident by kind, and the proportional share."""
    status = open(f"/proc/{process.pid}/status").read()
    found = {key: int(value) // 1024 for key, value in re.findall(r"(VmRSS|RssAnon|RssFile|RssShmem):\s+(\d+)", status)}
    pss = re.search(r"^Pss:\s+(\d+)", open(f"/proc/{process.pid}/smaps_rollup").read(), re.M)
    return found | {"Pss": int(pss[1]) // 1024}


@pytest.mark.timeout(600)
def test_memory_has_a_ceiling(make_lab):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture("--os-events=on", storage="512MiB")
    lab.wait_for_nodes()
    n1 = lab.nodes[0]
    idle = memory(n1.capture)
    serve_everywhere(lab)
    senders = start_senders(lab, 4, seconds=12, pps=6000)
    n1.run(sys.executable, "-c", CHURN, "40000", timeout=300)
    wait_senders(senders)
    recording = memory(n1.capture)
    print(f"idle {idle}\nrecorded {recording}", n1.status()["layers"].get("os_events", {}).get("events"))
    for round in range(2):
        worst, done = {}, threading.Event()

        def watch():
            while not done.is_set():
                now = memory(n1.capture)
                if now["VmRSS"] > worst.get("VmRSS", 0):
                    worst.update(now)
                time.sleep(0.02)
        watcher = threading.Thread(target=watch)
        watcher.start()
        env = lab.environment(dict(os.environ, **lab.client_environment()))
        orders = [subprocess.Popen(["ip", "netns", "exec", lab.hub_namespace, lab.binary, "snapshot", "create", f"s{round}-{i}", "--last", "5m",
                                    "--wait"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for i in range(8)]
        try:
            for order in orders:
                _, said = order.communicate(timeout=240)
                assert order.returncode in (0, 3), said
        finally:
            done.set()
            watcher.join()
        print(f"round {round}: worst {worst}")
        assert worst["VmRSS"] <= CEILING, worst
        for i in range(8):
            snapshot = lab.snapshot(f"s{round}-{i}")
            assert snapshot["state"] == "completed" and all(n["packets"] > 0 for n in snapshot["nodes"]), snapshot
    # What it took for the snapshots goes back.
    after = wait_for(lambda: (now := memory(n1.capture))["VmRSS"] <= recording["VmRSS"] + 8 and now, "the memory to come back", timeout=60)
    print(f"afterwards {after}")
