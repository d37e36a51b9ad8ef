#!/usr/bin/env python3
"""(b) Snapshot creation, end to end on one machine, against `tcpdump -r FILE -w - | zstd -1 > file` over the same packets."""
import argparse
import json
import time

import common

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("runs", nargs="?", type=int, default=3, help="snapshots of each mix (%(default)s)")
RUNS = parser.parse_args().runs
MIXES = {"mixed sizes": ("64,64,64,64,64,64,64,590,590,590,590,1400", "2500000"), "1400 B": ("1400", "700000")}


def rfc3339(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def main():
    results = common.Results("snapshot")
    for mix, (sizes, count) in MIXES.items():
        with common.lab(nodes=1) as lab:
            node = lab.nodes[0]
            common.load_link(node)
            node.start_capture(storage="8GiB", interface="load1")
            lab.wait_for_nodes()
            start = time.time_ns()
            common.send(node, "--sizes", sizes, "--count", count, "--pps", "150000")
            time.sleep(1)
            window = ["--from", rfc3339(start), "--to", rfc3339(time.time_ns())]
            figures = {k: [] for k in ("ours", "peer", "ours_bytes", "peer_bytes", "hub", "node")}
            peer_file, capture = lab.scratch / "peer.zst", lab.scratch / "all.pcap"
            for i in range(RUNS):
                name = f"run{i}"
                hub0, node0, t0 = common.cpu_seconds(lab.hub.pid), common.cpu_seconds(node.capture.pid), time.monotonic()
                # 3: packets were lost while they were recorded, on a machine with other work; those that are there are compared.
                status = lab.client("snapshot", "create", name, *window, "--wait", check=False).returncode
                assert status in (0, 3), f"snapshot create ended with {status}"
                figures["ours"].append(time.monotonic() - t0)
                content = json.loads(lab.client("snapshot", "show", name, "-o", "json").stdout)["content_bytes"]
                figures["hub"].append((common.cpu_seconds(lab.hub.pid) - hub0) / content * 1e9)
                figures["node"].append((common.cpu_seconds(node.capture.pid) - node0) / content * 1e9)
                if i == 0:
                    lab.client("snapshot", "pcap", name, "--format", "pcap", "-o", capture, timeout=300)
                wall, _ = common.timed(["bash", "-c", f"tcpdump -r {capture} -w - | zstd -1 -q -f -o {peer_file}"])
                figures["peer"].append(wall)
                figures["ours_bytes"].append((lab.archives / f"{name}.tar.zst").stat().st_size)
                figures["peer_bytes"].append(peer_file.stat().st_size)
            peer = "tcpdump -r | zstd -1"
            results.add(f"{mix}: wall time", figures["ours"], figures["peer"], peer, "s", "<= 0.67")
            results.add(f"{mix}: archive size", [b / 1e6 for b in figures["ours_bytes"]], [b / 1e6 for b in figures["peer_bytes"]], peer, "MB", "<= 1.10")
            results.add(f"{mix}: hub CPU per GB of content", figures["hub"], None, None, "s/GB", "<= 0.5")
            results.add(f"{mix}: node CPU per GB of content", figures["node"], None, None, "s/GB")


main()
