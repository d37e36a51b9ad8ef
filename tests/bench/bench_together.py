#!/usr/bin/env python3
"""(e) Recording under load while four snapshots and two exports run: drops because of them, and what they cost each other."""
import argparse
import glob
import json
import pathlib
import threading
import time

import common

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("pps", nargs="?", type=int, default=100_000, help="packets a second (%(default)s)")
PPS = parser.parse_args().pps
SIZES = "64,64,64,64,64,64,64,590,590,590,590,1400"


def recording_seconds(pid):
    """CPU seconds of the two threads that record."""
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        if pathlib.Path(task, "comm").read_text().strip() in ("drainer", "writer"):
            total += int(pathlib.Path(task, "schedstat").read_text().split()[0])
    return total / 1e9


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
        common.send(node, "--sizes", SIZES, "--pps", str(PPS), "--seconds", "10")
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
            """Runs jobs under load: what was dropped and sent, and what recording cost a million packets."""
            before, cpu = node.status(), recording_seconds(node.capture.pid)
            sender = node.spawn(common.SENDER, "load0", "--sizes", SIZES, "--pps", str(PPS), "--seconds", "20")
            time.sleep(1)
            threads = [threading.Thread(target=f, args=a) for f, a in jobs]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            sender.popen.wait()
            time.sleep(1.5)
            sent = json.loads(sender.text())["packets"]
            cost = (recording_seconds(node.capture.pid) - cpu) / sent * 1e6
            return node.status()["drops"]["packets"] - before["drops"]["packets"], sent, cost

        idle, alone, alone_export, four, two = [], [], [], [], []
        recording_peak = common.peak_rss_bytes(node.capture.pid)
        create("alone-idle", idle)
        none_drops, none_sent, none_cost = phase([])
        one_drops, one_sent, one_cost = phase([(create, ("one", alone))])
        phase([(export, ("one", alone_export))])
        all_drops, all_sent, all_cost = phase([(create, (f"four{i}", four)) for i in range(4)] + [(export, ("one", two)) for _ in range(2)])
        results.add(f"drops, recording alone ({PPS} pps)", none_drops, None, None, f"of {none_sent}", "0")
        results.add("drops, one snapshot beside", one_drops, None, None, f"of {one_sent}", "0")
        results.add("drops, four snapshots and two exports beside", all_drops, None, None, f"of {all_sent}", "0")
        results.add("recording beside one snapshot", one_cost, none_cost, "alone", "s/Mpkt")
        results.add("recording beside four and two exports", all_cost, none_cost, "alone", "s/Mpkt")
        results.add("snapshot beside recording", alone[0], idle[0], "without load", "s")
        results.add("snapshot: slowest of four together", max(four), alone[0], "one beside recording", "s")
        results.add("export: slower of two beside four snapshots", max(two), alone_export[0], "one beside recording", "s")
        results.add("capture's peak memory, recording, ring included", recording_peak / 2**20, None, None, "MiB", "<= 96")
        results.add("... with four snapshots, ring included", common.peak_rss_bytes(node.capture.pid) / 2**20, None, None, "MiB")


main()
