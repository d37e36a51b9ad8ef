"""A cluster that faults happen to: three nodes with numbered traffic and tcpdump beside the recorder, a hub, and disks of their own."""
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import time

import numbered
from fault_schedule import TAKES
from lab import HUB_ADDRESS, run, wait_for
from oracle import Oracle
from test_snapshot import rfc3339

RATE = 1500           # numbered packets a second on each node
STORAGE_MIB = 96
EVENTS_MIB = 16
RING_MIB = 16
PAGE = 4096
BLOCK_MAGIC, INDEX_MAGIC = struct.pack("<I", 0x4B4C424F), b"LBKINDX\n"

# A command that still runs this long after its deadline hangs. The bound is for a busy machine.
PATIENCE = 150


class Command:
    """A client command under way."""

    def __init__(self, lab, arguments, deadline=0):
        self.arguments, self.deadline = [str(a) for a in arguments], deadline
        self.began = time.monotonic()
        self.popen = subprocess.Popen(["ip", "netns", "exec", lab.hub_namespace, lab.binary, *self.arguments], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **lab.client_environment()))

    def finish(self):
        """Waits for the end. Returns the exit status; None for a command that hangs, which is ended."""
        try:
            self.out, self.err = self.popen.communicate(timeout=max(1.0, self.began + self.deadline + PATIENCE - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.out, self.err = self.popen.communicate()
            return None
        return self.popen.returncode


class Cluster:
    def __init__(self, lab, seed, log):
        self.lab, self.seed, self.log = lab, seed, log
        self.nodes = {node.name: node for node in lab.nodes}
        self.mounts, self.senders, self.oracles = [], [], {}
        self.created, self.commands, self.exports = {}, [], []
        self.removed = set()
        self.interfaces = 0
        self.began = time.monotonic()
        self.peak_memory = {name: 0 for name in self.nodes}

    def say(self, text):
        self.log.write(f"{time.monotonic() - self.began:6.2f} s  {rfc3339(time.time_ns())[11:23]}  {text}\n")
        self.log.flush()

    # --- up and down

    def start(self):
        lab = self.lab
        for name, size in [("hub", 2000)] + [(name, STORAGE_MIB + EVENTS_MIB + 48) for name in self.nodes]:
            disk = lab.directory / f"disk-{name}"
            disk.mkdir()
            run("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", disk)
            self.mounts.append(disk)
        lab.hub_data = lab.directory / "disk-hub" / "data"
        lab.start_hub()
        for node in self.nodes.values():
            node.data_dir = lab.directory / f"disk-{node.name}" / "data"
            lab.add_pair(node.namespace, "load0", "load1")
            for interface in ("load0", "load1"):
                node.run("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
                node.run("ip", "link", "set", interface, "up")
            self.start_capture(node)
        for node in self.nodes.values():
            node.wait_ready()
        lab.wait_for_nodes()
        self.oracles = {name: Oracle(node, "load1") for name, node in self.nodes.items()}
        self.start_ns = time.time_ns()
        sender = pathlib.Path(numbered.__file__)
        self.senders = [node.spawn(sys.executable, sender, "load0", self.seed + node.index, 1 << 40, RATE) for node in self.nodes.values()]

    def start_capture(self, node):
        node.start_capture("--event-storage-size", f"{EVENTS_MIB}MiB", "--ring-size", f"{RING_MIB}MiB", interface="load1,extra*",
                           storage=f"{STORAGE_MIB}MiB", wait=False)

    def stop_traffic(self):
        for sender in self.senders:
            assert sender.alive(), f"a sender ended: {sender.text()}"
            sender.stop()
        self.end_ns = time.time_ns()
        for oracle in self.oracles.values():
            oracle.stop()

    def close(self):
        for mount in self.mounts:
            run("umount", "-l", mount, check=False)

    # --- what faults do. Each returns what heals it, or nothing.

    def begin(self, step):
        self.say(f"{step.fault} {step.target}" + (f" for {step.lasts:.2f} s" if step.lasts else ""))
        heal = getattr(self, step.fault)(step.target, random.Random(step.dice))
        return heal and (lambda: (self.say(f"heal {step.fault} {step.target}"), heal()))

    def _note_memory(self, name):
        """The most that a recorder has had in memory, without what it only maps from its own file."""
        try:
            status = pathlib.Path(f"/proc/{self.nodes[name].capture.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        fields = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.endswith(" kB")}
        if "VmHWM" in fields:
            self.peak_memory[name] = max(self.peak_memory[name], (fields["VmHWM"] - fields["RssFile"]) << 10)

    def kill_capture(self, name, rng):
        self._note_memory(name)
        self.nodes[name].capture.kill()
        return lambda: self.start_capture(self.nodes[name])

    def end_capture(self, name, rng):
        self._note_memory(name)
        # Not waited for: what comes meanwhile happens to a daemon that is ending.
        self.nodes[name].capture.signal(signal.SIGTERM)

        def heal():
            self.nodes[name].capture.stop(timeout=60)
            self.start_capture(self.nodes[name])
        return heal

    def stop_capture(self, name, rng):
        self.nodes[name].capture.signal(signal.SIGSTOP)
        return lambda: self.nodes[name].capture.signal(signal.SIGCONT)

    def damage_segment(self, name, rng):
        """As a bad sector or a lost tail would, while the recorder is down."""
        self._note_memory(name)
        node = self.nodes[name]
        node.capture.kill()
        segments = sorted((node.data_dir / "packets").glob("*.lbs"))
        if segments:
            path = rng.choice(segments)
            data = path.read_bytes()
            pages = [at for at in range(0, len(data) - PAGE + 1, PAGE) if any(data[at:at + PAGE])]
            how = rng.choice(("zeros", "noise", "block", "cut"))
            with open(path, "r+b") as file:
                if how == "cut":
                    file.truncate(rng.randrange(len(data) + 1))
                elif pages:
                    blocks = [at for at in pages if data[at + 8:at + 12] == BLOCK_MAGIC]
                    at = rng.choice(blocks if how == "block" and blocks else pages)
                    file.seek(at)
                    if how == "block":  # a byte of a block's header, which its checksum covers
                        offset = rng.randrange(64)
                        file.seek(at + offset)
                        file.write(bytes([data[at + offset] ^ (1 << rng.randrange(8))]))
                    else:
                        file.write(bytes(PAGE) if how == "zeros" else rng.randbytes(PAGE))
            self.say(f"damaged {name} {path.name}: {how}, {len(data)} bytes")
        return lambda: self.start_capture(node)

    def cut_network(self, name, rng):
        port = f"m{self.nodes[name].index}"
        self.lab._ip(self.lab.switch, "link", "set", port, "down")
        return lambda: self.lab._ip(self.lab.switch, "link", "set", port, "up")

    def slow_network(self, name, rng):
        node, rate = self.nodes[name], rng.choice(("256kbit", "2mbit", "16mbit"))
        node.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", rate, "burst", "32kb", "latency", "400ms")
        return lambda: node.run("tc", "qdisc", "del", "dev", "mgmt0", "root")

    def fill_disk(self, name, rng):
        disk = self.lab.directory / f"disk-{name}"
        space = os.statvfs(disk)
        size = space.f_bavail * space.f_frsize - rng.choice((0, 100_000, 3 << 20))
        if size > 0:
            run("fallocate", "-l", size, disk / "foreign", check=False)
        return lambda: (disk / "foreign").unlink(missing_ok=True)

    def new_interface(self, name, rng):
        self.interfaces += 1
        self.lab.add_pair(self.nodes[name].namespace, f"extra{self.interfaces}", f"peer{self.interfaces}")

    def kill_hub(self, name, rng):
        self.lab.hub.kill()
        return lambda: self.lab.start_hub(wait=False)

    def stop_hub(self, name, rng):
        self.lab.hub.signal(signal.SIGSTOP)
        return lambda: self.lab.hub.signal(signal.SIGCONT)

    # --- what users do meanwhile

    def command(self, *arguments, deadline=0):
        command = Command(self.lab, arguments, deadline)
        self.commands.append(command)
        return command

    def create(self, name, rng, window=None):
        name = f"s{len(self.created)}"
        deadline = rng.choice((3, 5, 10))
        if window is None:
            reach = rng.uniform(1, 25)
            window = ["--last", f"{reach:.3f}s"]
            if rng.random() < 0.3:
                now = time.time_ns()
                window = ["--from", rfc3339(now - int(reach * 1e9)), "--to", rfc3339(now - int(reach * rng.uniform(0, 0.8) * 1e9))]
        chosen = ["--node", rng.choice(("n1", "n2", "n*"))] if rng.random() < 0.2 else []
        # A client that does not wait still ends only once the hub has taken the order.
        wait = ["--wait"] if rng.random() < 0.85 else []
        self.created[name] = self.command("snapshot", "create", name, *window, *chosen, "--deadline", f"{deadline}s", *wait, deadline=deadline)

    def cancel(self, name, rng):
        if self.created:
            self.command("snapshot", "cancel", rng.choice(sorted(self.created)))

    def delete(self, name, rng):
        if self.created:
            chosen = rng.choice(sorted(self.created))
            self.removed.add(chosen)
            self.command("snapshot", "delete", chosen, "--yes")

    def export(self, name, rng):
        if self.created:
            chosen = rng.choice(sorted(self.created))
            path = self.lab.directory / f"early-{len(self.exports)}.pcapng"
            self.exports.append((chosen, path, self.command("snapshot", "pcap", chosen, "-o", path)))

    # --- the course of it all

    def run(self, steps):
        """Carries out the steps, each at its time or as soon after it as the machine lets us, and heals what is healed by time.

        On a machine that is late, a fault may begin before the one that had its resource was healed. That one is healed first.
        """
        steps, heals = list(steps), {}  # heals: by (target, resource), when and how
        began = time.monotonic()
        while steps or heals:
            due = min(heals, key=lambda resource: heals[resource][0], default=None)
            if not steps or (due and heals[due][0] <= steps[0].at):
                at, heal = heals.pop(due)
                self._sleep_until(began + at)
                heal()
                continue
            step = steps.pop(0)
            self._sleep_until(began + step.at)
            resource = step.target, TAKES[step.fault]
            if resource in heals:
                heals.pop(resource)[1]()
            if heal := self.begin(step):
                heals[resource] = time.monotonic() - began + step.lasts, heal

    @staticmethod
    def _sleep_until(moment):
        time.sleep(max(0.0, moment - time.monotonic()))

    def wait_until_healed(self):
        for node in self.nodes.values():
            node.wait_ready()
        wait_for(lambda: self.lab.in_hub("curl", "-sf", "-o", "/dev/null", f"{self.lab.hub_url}/readyz", check=False).returncode == 0, "the hub")
        self.lab.wait_for_nodes()
        for name in self.nodes:
            self._note_memory(name)
