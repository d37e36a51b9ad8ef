"""tcpdump on each interface beside ours: it gets the same stamps from the kernel, so files are compared to the nanosecond."""
import collections
import pathlib
import re
import signal
import subprocess
import sys
import time

import capfile
from lab import Process, run, wait_for

HERE = pathlib.Path(__file__).resolve().parent

COUNTS = re.compile(r"(\d+) packets? captured, (\d+) packets? received by filter")


class Tcpdump:
    """A tcpdump that has begun to listen, and ends without losing anything."""

    def __init__(self, process, what):
        self.process, self.what = process, what
        wait_for(lambda: "listening on" in process.text(), what)

    def _counts(self):
        """What tcpdump has written and what the kernel has handed over to it, by its own word."""
        seen = len(COUNTS.findall(self.process.text()))
        self.process.signal(signal.SIGUSR1)
        wait_for(lambda: len(COUNTS.findall(self.process.text())) > seen, f"the counts of {self.what}")
        return COUNTS.findall(self.process.text())[-1]

    def _drain(self):
        """What waits in tcpdump's open block is lost when tcpdump is told to end. All is written where both counts agree; packets that came before
        its filter was attached are counted once only, so counts that have stopped moving for longer than a block stays open will do."""
        before, still_since = None, time.monotonic()

        def drained():
            nonlocal before, still_since
            counts = self._counts()
            if counts != before:
                before, still_since = counts, time.monotonic()
            return counts[0] == counts[1] or time.monotonic() - still_since > 2.5
        wait_for(drained, f"{self.what} to write what it has", timeout=60, interval=0.2)

    def stop(self):
        self._drain()
        self.process.signal(signal.SIGINT)
        self.process.popen.wait(30)
        dropped = re.search(r"(\d+) packets dropped by kernel", self.process.text())
        assert dropped and int(dropped[1]) == 0, f"the oracle itself lost packets: {self.process.text()}"


class Oracle:
    """tcpdump on one interface of one node."""

    def __init__(self, node, interface, expression="", snaplen=0):
        """`inbound` and `outbound` alone are asked for as a direction. As filters they fail at first: libpcap judges what came into its
        blocks before the filter was attached by itself, and for as long as that lasts cannot see the direction and takes nothing."""
        self.node, self.interface = node, interface
        self.file = node.lab.directory / f"oracle-{node.name}-{interface}-{len(node.lab.processes)}.pcap"
        # root keeps writing as root (-Z); a large buffer, so that the oracle itself loses nothing
        command = ["tcpdump", "-i", interface, "-w", self.file, "--time-stamp-precision=nano", "-n", "-B", "131072", "-Z", "root",
                   "-s", str(snaplen)]
        if expression in ("inbound", "outbound"):
            command += ["-Q", expression.removesuffix("bound")]
        elif expression:
            command.append(expression)
        self.tcpdump = Tcpdump(node.spawn(*command, log=f"{self.file}.log"), f"tcpdump on {node.name} {interface}")

    def stop(self):
        self.tcpdump.stop()
        self.packets = capfile.read(self.file)[1]

    def filtered(self, expression):
        """The packets that tcpdump's own filter finds in its own file."""
        data = subprocess.run(["tcpdump", "-r", self.file, "-w", "-", "--time-stamp-precision=nano", expression], capture_output=True, check=True).stdout
        return capfile.read_pcap(data)[1]


def serve_everywhere(lab):
    for node in lab.nodes:
        process = node.spawn(sys.executable, HERE / "traffic.py", "serve")
        wait_for(lambda p=process: "serving" in p.text(), f"servers on {node.name}")


def start_senders(lab, seed, seconds, pps=2000, addresses=None):
    senders = []
    for node in lab.nodes:
        targets = addresses(node) if addresses else [a for n in lab.nodes if n is not node for a in (n.address, n.address6)]
        senders.append(node.spawn(sys.executable, HERE / "traffic.py", "send", seed + node.index, seconds, pps, *targets))
    return senders


def start_tagged(lab, seed, seconds, pps=200):
    return [node.spawn(sys.executable, HERE / "traffic.py", "tagged", seed + node.index, seconds, pps, "eth0", node.address) for node in lab.nodes]


def wait_senders(senders, timeout=120):
    for sender in senders:
        assert sender.popen.wait(timeout) == 0, sender.text()


def per_interface(path):
    """{(node, interface): [(time, data, length)…]} of an export, in file order."""
    interfaces, packets = capfile.read(path)
    keys = []
    for interface in interfaces:
        node = re.search(r"node (\S+)", interface.description)
        assert node, f"no node in the description of interface {interface}"
        keys.append((node[1], interface.name.rsplit("/", 1)[-1]))
    result = collections.defaultdict(list)
    for p in packets:
        result[keys[p.interface]].append((p.time_ns, p.data, p.length))
    times = [p.time_ns for p in packets]
    assert times == sorted(times), "the export is not in time order"
    return result


# Most packets have the very same stamp in both recordings. Where the kernel clears it on the way out (TCP), each socket that
# listens asks the clock itself, some hundred nanoseconds apart: those are allowed this much.
TOLERANCE_NS = 5_000_000


def compare(got, packets, from_ns, to_ns, what, lost=0):
    """`got` is what `packets` (the oracle's) has in [from, to): each once, byte for byte, and nothing else. Packets within the tolerance of an
    edge of the window may be on either side of it; `lost` is how many the node's gaps tell to be missing. Returns how many were compared."""
    def counted(margin):
        return collections.Counter((p.data, p.length) for p in packets if from_ns - margin <= p.time_ns < to_ns + margin)
    have = collections.Counter((data, length) for _, data, length in got)
    extra = list((have - counted(TOLERANCE_NS)).elements())
    missing = list((counted(-TOLERANCE_NS) - have).elements())
    show = lambda rows: [(len(d), n, d[:40].hex()) for d, n in rows[:3]]
    assert not extra and len(missing) <= lost, (f"{what}: {len(got)} packets; {len(missing)} missing {show(missing)}, "
                                       f"{len(extra)} that never were {show(extra)}")
    assert all(from_ns <= t < to_ns for t, _, _ in got), f"{what}: packets outside the window"
    times = collections.defaultdict(list)
    for p in packets:
        times[(p.data, p.length)].append(p.time_ns)
    for t, data, length in got:
        assert any(abs(t - other) <= TOLERANCE_NS for other in times[(data, length)]), f"{what}: a packet at a wrong time"
    return len(got)


def told_losses(snapshot, node):
    """How many packets the gaps of a node in a snapshot count."""
    return sum(g["packets"] for n in snapshot["nodes"] if n["name"] == node for g in n["gaps"])


def judge_capture_file(path):
    """capinfos, tshark, tcpdump and editcap read the file without a complaint."""
    for command in (["capinfos", path], ["tshark", "-n", "-r", path, "-c", "2000"], ["editcap", path, "/dev/null"]):
        result = run(*command)
        noise = [line for line in result.stderr.splitlines() if line.strip() and "Running as user" not in line]
        assert not noise, f"{command[0]} complains: {noise[:5]}"
