#!/usr/bin/env python3
"""What recording costs: lookback capture against tcpdump, dumpcap, netsniff-ng and stenotype.

Two network namespaces joined by a veth pair: a sender in one, one recorder at a time in the other. Every round runs every
recorder once on the same load, one after the other, so that what drifts on the machine drifts for all. The recorder has the last
processor for itself, the load has the first. The figures are medians over the rounds:

  cpu s/Mpkt, cpu s/GB   processor time of all threads of the recorder (io workers of io_uring are among them) from before the
                         traffic to when all of it is written, by /proc/PID/task/*/schedstat
  system s/GB            busy time of the whole machine (/proc/stat) less that of the sender; on a machine that does something
                         else it means nothing
  disk B/pkt, x pcap     bytes written for each packet, and against a pcap file of the same packets
  lost                   packets that crossed the interface and were not recorded, by the recorder's own count
  ratio                  our CPU seconds a GB over the peer's

Needs root and the peers that are to be compared; those that are missing are left out with a word.
"""
import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import common

SENDER, RECORDER = f"lbbs{os.getpid()}", f"lbbr{os.getpid()}"
MIXED = "64,64,64,64,64,64,64,590,590,590,590,1400"  # 350 bytes in the mean
LOADS = {
    "large": ("1400 B, 200 kpps", ["--pps", "200000", "--sizes", "1400"]),
    "small": ("64-100 B, 300 kpps", ["--pps", "300000", "--sizes", "64,80,100"]),
    "mixed": ("350 B mean, 250 kpps", ["--pps", "250000", "--sizes", MIXED]),
    "gso": ("iperf3, 3 Gb/s", ["-b", "3G"]),
    "gso-max": ("iperf3, full speed", []),
    "max": ("1400 B, full speed", ["--pps", "0", "--sizes", "1400"]),
    "quiet": ("350 B mean, 100 pps", ["--pps", "100", "--sizes", MIXED]),
    "quiet-large": ("1400 B, 300 pps", ["--pps", "300", "--sizes", "1400"]),
}
# Of the process CPU, ours over the peer's.
TARGETS = {
    ("large", "tcpdump"): 1 / 20, ("large", "dumpcap"): 1 / 25, ("large", "stenotype"): 0.15,
    ("large", "stenotype-no-index"): 0.35, ("gso", "tcpdump"): 1 / 12, ("mixed", "tcpdump"): 1 / 7,
    ("mixed", "stenotype"): 0.4,
}
MOST_DISK = 1.06  # times a pcap file
MOST_MEMORY = 32  # MiB beyond the ring
GB = 1e9


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options).stdout


def in_namespace(name, *words):
    return ["ip", "netns", "exec", name, *words]


def pinned(cpu, *words):
    """The recorder has the last processor to itself, so that no packet is received on its time."""
    return list(words) if os.cpu_count() < 2 else ["taskset", "-c", cpu, *words]


def recorders(directory, options):
    d = str(directory)
    steno = ["stenotype", "--iface=vr", f"--dir={d}", f"--aiops={options.ring_mib}", "--threads=1",
             f"--blocks={options.ring_mib}", "--preallocate_file_mb=2048", "--filesize_mb=4096",
             "--no_watchdogs", "--seccomp=none", "--uid=root", "--gid=root", "--no_promisc", "-v"]
    ours = ["capture", "--node", "bench", "--listen", "127.0.0.1:7401", "--data-dir", f"{d}/data",
            "--storage-size", "10GiB", "--interface", "vr", "--ring-size", f"{options.ring_mib}MiB"]
    other = {"other": [options.other, *ours]} if options.other else {}
    return {
        "lookback": [options.binary, *ours], **other,
        "tcpdump": ["tcpdump", "-i", "vr", "-n", "-s", "0", "-w", f"{d}/f", "-C", "64", "-W", "64",
                    "-B", str(options.ring_mib << 10), "-Z", "root"],
        "dumpcap": ["dumpcap", "-q", "-i", "vr", "-w", f"{d}/f.pcapng", "-b", "filesize:65536",
                    "-b", "files:64", "-B", str(options.ring_mib)],
        "netsniff-ng": ["netsniff-ng", "--in", "vr", "--out", f"{d}/", "-s", "--interval", "64MiB",
                        "-O", "64", "-S", f"{options.ring_mib}MiB", "-J", "-M"],
        "stenotype": steno,
        "stenotype-no-index": steno + ["--no_index"],
    }


def cpu_seconds(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            total += int(pathlib.Path(path).read_text().split()[0])
        except (OSError, IndexError):
            pass
    return total / 1e9


def cpu_by_thread(pid):
    """Where the processor time went, for the log."""
    threads = {}
    for path in glob.glob(f"/proc/{pid}/task/*"):
        try:
            name = pathlib.Path(path, "comm").read_text().strip()
            threads[name] = threads.get(name, 0) + int(pathlib.Path(path, "schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError):
            pass
    return {name: round(seconds, 3) for name, seconds in threads.items() if seconds >= 0.001}


def written_bytes(pid):
    return int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


def memory(pid, key):
    match = re.search(rf"^{key}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(match[1]) << 10 if match else 0


def system_busy_seconds():
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def crossed():
    """Packets and bytes that a recorder on vr sees: both directions."""
    base = "/sys/class/net/vr/statistics/"
    out = run(*in_namespace(RECORDER, "cat", *[base + f for f in ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")]))
    rx, tx, rx_bytes, tx_bytes = map(int, out.split())
    return rx + tx, rx_bytes + tx_bytes


def send(load, words, options):
    """Runs the load; returns the sender's CPU seconds."""
    before = os.times()
    if load.startswith("gso"):
        server = subprocess.Popen(in_namespace(RECORDER, *pinned("0", "iperf3", "-s", "-1")), stdout=subprocess.DEVNULL)
        time.sleep(0.4)
        run(*in_namespace(SENDER, *pinned("0", "iperf3", "-c", "10.77.0.2", "-t", str(options.seconds), *words)))
        server.wait(20)
    else:
        seconds = options.quiet_seconds if load.startswith("quiet") else options.seconds
        run(*in_namespace(SENDER, *pinned("0", options.sender, "vs", "--seconds", str(seconds), *words)))
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def lost_by_own_count(name, text, status, packets):
    """None where the recorder does not say."""
    if status:
        return sum(status["drops"][key] for key in ("packets", "disk_full_packets", "disk_error_packets"))
    if name == "tcpdump" and (m := re.search(r"(\d+) packets? dropped by kernel", text)):
        return int(m[1])
    if name == "dumpcap" and (m := re.search(r"received/dropped on interface.*?: (\d+)/(\d+)", text)):
        return int(m[2])
    if name == "netsniff-ng" and (m := re.search(r"(\d+)\s+packets incoming.*?(\d+)\s+packets (?:truncated|dropped)", text, re.S)):
        dropped = re.search(r"\(of those dropped\)|(\d+)\s+packets? dropped", text)
        return int(dropped[1]) if dropped and dropped[1] else packets - int(m[1])
    if name.startswith("stenotype") and (m := re.findall(r"packets=(\d+).*?drops=(\d+)", text)):
        return int(m[-1][1])
    return None


def bench_one(name, load, options, words=None):
    """`words` are the sender's, in place of the load's own."""
    with tempfile.TemporaryDirectory(prefix="lookback-bench-", dir=options.directory) as directory:
        for folder in ("PKT0", "IDX0"):
            os.makedirs(f"{directory}/{folder}")
        command = recorders(directory, options)[name]
        log = open(f"{directory}/log", "w+")
        process = subprocess.Popen(in_namespace(RECORDER, *pinned(str(os.cpu_count() - 1), *command)), stdout=log, stderr=log)
        try:
            time.sleep(1.5)
            if process.poll() is not None:
                log.seek(0)
                sys.exit(f"{name} does not run: {log.read()[-500:]}")
            start = cpu_seconds(process.pid), written_bytes(process.pid), system_busy_seconds(), crossed()
            sender_seconds = send(load, words or LOADS[load][1], options)
            time.sleep(11 if load.startswith("quiet") else 1.5)  # what is buffered gets written
            end = cpu_seconds(process.pid), written_bytes(process.pid), system_busy_seconds(), crossed()
            status = None
            if name in ("lookback", "other"):
                status = json.loads(run(*in_namespace(
                    RECORDER, sys.executable, "-c",
                    "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:7401/api/v1/status').read().decode())")))
            peak = memory(process.pid, "VmHWM")
            threads = cpu_by_thread(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.seek(0)
        text = log.read()
    packets, size = end[3][0] - start[3][0], end[3][1] - start[3][1]
    cpu = end[0] - start[0]
    # Buffered writers have not written all by now; for them the file's size would be the same figure.
    seconds = options.quiet_seconds if load.startswith("quiet") else options.seconds
    return {
        "recorder": name, "load": load, "packets": packets, "bytes": size, "cpu": cpu,
        "cpu_per_gb": cpu / size * GB, "cpu_per_mpkt": cpu / packets * 1e6, "core": cpu / seconds,
        "system_per_gb": (end[2] - start[2] - sender_seconds) / size * GB,
        "disk_per_packet": (end[1] - start[1]) / packets, "pcap_ratio": (end[1] - start[1]) / (size + 16 * packets),
        "lost": lost_by_own_count(name, text, status, packets), "peak_bytes": peak, "threads": threads,
    }


def set_up():
    for name in (SENDER, RECORDER):
        run("ip", "netns", "add", name)
        run(*in_namespace(name, "ip", "link", "set", "lo", "up"))
    run("ip", "link", "add", "vs", "netns", SENDER, "type", "veth", "peer", "name", "vr", "netns", RECORDER)
    for namespace, link, address in ((SENDER, "vs", "10.77.0.1/24"), (RECORDER, "vr", "10.77.0.2/24")):
        run(*in_namespace(namespace, "sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=1"))
        run(*in_namespace(namespace, "ip", "addr", "add", address, "dev", link))
        run(*in_namespace(namespace, "ip", "link", "set", link, "up"))


def tear_down():
    for name in (SENDER, RECORDER):
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def pairs(results, load, name, key):
    """Of each round, ours and the peer's."""
    def of(wanted):
        return [r[key] for r in results if r["load"] == load and r["recorder"] == wanted]
    return of("lookback"), of(name)


def table(results, names, loads):
    print(f"{'load':22} {'recorder':19} {'cpu s/GB':>9} {'cpu s/Mpkt':>10} {'system s/GB':>11} {'of a core':>9} "
          f"{'disk B/pkt':>10} {'x pcap':>7} {'lost':>8} {'peak MiB':>8} {'ratio':>7}")
    for load in loads:
        for name in names:
            rows = [r for r in results if r["load"] == load and r["recorder"] == name]
            if not rows:
                continue
            middle = {key: statistics.median(r[key] for r in rows)
                      for key in ("cpu_per_gb", "cpu_per_mpkt", "system_per_gb", "core", "disk_per_packet", "pcap_ratio")}
            ours, theirs = pairs(results, load, name, "cpu_per_gb")
            ratio = "" if name == "lookback" or not ours else f"{statistics.median(a / b for a, b in zip(ours, theirs)):.3f}"
            print(f"{LOADS[load][0]:22} {name:19} {middle['cpu_per_gb']:9.3f} {middle['cpu_per_mpkt']:10.3f} "
                  f"{middle['system_per_gb']:11.2f} {100 * middle['core']:7.1f} % {middle['disk_per_packet']:10.1f} "
                  f"{middle['pcap_ratio']:7.3f} {lost_share(rows):>8} {max(r['peak_bytes'] for r in rows) >> 20:8} {ratio:>7}")


def lost_share(rows):
    lost = [r["lost"] for r in rows]
    return "?" if None in lost else f"{100 * sum(lost) / sum(r['packets'] for r in rows):.2f} %"


def report(results, names, loads, options):
    rows = common.Results("capture")
    for load in loads:
        own = [r for r in results if r["load"] == load and r["recorder"] == "lookback"]
        if not own:
            continue
        text = LOADS[load][0]
        if not load.startswith("quiet"):
            for name in names:
                ours, theirs = pairs(results, load, name, "cpu_per_gb")
                if name == "lookback" or not theirs:
                    continue
                target = TARGETS.get((load, name))
                rows.add(f"{text}: CPU", ours, theirs, name, "s/GB", f"<= {target:.2f}" if target else "")
            peers = "; ".join(f"{name} {lost_share([r for r in results if r['load'] == load and r['recorder'] == name])}"
                              for name in names if name != "lookback")
            rows.add(f"{text}: packets lost", sum(r["lost"] for r in own), None, None, f"({peers})" if peers else "", "0")
            rows.add(f"{text}: CPU", [100 * r["core"] for r in own], None, None, "% of a core", "< 5" if load == "gso-max" else "")
        rows.add(f"{text}: bytes on disk", [r["pcap_ratio"] for r in own], None, None, "x pcap", f"<= {MOST_DISK}")
    peak = max((r["peak_bytes"] for r in results if r["recorder"] == "lookback"), default=0)
    rows.add("memory beyond the ring", peak / 2**20 - options.ring_mib, None, None, "MiB", f"<= {MOST_MEMORY}")


def recorder_arguments(description):
    """What the benchmarks of recorders have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", default=common.BINARY)
    parser.add_argument("--other", default="", help="another build of lookback, to be compared with this one")
    parser.add_argument("--sender", default=common.SENDER)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--quiet-seconds", type=int, default=30)
    parser.add_argument("--recorders", default="")
    parser.add_argument("--ring-mib", type=int, default=64, help="the same for everybody")
    parser.add_argument("--directory", default=os.environ.get("LOOKBACK_BENCH_DIR", "/var/tmp"), help="where the recorders write")
    return parser


def parse(parser):
    """The options, and the recorders that are here."""
    options = parser.parse_args()
    options.binary, options.sender = os.path.abspath(options.binary), os.path.abspath(options.sender)
    if os.geteuid() != 0:
        sys.exit("network namespaces and packet sockets need root")

    names = options.recorders.split(",") if options.recorders else list(recorders("", options))
    for name in list(names):
        program = recorders("", options)[name][0]
        if not shutil.which(program):
            print(f"{name}: {program} is not here, left out", file=sys.stderr)
            names.remove(name)
    return options, names


def main():
    parser = recorder_arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("LOOKBACK_BENCH_ROUNDS", "3")))
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--json", help="where the single runs go")
    options, names = parse(parser)
    loads = options.loads.split(",")

    results = []
    try:
        set_up()
        for round_number in range(options.rounds):
            for load in loads:
                for name in names:
                    # On a quiet link only what is on disk tells something, and that needs no peer.
                    if load.startswith("quiet") and (name not in ("lookback", "other") or round_number > 0):
                        continue
                    results.append(bench_one(name, load, options))
                    print(f"round {round_number + 1}: {json.dumps(results[-1])}", file=sys.stderr)
    finally:
        tear_down()
        if options.json:
            pathlib.Path(options.json).write_text("\n".join(json.dumps(r) for r in results) + "\n")
    table(results, names, loads)
    report(results, names, loads, options)


if __name__ == "__main__":
    main()
