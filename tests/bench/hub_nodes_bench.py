#!/usr/bin/env python3
"""What heartbeats cost a hub: its CPU while many nodes report every five seconds, each over a connection of its own.

usage: hub_nodes_bench.py [--binary build/release/lookback] [--nodes 500] [--seconds 30]
"""
import argparse
import asyncio
import json
import os
import pathlib
import subprocess
import tempfile
import time

INTERVAL = 5.0


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


async def ask(reader, writer, method, path, body=b""):
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
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


async def measure(port, pid, nodes, seconds):
    late = []
    stop_at = time.monotonic() + INTERVAL + seconds
    tasks = [asyncio.create_task(node(port, i, nodes, stop_at, late)) for i in range(nodes)]
    await asyncio.sleep(INTERVAL)  # everybody has been heard of
    before, started = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds - 1)
    cpu, wall = cpu_seconds(pid) - before, time.monotonic() - started
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    listed = time.monotonic()
    status, text = await ask(reader, writer, "GET", "/api/v1/nodes")
    listed = time.monotonic() - listed
    writer.close()
    known = json.loads(text)["nodes"]
    assert status == 200 and len(known) == nodes and all(one["state"] == "up" for one in known)
    await asyncio.gather(*tasks)
    late.sort()
    print(f"{nodes} nodes, {len(late)} heartbeats in {wall:.0f} s: hub CPU {100 * cpu / wall:.2f} % of a core, "
          f"{memory_kib(pid) / 1024:.1f} MiB; answered in {1000 * late[len(late) // 2]:.2f} ms (median), "
          f"{1000 * late[int(len(late) * 0.99)]:.2f} ms (99 %); the list of nodes took {1000 * listed:.1f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/release/lookback")
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        log = open(pathlib.Path(directory) / "log", "wb")
        hub = subprocess.Popen([options.binary, "hub", "--listen", "127.0.0.1:17400", "--data-dir", directory + "/hub"], stderr=log)
        try:
            for _ in range(100):
                time.sleep(0.05)
                try:
                    asyncio.run(measure_when_up(hub.pid, options))
                    return
                except ConnectionRefusedError:
                    continue
            raise SystemExit("the hub did not start: " + pathlib.Path(log.name).read_text())
        finally:
            hub.terminate()
            hub.wait()


async def measure_when_up(pid, options):
    _, writer = await asyncio.open_connection("127.0.0.1", 17400)
    writer.close()
    await measure(17400, pid, options.nodes, options.seconds)


if __name__ == "__main__":
    main()
