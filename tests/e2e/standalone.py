"""A daemon for one machine in a namespace of its own choice, and its client there."""
import json
import os

from lab import Process, run, wait_for


class Standalone:
    """`lookback standalone` in a namespace of the lab. Its ports are that namespace's own."""

    def __init__(self, lab, namespace, *options, data=None):
        self.lab, self.namespace = lab, namespace
        self.data = data or lab.directory / f"standalone-{len(lab.processes)}"
        self.process = Process([lab.binary, "standalone", "--data-dir", self.data, "--storage-size", "64MiB", *options],
                               lab.directory / f"{self.data.name}.log", namespace, lab.environment())
        lab.processes.append(self.process)

        def ready():
            assert self.process.alive(), self.process.text()
            return "ready: hub on" in self.process.text()
        wait_for(ready, "the daemon to be ready")
        wait_for(lambda: any(n["state"] == "up" for n in json.loads(self.client("nodes", "-o", "json").stdout)["nodes"]), "its node")

    def run(self, *args, **options):
        return run("ip", "netns", "exec", self.namespace, *args, **options)

    def client(self, *args, **options):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOOKBACK_")}
        return self.run(self.lab.binary, *args, env=self.lab.environment({**environment, "HOME": str(self.lab.directory)}), **options)

    def status(self):
        return json.loads(self.run("curl", "-sf", *self.lab.bearer, "http://127.0.0.1:7401/api/v1/status").stdout)

    def packets(self):
        return self.status()["packets"]

    def snapshot(self, name):
        """A snapshot of all that was recorded up to now."""
        self.client("snapshot", "create", name, "--last", "10m", "--wait", check=False)
        return json.loads(self.client("snapshot", "show", name, "-o", "json").stdout)

    def export(self, name, *options):
        path = self.lab.directory / f"{name}-{len(list(self.lab.directory.iterdir()))}.pcapng"
        self.client("snapshot", "pcap", name, "-o", path, *options, check=False)
        assert path.exists()
        return path

    def stop(self):
        self.process.stop()
