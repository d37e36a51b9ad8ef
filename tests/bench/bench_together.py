#!/usr/bin/env python3
"""(e) Recording under load while four snapshots and two exports run: drops because of them, and what they cost each other."""
import json
import sys
import threading
import time

import common

PPS = sys.argv[1] if len(sys.argv) > 1 else "100000"
SIZES = "64,64,64,64,64,64,64,590,590,590,590,1400"


def rfc3339(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def main():
    results = common.Results("together")
    with common.lab(nodes=1) as lab:
        node = lab.nodes[0]
        common.load_link(node)
        node.start_capture(storage="8GiB", interface="load1")
        lab.wait_for_nodes()
        start = time.time_ns()
        common.send(node, "--sizes", SIZES, "--pps", PPS, "--seconds", "10")
        end = time.time_ns()
        window = ["--from", rfc3339(start), "--to", rfc3339(end)]

        def create(name, walls):
            t = time.monotonic()
            lab.client("snapshot", "create", name, *window, "--wait", timeout=300)
            walls.append(time.monotonic() - t)

        def export(name, walls):
            t = time.monotonic()
            lab.client("snapshot", "pcap", name, "--filter", "udp port 53", "-o", "/dev/null", timeout=300)
            walls.append(time.monotonic() - t)

        def phase(jobs):
            """Runs jobs under load; drops and packets of the phase."""
            before = node.status()
            sender = node.spawn(common.SENDER, "load0", "--sizes", SIZES, "--pps", PPS, "--seconds", "25")
            time.sleep(1)
            threads = [threading.Thread(target=f, args=a) for f, a in jobs]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            sender.popen.wait()
            time.sleep(1.5)
            after = node.status()
            return after["drops"]["packets"] - before["drops"]["packets"], json.loads(sender.text())["packets"]

        alone, alone_export, four, two = [], [], [], []
        idle_drops, idle_packets = phase([])
        create("alone-idle", [])
        one_drops, _ = phase([(create, ("one", alone))])
        phase([(export, ("one", alone_export))])
        drops, packets = phase([(create, (f"four{i}", four)) for i in range(4)] + [(export, ("one", two)) for _ in range(2)])
        results.add(f"drops, recording alone ({PPS} pps)", idle_drops, None, None, f"of {idle_packets}", "0")
        results.add("drops, one snapshot beside", one_drops, None, None, "packets", "0")
        results.add("drops, four snapshots and two exports beside", drops, None, None, f"of {packets}", "0")
        results.add("snapshot: slowest of four together", max(four), alone[0], "one alone", "s")
        results.add("export: slower of two beside four snapshots", max(two), alone_export[0], "one alone", "s")
        results.add("capture daemon's peak memory, ring included", common.peak_rss_bytes(node.capture.pid) / 2**20, None, None, "MiB", "<= 96")


main()
