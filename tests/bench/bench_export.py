#!/usr/bin/env python3
"""(c) Export with `lookback snapshot pcap` from an archive, against tcpdump, mergecap and editcap on the same packets.

Theirs read uncompressed pcap files, ours the archive with all that it decompresses. Runs are interleaved, everybody writes
a real file in the same folder, and everything has been read once before, so that no disk is measured.
"""
import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import common

GENERATOR = os.environ.get("LOOKBACK_EXPORT_BENCH", str(common.ROOT / "build" / "dev" / "tests" / "bench" / "bench_export"))
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("runs", nargs="?", type=int, default=5, help="rounds (%(default)s)")
parser.add_argument("megabytes", nargs="?", type=int, default=1500, help="of packets, for each node (%(default)s)")
parser.add_argument("slice_megabytes", nargs="?", type=int, default=5200, help="of packets to take slices from (%(default)s)")
options = parser.parse_args()
RUNS, MEGABYTES, SLICE_MEGABYTES = options.runs, options.megabytes, options.slice_megabytes
WEB, RARE, EVERYWHERE = "tcp port 80", "host 10.9.200.200", "host 10.1.0.3"


@contextlib.contextmanager
def folder():
    """Memory where there is plenty of it, else a disk whose pages stay cached."""
    base = os.environ.get("LOOKBACK_BENCH_DIR")
    if not base:
        needed = max(MEGABYTES * 4, SLICE_MEGABYTES * 2) * 10**6
        available = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
        base = "/dev/shm" if min(shutil.disk_usage("/dev/shm").free, available - needed) > needed else "/var/tmp"
    with tempfile.TemporaryDirectory(dir=base, prefix="lookback-bench-") as name:
        os.chdir(name)
        yield pathlib.Path(name)
        os.chdir("/")


def generate(megabytes, nodes, *more):
    """{archive_bytes, from_ns, to_ns} of test.tar.zst, a.pcap and b.pcap."""
    said = subprocess.run([GENERATOR, "make", ".", str(megabytes), str(nodes), *more], check=True, capture_output=True, text=True).stdout
    return {key: int(value) for key, value in (pair.split("=") for pair in said.split())}


class Measured:
    """Wall, CPU and peak memory of a command and its children, run after run."""

    def __init__(self):
        self.wall, self.cpu, self.rss_mib = [], [], []

    def run(self, *command):
        for stale in ("theirs", "ours"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(stale)
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.wall.append(time.monotonic() - start)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: {said.decode()}")
        self.cpu.append(usage.ru_utime + usage.ru_stime)
        self.rss_mib.append(usage.ru_maxrss / 1024)
        return said.decode()


def packets_of(path):
    said = subprocess.run(["capinfos", "-Mc", path], check=True, capture_output=True, text=True).stdout
    return int(said.split("Number of packets:")[1].split()[0])


def seconds(ns):
    return f"{ns // 10**9}.{ns % 10**9:09d}"


def rfc3339(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def ours(*options):
    return [common.BINARY, "snapshot", "pcap", "./test.tar.zst", "-o", "ours", *options]


def compare(results, case, peer_name, theirs, mine, wall_target="", cpu_target="", same_packets=True):
    peer, own = Measured(), Measured()
    for run in range(RUNS + 1):
        peer.run(*theirs)
        count = packets_of("theirs") if run == 0 and same_packets else None
        own.run(*mine)
        if count is not None and packets_of("ours") != count:
            sys.exit(f"{case}: {packets_of('ours')} packets, {peer_name} has {count}")
    for one in (peer, own):  # the first run warmed up
        del one.wall[0], one.cpu[0], one.rss_mib[0]
    results.add(case, own.wall, peer.wall, peer_name, "s", wall_target)
    results.add(case + ", CPU", own.cpu, peer.cpu, peer_name, "CPU s", cpu_target)
    results.add(case + ", peak memory", max(own.rss_mib), max(peer.rss_mib), peer_name, "MiB")


def two_nodes(results):
    generate(MEGABYTES, 2)
    pipe = f"mergecap -F nsecpcap -w - a.pcap b.pcap | tcpdump -n -r - -w theirs '{WEB}'"
    compare(results, "filter", "tcpdump", ["tcpdump", "-n", "-r", "a.pcap", "-w", "theirs", WEB],
            ours("--node", "a", "--filter", WEB), "<= 0.45")
    compare(results, "merge two nodes and filter", "mergecap | tcpdump", ["sh", "-c", pipe], ours("--filter", WEB), "<= 0.33", "<= 0.25")
    compare(results, "merge two nodes", "mergecap", ["mergecap", "-w", "theirs", "a.pcap", "b.pcap"], ours())
    compare(results, "host in 1 % of the frames", "tcpdump", ["tcpdump", "-n", "-r", "a.pcap", "-w", "theirs", RARE],
            ours("--node", "a", "--filter", RARE), "<= 0.1")
    compare(results, "host in every frame", "tcpdump", ["tcpdump", "-n", "-r", "a.pcap", "-w", "theirs", EVERYWHERE],
            ours("--node", "a", "--filter", EVERYWHERE))


def attributed(results):
    """The same with OS events in the archive: every packet that has a known socket bears its process."""
    generate(MEGABYTES, 2, "events")
    pipe = f"mergecap -F nsecpcap -w - a.pcap b.pcap | tcpdump -n -r - -w theirs '{WEB}'"
    compare(results, "merge, filter, name processes", "mergecap | tcpdump", ["sh", "-c", pipe], ours("--filter", WEB), "<= 0.33", "<= 0.25")


def slices(results):
    made = generate(SLICE_MEGABYTES, 1)
    # editcap takes local time; it counts microseconds.
    middle = (made["from_ns"] + made["to_ns"]) // 2 // 10**6 * 10**6
    end = middle + (made["to_ns"] - made["from_ns"]) // 100 // 10**6 * 10**6
    slice_of = ours("--from", rfc3339(middle), "--to", rfc3339(end))
    case = f"1 % slice of {SLICE_MEGABYTES / 1000:.1f} GB"
    # tcpdump knows no times: reading everything is what it can do.
    compare(results, case, "tcpdump", ["tcpdump", "-n", "-r", "a.pcap", "-w", "theirs", "less 0"], slice_of, "<= 0.1", same_packets=False)
    compare(results, case, "editcap", ["editcap", "-A", seconds(middle), "-B", seconds(end), "a.pcap", "theirs"], slice_of)


def main():
    os.environ["TZ"] = "UTC"
    time.tzset()
    results = common.Results("export")
    for part in (two_nodes, attributed, slices):
        with folder():
            part(results)


if __name__ == "__main__":
    main()
