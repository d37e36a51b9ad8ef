#!/usr/bin/env python3
"""What the layer of processes and sockets (eBPF) costs a web server with short connections, and what memory it takes.

nginx with one worker, set up as it comes (a page of 4 KiB, sendfile, a log of requests), answers wrk, which opens a new connection
for every request; they are two nodes of a bridged network, and that of nginx records its packets all the time. A round runs wrk four times, without and with --os-events, in the order off on on off, so that what drifts on
the machine drifts for both; the figure of a round is its two runs with the layer over its two without. All of it shares the
processors of one machine and every connection has both of its ends here: the layer sees, and costs, twice of what it would on the
server's own machine.

  throughput             connections a second, with the layer and without
  CPU for 1,000          processor time of nginx, wrk and the daemon together for 1,000 connections: what throughput comes down to
                         where all processors are busy, and steadier than it where the machine does something else as well
  daemon CPU             processor time of lookback capture for 1,000 connections, of all its threads
  kernel programs        time in the eBPF programs for 1,000 connections, by the kernel's own count (bpf_stats_enabled) in a run of
                         its own, since counting costs something too
  memory                 resident in the process beyond the packets' ring, and of it what the layer adds; what the maps take in the
                         kernel is a row of its own (the buffer of events is in both)

Needs root, nginx and wrk.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

import common

MOST_LOSS = 0.03
MOST_MEMORY = 32  # MiB beyond the packets' ring
STATS_SWITCH = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
PAGE = "<p>Here it is.</p>\n" * 220  # 4 KiB
NGINX = """
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log; sendfile on; tcp_nopush on; keepalive_timeout 0; root {folder}/html; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {address}:8080 backlog=4096; }}
}}
"""


def start_nginx(node):
    folder = node.lab.directory / "nginx"
    (folder / "html").mkdir(parents=True)
    (folder / "html" / "index.html").write_text(PAGE)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, address=node.address))
    master = node.spawn("nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf", "-p", folder)
    common.wait_for(lambda: node.run("curl", "-sf", "-o", "/dev/null", f"http://{node.address}:8080/", check=False).returncode == 0,
                    "nginx")
    return master, int(pathlib.Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0])


def load(node, url, seconds, connections):
    """(connections made, seconds, CPU seconds of the client): each request has one of its own."""
    before = os.times()
    text = node.run("wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-H", "Connection: close", url).stdout
    after = os.times()
    made = re.search(r"(\d+) requests in ([\d.]+)(m?s)", text)
    if not made or re.search(r"Non-2xx|Socket errors: connect [1-9]", text):
        sys.exit(f"wrk: {text}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return int(made[1]), float(made[2]) * (0.001 if made[3] == "ms" else 1), cpu


def fields(pid):
    """Of each open file of a process, what the kernel tells of it."""
    for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            yield dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)


def map_bytes(pid):
    """Each map once; several files may be the same."""
    return sum({f["map_id"].strip(): int(f["memlock"]) for f in fields(pid) if "map_id" in f}.values())


def program_times(pid):
    """{id: (runs, nanoseconds)}"""
    return {f["prog_id"].strip(): (int(f["run_cnt"]), int(f["run_time_ns"])) for f in fields(pid) if "run_time_ns" in f}


def program_names():
    if not shutil.which("bpftool"):
        return {}
    listed = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True).stdout or "[]"
    return {str(p["id"]): p.get("name", "") for p in json.loads(listed)}


def memory_bytes(pid, key):
    return int(re.search(rf"^{key}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]) << 10


@contextlib.contextmanager
def counted_programs():
    before = STATS_SWITCH.read_text()
    STATS_SWITCH.write_text("1")
    try:
        yield
    finally:
        STATS_SWITCH.write_text(before)


class Bench:
    def __init__(self, server, client, worker, options):
        self.server, self.client, self.worker, self.options = server, client, worker, options
        self.url = f"http://{server.address}:8080/"

    @contextlib.contextmanager
    def recording(self, events):
        daemon = self.server.start_capture(f"--os-events={events}", f"--ring-size={self.options.ring_mib}MiB", storage="2GiB")
        try:
            wanted = "off" if events == "off" else "recording"
            if (state := self.server.status()["layers"]["os_events"]["state"]) != wanted:
                sys.exit(f"the layer of OS events is {state}, not {wanted}")
            yield daemon
        finally:
            daemon.stop()
            shutil.rmtree(self.server.data_dir, ignore_errors=True)

    def run(self, events):
        with self.recording(events) as daemon:
            load(self.client, self.url, 1, self.options.connections)
            cpu, worker = common.cpu_seconds(daemon.pid), common.cpu_seconds(self.worker)
            made, seconds, client = load(self.client, self.url, self.options.seconds, self.options.connections)
            time.sleep(0.3)  # what waits is written
            cpu, worker = common.cpu_seconds(daemon.pid) - cpu, common.cpu_seconds(self.worker) - worker
            status = self.server.status()
            return {"rate": made / seconds, "cpu": cpu / made * 1000, "all_cpu": (cpu + worker + client) / made * 1000, "peak": common.peak_rss_bytes(daemon.pid),
                    "resident": memory_bytes(daemon.pid, "VmRSS"), "maps": map_bytes(daemon.pid),
                    "lost": status["layers"]["os_events"]["lost"], "dropped": status["drops"]["packets"]}

    def programs(self):
        """Microseconds in the programs for each connection, and the same by program."""
        with self.recording("on") as daemon, counted_programs():
            before = program_times(daemon.pid)
            made, _, _ = load(self.client, self.url, 2, self.options.connections)
            after, names = program_times(daemon.pid), program_names()
        spent = {key: (runs - before.get(key, (0, 0))[0], ns - before.get(key, (0, 0))[1]) for key, (runs, ns) in after.items()}
        for key, (runs, ns) in sorted(spent.items(), key=lambda item: -item[1][1]):
            if runs:
                print(f"  {names.get(key, key):20} {runs / made:6.2f} runs, {ns / made:7.0f} ns a connection", file=sys.stderr)
        return sum(ns for _, ns in spent.values()) / made / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("LOOKBACK_BENCH_ROUNDS", "3")) + 2)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--ring-mib", type=int, default=64)
    options = parser.parse_args()
    for program in ("nginx", "wrk"):
        if not shutil.which(program):
            sys.exit(f"{program} is not here: scripts/install-deps --test --bench")

    ratios, off_rates, on_rates, cpu_off, cpu_on, runs = [], [], [], [], [], {"off": [], "on": []}
    with common.lab(nodes=2, hub=False) as lab:
        server, client = lab.nodes
        master, worker = start_nginx(server)
        bench = Bench(server, client, worker, options)
        load(client, bench.url, 1, options.connections)
        for number in range(options.rounds):
            this = {"off": [], "on": []}
            for events in ("off", "on", "on", "off"):
                this[events].append(bench.run(events))
                print(f"round {number + 1}, {events}: {json.dumps(this[events][-1])}", file=sys.stderr)
            for events, found in this.items():
                runs[events] += found
            off, on = (statistics.mean(r["rate"] for r in this[events]) for events in ("off", "on"))
            off_rates.append(off)
            on_rates.append(on)
            ratios.append(on / off)
            cpu_off.append(1000 * statistics.mean(r["all_cpu"] for r in this["off"]))
            cpu_on.append(1000 * statistics.mean(r["all_cpu"] for r in this["on"]))
        in_kernel = bench.programs()
        master.popen.terminate()  # it takes its worker along, which killing it would not
        master.popen.wait(10)

    results = common.Results("ebpf")
    mib = 2**20
    results.add("nginx, short connections: connections", on_rates, off_rates, "without eBPF", "/s", f">= {1 - MOST_LOSS}")
    results.add("throughput loss", [100 * (1 - r) for r in ratios], None, None,
                f"% ({100 * (1 - max(ratios)):.1f} to {100 * (1 - min(ratios)):.1f})", f"<= {100 * MOST_LOSS:g}")
    results.add("CPU for 1,000 connections", cpu_on, cpu_off, "without eBPF", "ms")
    results.add("daemon CPU for 1,000 connections", [r["cpu"] * 1000 for r in runs["on"]],
                [r["cpu"] * 1000 for r in runs["off"]], "without eBPF", "ms")
    results.add("kernel programs for 1,000 connections", in_kernel, None, None, "ms")
    results.add("events lost, packets dropped", sum(r["lost"] + r["dropped"] for r in runs["on"]), None, None, "", "0")
    results.add("memory beyond the ring, peak", [r["peak"] / mib - options.ring_mib for r in runs["on"]],
                [r["peak"] / mib - options.ring_mib for r in runs["off"]], "without eBPF", "MiB", f"<= {MOST_MEMORY}")
    results.add("memory of the maps in the kernel", [r["maps"] / mib for r in runs["on"]], None, None, "MiB")


main()
