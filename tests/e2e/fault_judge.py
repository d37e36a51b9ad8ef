"""What must hold after any schedule of faults, judged from outside. Each rule adds a sentence for each time that it was broken."""
import bisect
import calendar
import json
import re
import time

import numbered
from fault_cluster import EVENTS_MIB, RING_MIB, STORAGE_MIB
from lab import run, wait_for
from oracle import TOLERANCE_NS, per_interface

MEMORY_BEYOND_RING = 96 << 20
# A snapshot that is under way when all is healed has this long to end, and nodes to let go of what was frozen. Bounds for a busy machine.
SETTLE = 180


def ns_of(text):
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", text)
    return calendar.timegm(time.strptime(parts[1], "%Y-%m-%dT%H:%M:%S")) * 10**9 + int((parts[2] or "0").ljust(9, "0"))


class Judge:
    def __init__(self, cluster):
        self.cluster, self.lab = cluster, cluster.lab
        self.broken = []
        self.snapshots = self.packets = self.missing = self.gaps = 0

    def blame(self, text):
        self.broken.append(text)
        self.cluster.say(f"BROKEN {text}")

    def all(self):
        self.commands()
        self.daemons()
        names = self.ended_snapshots()
        self.nothing_left()
        for name in names:
            self.snapshot(name)
        self.early_exports()

    # --- commands and daemons

    def commands(self):
        """No command outlives its deadline, and each ends with a status that the README names."""
        for command in self.cluster.commands:
            status, line = command.finish(), " ".join(command.arguments)
            if status is None:
                self.blame(f"'{line}' hangs")
            elif status not in (0, 1, 3, 4, 5):
                self.blame(f"'{line}' ended with {status}: {command.err.decode(errors='replace')[-300:]}")

    def daemons(self):
        """All run, none said that it broke, the recorders kept to their memory and their disk."""
        for name, process in [("hub", self.lab.hub)] + [(n, node.capture) for n, node in self.cluster.nodes.items()]:
            if not process.alive():
                self.blame(f"{name} ended by itself: {process.text()[-300:]}")
        for log in self.lab.directory.glob("*.log"):
            for line in re.findall(r".*(?:terminate called|[Aa]ssertion|Sanitizer|Segmentation|stack smashing).*", log.read_text(errors="replace")):
                self.blame(f"{log.name}: {line}")
        for name, peak in self.cluster.peak_memory.items():
            if peak > (RING_MIB << 20) + MEMORY_BEYOND_RING:
                self.blame(f"the recorder of {name} had {peak >> 20} MiB in memory")
            used = sum(info.st_blocks * 512 for info in {s.st_ino: s for s in (p.lstat() for p in self.cluster.nodes[name].data_dir.rglob("*"))}.values())
            if used > (STORAGE_MIB + EVENTS_MIB) << 20:
                self.blame(f"{name} has {used >> 20} MiB on disk")

    def ended_snapshots(self):
        """None stays under way once all is healed. Returns the completed ones."""
        listed = lambda: {s["name"]: s for s in self.list()}
        wait_for(lambda: all(s["state"] in ("completed", "failed") for s in listed().values()), "all snapshots to end", timeout=SETTLE)
        names = listed()
        for name, command in self.cluster.created.items():
            removed = name in self.cluster.removed or any(c.arguments[1:3] == ["cancel", name] for c in self.cluster.commands)
            if command.popen.returncode in (0, 3) and name not in names and not removed:
                self.blame(f"{name} was made and is not in the list")
        return [name for name, s in names.items() if s["state"] == "completed"]

    def list(self):
        snapshots = self.lab.client_json("snapshot", "list")
        return snapshots["snapshots"] if isinstance(snapshots, dict) else snapshots

    def nothing_left(self):
        """Nothing stays on a node once its snapshot has ended, and no folder of a job at the hub."""
        for name, node in self.cluster.nodes.items():
            try:
                wait_for(lambda n=node: not n.api("freezes")["freezes"], f"{name} to let go", timeout=SETTLE, interval=0.5)
            except AssertionError:
                self.blame(f"{name} still holds {[f['id'] for f in node.api('freezes')['freezes']]}")
        failed = {s["name"] for s in self.list() if s["state"] == "failed"}
        jobs = self.lab.hub_data / "jobs"
        left = {p.name for p in jobs.iterdir()} - failed if jobs.exists() else set()
        if left:
            self.blame(f"the hub keeps folders of jobs that have ended: {sorted(left)}")

    # --- snapshots

    def snapshot(self, name):
        self.snapshots += 1
        archive = self.lab.archives / f"{name}.tar.zst"
        for what in (name, archive):
            verified = self.lab.client("snapshot", "verify", what, check=False)
            if verified.returncode != 0:
                self.blame(f"verify of {what} ends with {verified.returncode}: {verified.stderr}")
        listing = run("tar", "--zstd", "-tf", archive, check=False)
        if listing.returncode != 0 or listing.stdout.split()[-1] != "manifest.json":
            return self.blame(f"tar does not read {name}: {listing.stderr}")
        manifest = json.loads(run("tar", "--zstd", "-xOf", archive, "manifest.json").stdout)
        gaps = [gap for node in manifest["nodes"] for gap in node["gaps"]]
        self.gaps += len(gaps)
        if manifest["complete"] == bool(gaps):
            self.blame(f"{name} is called {'complete' if manifest['complete'] else 'incomplete'} with {len(gaps)} gaps")
        made = self.cluster.created.get(name)
        waited = made is not None and "--wait" in made.arguments
        if waited and made.popen.returncode in (0, 3) and (made.popen.returncode == 0) != manifest["complete"]:
            self.blame(f"create of {name} ended with {made.popen.returncode}, its manifest says complete={manifest['complete']}")
        path = self.lab.directory / f"{name}.pcapng"
        exported = self.lab.client("snapshot", "pcap", name, "-o", path, check=False)
        if exported.returncode != (0 if manifest["complete"] else 3):
            return self.blame(f"export of {name} ends with {exported.returncode}: {exported.stderr}")
        packets = per_interface(path)
        window = ns_of(manifest["window"]["from"]), ns_of(manifest["window"]["to"])
        for node in manifest["nodes"]:
            self.node(f"{name}/{node['name']}", node, packets.get((node["name"], "load1"), []), window)

    def node(self, who, node, got, window):
        """Each packet that tcpdump saw is there once, in its order and byte for byte, or a gap tells of it."""
        truth = self.cluster.oracles[node["name"]].packets
        frames = numbered.templates(self.cluster.seed + self.cluster.nodes[node["name"]].index)
        numbers = []
        for time_ns, data, _ in got:
            number = numbered.number_of(data)
            numbers.append(number)
            if data != numbered.frame(frames, number):
                return self.blame(f"{who}: packet {number} is not what was sent")
            if not window[0] <= time_ns < window[1]:
                return self.blame(f"{who}: packet {number} is outside of the window")
        if any(b <= a for a, b in zip(numbers, numbers[1:])):
            return self.blame(f"{who}: packets twice or out of order")
        self.packets += len(numbers)
        have = set(numbers)
        first = bisect.bisect_left(truth, window[0] + TOLERANCE_NS, key=lambda p: p.time_ns)
        end = bisect.bisect_left(truth, window[1] - TOLERANCE_NS, key=lambda p: p.time_ns)
        missing = [(p.time_ns, n) for p in truth[first:end] if (n := numbered.number_of(p.data)) not in have]
        self.missing += len(missing)
        gaps = [(ns_of(g["start"]), ns_of(g["end"])) for g in node["gaps"]]
        # The recorder and tcpdump may have stamps of their own for a packet, some hundred nanoseconds apart.
        untold = [(t, n) for t, n in missing if not any(start - 1000 <= t <= end + 1000 for start, end in gaps)]
        if untold:
            self.blame(f"{who}: {len(untold)} of {end - first} packets are missing and no gap tells of it, {untold[0][1]} to {untold[-1][1]} at "
                       f"{untold[0][0]} to {untold[-1][0]}; status {node['status']}, reason {node.get('reason')!r}, gaps {gaps}, window {window}")
        elif missing and node["status"] == "complete":
            self.blame(f"{who}: complete, and {len(missing)} packets are missing")

    def early_exports(self):
        """An export made in the middle of it all that was whole is what an export gives now."""
        for name, path, command in self.cluster.exports:
            now = self.lab.directory / f"{name}.pcapng"
            if command.popen.returncode in (0, 3) and now.exists() and path.read_bytes() != now.read_bytes():
                self.blame(f"an early export of {name} differs from one made later")
