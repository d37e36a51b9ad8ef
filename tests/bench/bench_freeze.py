#!/usr/bin/env python3
"""How long a freeze takes, from the request to its answer, on a node with 2048 segments that records meanwhile."""
import json
import os
import subprocess
import sys
import time

import common

STORE_BENCH = os.environ.get("LOOKBACK_STORE_BENCH", str(common.ROOT / "build" / "dev" / "tests" / "bench" / "bench_store"))
SEGMENTS = 2048
ROUNDS = 9
RETIRE_MS = 40  # twice the ring's block timeout: what has to be awaited before the newest packets are there
MOST_MS = 50


def rfc3339(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def main():
    results = common.Results("freeze")
    with common.lab(nodes=1, hub=False) as lab:
        node = lab.nodes[0]
        common.load_link(node)
        subprocess.run([STORE_BENCH, "--dir", node.data_dir, "--case", "segments"], check=True)
        made = time.time_ns()
        node.start_capture(storage="1GiB", interface="load1")
        if node.status()["segments"] < SEGMENTS:
            sys.exit(f"the node has only {node.status()['segments']} segments")
        sender = node.spawn(common.SENDER, "load0", "--sizes", "64,590,1400", "--pps", "20000", "--seconds", "3600")
        time.sleep(1)

        def freeze(name, from_ns, to_ns):
            """(milliseconds, members)"""
            order = {"id": name, "owner": "bench", "from": rfc3339(from_ns), "to": rfc3339(to_ns), "ttl_ns": 3600 * 10**9, "networks": []}
            answer = lab.directory / "answer.json"
            said = node.run("curl", "-s", "-o", answer, "-w", "%{http_code} %{time_total}", *lab.bearer, "-H", "Content-Type: application/json",
                            "-d", json.dumps(order), f"{node.url}/api/v1/freezes").stdout.split()
            body = json.loads(answer.read_text())
            if said[0] not in ("200", "201"):
                sys.exit(f"freeze {name}: {body}")
            return float(said[1]) * 1000, len(body["members"])

        def release(name):
            node.curl("-X", "DELETE", f"{node.url}/api/v1/freezes/{name}")

        everything, last_second, long_ago = [], [], []
        for i in range(ROUNDS):
            now = time.time_ns()
            for name, walls, window in ((f"all{i}", everything, (0, now)), (f"last{i}", last_second, (now - 10**9, now)),
                                        (f"old{i}", long_ago, (0, made))):
                wall, members = freeze(name, *window)
                walls.append(wall)
                if members < (SEGMENTS if name.startswith(("all", "old")) else 1):
                    sys.exit(f"freeze {name} has only {members} members")
                release(name)
        sender.stop()
        drops = node.status()["drops"]["packets"]
    awaited = f"<= {MOST_MS} + {RETIRE_MS}"
    results.add(f"everything, {SEGMENTS} segments", everything, None, None, "ms", awaited)
    results.add(f"everything, {SEGMENTS} segments, slowest", max(everything), None, None, "ms", awaited)
    results.add("the last second", last_second, None, None, "ms", awaited)
    results.add("long past, all of its segments", long_ago, None, None, "ms", awaited)
    results.add("packets dropped meanwhile", drops, None, None, "", "0")


main()
