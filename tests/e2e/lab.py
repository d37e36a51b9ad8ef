"""A small cluster on one machine: a namespace a node, a data network and a management network between them, one hub.

    n1 eth0 ─┐            ┌─ mgmt0 n1          data:       10.77.0.1x, fd77::1x
    n2 eth0 ─┼─ br-data   br-mgmt ─┼─ mgmt0 n2  management: 10.78.0.1x, the hub is 10.78.0.1
    n3 eth0 ─┘            └─ mgmt0 n3
"""
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import time

_counter = itertools.count()

HUB_ADDRESS = "10.78.0.1"


class CommandFailed(AssertionError):
    pass


def run(*args, check=True, timeout=120, text=True, **kwargs):
    if text:
        kwargs.setdefault("errors", "replace")
    result = subprocess.run([str(a) for a in args], capture_output=True, text=text, timeout=timeout, **kwargs)
    if check and result.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, args))} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def wait_for(condition, what, timeout=30, interval=0.05):
    """Polls until `condition()` is truthy and returns it. The time-out is a bound against hanging, not a claim."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(interval)


class Process:
    """A process of this test, with its output in a file."""

    def __init__(self, args, log, namespace=None, env=None):
        self.log = pathlib.Path(log)
        command = [str(a) for a in args]
        if namespace:
            command = ["ip", "netns", "exec", namespace] + command
        env = dict(os.environ if env is None else env)
        env.setdefault("LOOKBACK_STATE_DIR", str(self.log.parent / "state"))  # of this test's machines, not of the one it runs on
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

    @property
    def pid(self):
        return self.popen.pid  # `ip netns exec` execs: the pid is the program's own

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()

    def stop(self, timeout=20):
        if self.alive():
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"process {self.popen.args} did not stop on SIGTERM:\n{self.text()[-2000:]}")

    def text(self):
        return self.log.read_text(errors="replace")


class Node:
    def __init__(self, lab, index):
        self.lab = lab
        self.index = index
        self.name = f"n{index}"
        self.namespace = f"{lab.prefix}{self.name}"
        self.address = f"10.77.0.{10 + index}"
        self.address6 = f"fd77::{10 + index}"
        self.management = f"10.78.0.{10 + index}"
        self.data_dir = lab.directory / f"{self.name}-data"
        self.capture = None
        self.starts = 0

    def run(self, *args, **kwargs):
        kwargs["env"] = self.lab.environment(kwargs.get("env"))
        return run("ip", "netns", "exec", self.namespace, *args, **kwargs)

    def spawn(self, *args, log=None):
        process = Process(args, log or self.lab.directory / f"{self.name}-{next(_counter)}.log", self.namespace, self.lab.environment())
        self.lab.processes.append(process)
        return process

    @property
    def url(self):
        return f"http://{self.management}:7401"

    def start_capture(self, *extra, storage="256MiB", interface="eth0", wait=True, data_dir=None):
        args = [self.lab.binary, "capture", "--hub", self.lab.hub_url, "--node", self.name, "--listen",
                f"{self.management}:7401", "--insecure", "--data-dir", data_dir or self.data_dir, "--storage-size", storage]
        if "--token-file" not in extra:
            args += ["--token-file", self.lab.given_token_file()]  # the hub is another machine
        if interface:
            args += ["--interface", interface]
        self.starts += 1
        self.capture = self.spawn(*args, *extra, log=self.lab.directory / f"capture-{self.name}.log")
        if wait:
            self.wait_ready()
        return self.capture

    def wait_ready(self):
        def ready():
            if not self.capture.alive():
                raise AssertionError(f"capture on {self.name} ended:\n{self.capture.text()[-3000:]}")
            return self.run("curl", "-sf", "-o", "/dev/null", f"{self.url}/readyz", check=False).returncode == 0
        wait_for(ready, f"capture on {self.name} to be ready")

    def curl(self, *args, **kwargs):
        """Asks an API as a program does that knows the token."""
        return self.run("curl", "-sf", *self.lab.bearer, "-H", "Content-Type: application/json", *args, **kwargs)

    def api(self, path):
        """The answer of the node's own API to GET /api/v1/PATH."""
        return json.loads(self.curl(f"{self.url}/api/v1/{path}").stdout)

    def status(self):
        return self.api("status")


class Lab:
    def __init__(self, binary, directory, nodes=3, hub=True):
        self.binary = binary
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.prefix = f"lb{os.getpid()}x{next(_counter)}"
        self.processes = []
        self.namespaces = []
        self.hub = None
        self.hub_url = f"http://{HUB_ADDRESS}:7400"
        self.hub_data = self.directory / "hub-data"
        self.state = self.directory / "state"
        self.switch = self._namespace("sw")
        self.hub_namespace = self._namespace("hub")
        for bridge in ("br-data", "br-mgmt"):
            self._ip(self.switch, "link", "add", bridge, "type", "bridge")
            self._ip(self.switch, "link", "set", bridge, "up")
        self._join(self.hub_namespace, "mgmt0", "br-mgmt", "hm", [f"{HUB_ADDRESS}/24"])
        self.nodes = []
        for index in range(1, nodes + 1):
            node = Node(self, index)
            self._namespace(node.name)
            self._join(node.namespace, "eth0", "br-data", f"d{index}", [f"{node.address}/24", f"{node.address6}/64"])
            self._join(node.namespace, "mgmt0", "br-mgmt", f"m{index}", [f"{node.management}/24"])
            self.nodes.append(node)
        if hub:
            self.start_hub()

    def _namespace(self, name):
        full = self.prefix + name
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        self._ip(full, "link", "set", "lo", "up")
        return full

    def _ip(self, namespace, *args):
        return run("ip", "-n", namespace, *args)

    def add_pair(self, namespace, name, peer):
        """An interface, and its other end in the same namespace. Not every kernel has dummy devices."""
        self._ip(namespace, "link", "add", name, "type", "veth", "peer", "name", peer)

    def _join(self, namespace, interface, bridge, port, addresses):
        self._ip(self.switch, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", namespace)
        self._ip(self.switch, "link", "set", port, "master", bridge, "up")
        self._ip(namespace, "link", "set", interface, "up")
        for address in addresses:
            # nodad: an address that is tentative for two seconds helps nobody here
            self._ip(namespace, "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def start_hub(self, *extra, wait=True):
        # Without a token of its own the hub makes one; the clients on its machine find it.
        self.hub = Process([self.binary, "hub", "--listen", f"{HUB_ADDRESS}:7400", "--insecure", "--data-dir", self.hub_data, *extra],
                           self.directory / "hub.log", self.hub_namespace, self.environment())
        self.processes.append(self.hub)
        if wait:
            def ready():
                if not self.hub.alive():
                    raise AssertionError(f"the hub ended:\n{self.hub.text()[-3000:]}")
                return self.in_hub("curl", "-sf", "-o", "/dev/null", f"{self.hub_url}/readyz", check=False).returncode == 0
            wait_for(ready, "the hub to be ready")
        return self.hub

    def environment(self, env=None):
        return dict(os.environ if env is None else env, LOOKBACK_STATE_DIR=str(self.state))

    @property
    def token_file(self):
        return self.state / "token"

    def given_token_file(self):
        """The same, made here where no hub has made it yet."""
        if not self.token_file.exists():
            self.state.mkdir(exist_ok=True)
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(os.urandom(32).hex() + "\n")
        return self.token_file

    @property
    def bearer(self):
        """What curl needs for a daemon that takes the machine's token."""
        return ["-H", f"Authorization: Bearer {self.token_file.read_text().strip()}"]

    def in_hub(self, *args, **kwargs):
        kwargs["env"] = self.environment(kwargs.get("env"))
        return run("ip", "netns", "exec", self.hub_namespace, *args, **kwargs)

    def client_environment(self):
        """What a client at the hub's machine needs to find the hub."""
        return {"LOOKBACK_HUB": self.hub_url, "LOOKBACK_STATE_DIR": str(self.state)}

    def client(self, *args, **kwargs):
        return self.in_hub(self.binary, *args, env=dict(os.environ, **self.client_environment()), **kwargs)

    def client_json(self, *args):
        return json.loads(self.client(*args, "-o", "json").stdout)

    def wait_for_nodes(self, names=None):
        expected = set(names or [n.name for n in self.nodes])

        def registered():
            nodes = self.client_json("nodes")
            nodes = nodes["nodes"] if isinstance(nodes, dict) else nodes
            return expected <= {n["name"] for n in nodes if n["state"] == "up"}
        wait_for(registered, f"nodes {sorted(expected)} at the hub")

    def snapshot(self, name):
        return self.client_json("snapshot", "show", name)

    def wait_for_snapshot(self, name, timeout=120):
        return wait_for(lambda: (s := self.snapshot(name))["state"] in ("completed", "failed") and s, f"snapshot {name} to end", timeout)

    @property
    def archives(self):
        return self.hub_data / "snapshots"

    def close(self, show_logs=False):
        for process in self.processes:
            process.kill()
        for namespace in self.namespaces:
            run("ip", "netns", "del", namespace, check=False)
        if show_logs:
            for log in sorted(self.directory.glob("*.log")):
                text = log.read_text(errors="replace").strip()
                if text:
                    print(f"--- {log.name}\n{text[-4000:]}")


def leftovers(prefix):
    return re.findall(rf"^{prefix}\S*", run("ip", "netns", "list").stdout, re.M)
