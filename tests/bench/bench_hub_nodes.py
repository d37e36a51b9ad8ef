#!/usr/bin/env python3
"""What 500 nodes cost a hub that has nothing else to do: its CPU while they report every five seconds, each over a connection of its
own, its memory, and how long `lookback nodes` takes then."""
import argparse
import asyncio
import json
import os
import pathlib
import subprocess
import tempfile
import time

from common import BINARY, Results, cpu_seconds, peak_rss_bytes, timed

PORT = 17400
INTERVAL = 5.0
TOKEN = os.environ.setdefault("LOOKBACK_TOKEN", os.urandom(16).hex())  # the hub's and the client's


async def ask(reader, writer, method, path, body=b""):
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return int(head.split()[1]), await reader.readexactly(length)


async def node(port, number, nodes, stop_at, late):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = {
        "version": "0.1.0", "url": "", "port": 7401, "tls": False, "incarnation": f"{number:032x}",
        "status": {"oldest": "2026-01-01T00:00:00.000000000Z", "newest": "2026-01-01T01:00:00.000000000Z", "packets": 10**9,
                   "rate": {"packets_per_second": 12345.6, "bytes_per_second": 9876543.2},
                   "drops": {"packets": 0, "stalls": 0, "disk_full_packets": 0},
                   "retention_ns": 3600 * 10**9, "used_bytes": 10**10, "quota_bytes": 10**10},
        "clock": {"offset_ns": 12345, "error_ns": 100000, "measured": "2026-01-01T01:00:00.000000000Z"},
    }
    await asyncio.sleep(INTERVAL * number / nodes)  # spread over the interval, as real ones are
    while time.monotonic() < stop_at:
        body["sent_ns"] = time.time_ns()
        started = time.monotonic()
        status, _ = await ask(reader, writer, "POST", f"/api/v1/nodes/node-{number}/heartbeat", json.dumps(body).encode())
        assert status == 200, status
        late.append(time.monotonic() - started)
        await asyncio.sleep(INTERVAL)
    writer.close()


async def measure(pid, options, results):
    nodes, late = options.nodes, []
    stop_at = time.monotonic() + 2 * INTERVAL + options.seconds
    tasks = [asyncio.create_task(node(PORT, i, nodes, stop_at, late)) for i in range(nodes)]
    await asyncio.sleep(INTERVAL + 1)  # everybody has been heard of
    before, started = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(options.seconds)
    cpu, wall = cpu_seconds(pid) - before, time.monotonic() - started
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    status, text = await ask(reader, writer, "GET", "/api/v1/nodes")
    writer.close()
    known = json.loads(text)["nodes"]
    assert status == 200 and len(known) == nodes and all(one["state"] == "up" for one in known), (status, len(known))
    listing = [BINARY, "nodes", "--hub", f"http://127.0.0.1:{PORT}"]
    shown = (await asyncio.to_thread(subprocess.run, listing, capture_output=True, text=True, check=True)).stdout
    assert shown.count("node-") == nodes, shown[:500]
    runs = [(await asyncio.to_thread(timed, listing))[0] for _ in range(5)]
    await asyncio.gather(*tasks)
    late.sort()
    results.add(f"CPU for the heartbeats of {nodes} nodes", 100 * cpu / wall, None, "", "% of a core")
    results.add(f"peak memory with {nodes} nodes", peak_rss_bytes(pid) / 2**20, None, "", "MiB")
    results.add(f"lookback nodes with {nodes} nodes", [1000 * one for one in runs], None, "", "ms")
    results.add("answer to a heartbeat, 99th percentile", 1000 * late[int(len(late) * 0.99)], None, "", "ms")


def wait_until_up(hub, log):
    for _ in range(200):
        if hub.poll() is not None:
            break
        if subprocess.run(["curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/readyz"], check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise SystemExit("the hub did not start: " + pathlib.Path(log).read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("LOOKBACK_BENCH_DIR", "/var/tmp"), prefix="lookback-bench-") as directory:
        log = f"{directory}/log"
        with open(log, "wb") as out:
            hub = subprocess.Popen([BINARY, "hub", "--listen", f"127.0.0.1:{PORT}", "--data-dir", f"{directory}/hub"], stderr=out)
        try:
            wait_until_up(hub, log)
            asyncio.run(measure(hub.pid, options, Results("hub")))
        finally:
            hub.terminate()
            hub.wait()


if __name__ == "__main__":
    main()
