"""What the benchmark scripts share: a lab, process figures, interleaved runs and one form of result.

Every script prints its rows as a table and appends them to the file named by LOOKBACK_BENCH_RESULTS (JSON lines), from
which scripts/bench makes one table. Ratios are medians over interleaved runs: absolute figures drift with the machine.
"""
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.dont_write_bytecode = True

from lab import Lab, run, wait_for  # noqa: E402

BINARY = os.environ.get("LOOKBACK_BIN", str(ROOT / "build" / "release" / "lookback"))
SENDER = os.environ.get("LOOKBACK_SENDER", str(ROOT / "build" / "dev" / "tests" / "bench" / "packet_sender"))


@contextlib.contextmanager
def lab(**options):
    """A lab in a folder on a real disk (LOOKBACK_BENCH_DIR), since a tmpfs would flatter everybody."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("LOOKBACK_BENCH_DIR", "/var/tmp"), prefix="lookback-bench-") as folder:
        one = Lab(BINARY, pathlib.Path(folder) / "lab", **options)
        one.scratch = pathlib.Path(folder)
        try:
            yield one
        finally:
            one.close()


def load_link(node):
    """A veth pair inside the node: packets sent on load0 arrive on load1."""
    node.run("ip", "link", "add", "load0", "type", "veth", "peer", "name", "load1")
    for name in ("load0", "load1"):
        node.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1", check=False)
        node.run("ip", "link", "set", name, "up")


def send(node, *options):
    return json.loads(node.run(SENDER, "load0", *options, timeout=600).stdout)


def cpu_seconds(pid):
    """CPU time of a whole process by its own clock: threads that have ended and io_uring workers included, in nanoseconds."""
    process_clock = (~pid << 3) | 2  # as clock_getcpuclockid(3) makes it: CPUCLOCK_SCHED, not of a thread
    return time.clock_gettime(process_clock)


def peak_rss_bytes(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def timed(command, **kwargs):
    """(wall seconds, CPU seconds of it and its children)"""
    before, start = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs)
    wall, after = time.monotonic() - start, os.times()
    return wall, (after.children_user - before.children_user) + (after.children_system - before.children_system)


class Results:
    def __init__(self, area):
        self.area = area
        self.rows = []

    def add(self, case, ours, peer, peer_name, unit, target=""):
        """`ours` and `peer` are lists from interleaved runs (pairs); a lone figure has no peer."""
        ours = [ours] if isinstance(ours, (int, float)) else ours
        peer = [peer] if isinstance(peer, (int, float)) else (peer or [])
        ratio = statistics.median(a / b for a, b in zip(ours, peer) if b) if peer else None
        row = {"area": self.area, "case": case, "ours": statistics.median(ours), "peer": statistics.median(peer) if peer else None,
               "peer_name": peer_name, "unit": unit, "ratio": ratio, "target": target, "runs": len(ours)}
        self.rows.append(row)
        peer_text = f"{peer_name} {row['peer']:.4g}" if peer else "-"
        print(f"{self.area:10} {case:44} ours {row['ours']:.4g} {unit:12} {peer_text:34} "
              f"{'ratio %.3f' % ratio if ratio is not None else '':12} {'target ' + target if target else ''}", flush=True)
        if path := os.environ.get("LOOKBACK_BENCH_RESULTS"):
            with open(path, "a") as out:
                out.write(json.dumps(row) + "\n")
