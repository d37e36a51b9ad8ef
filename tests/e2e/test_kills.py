"""The client and the standalone role, killed at random moments: what was whole stays whole, and nothing half-made takes a name."""
import collections
import json
import os
import subprocess
import time

import pytest

from lab import wait_for
from oracle import Oracle, per_interface, serve_everywhere, start_senders, wait_senders
from test_faults import seeded
from test_snapshot import rfc3339


@pytest.mark.timeout(120)
def test_kill_client_again_and_again(make_lab, tmp_path):
    """The hub goes on without whoever ordered; a file of a killed client is there whole or not at all."""
    rng = seeded()
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    start = time.time_ns()
    wait_senders(start_senders(lab, 4, seconds=3, pps=3000))
    window = ["--from", rfc3339(start), "--to", rfc3339(time.time_ns())]
    spawn = lambda *args: subprocess.Popen(["ip", "netns", "exec", lab.hub_namespace, lab.binary, "snapshot", *map(str, args)],
                                           env=dict(os.environ, **lab.client_environment()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_after(process, seconds):
        time.sleep(seconds)
        process.kill()
        process.wait()

    # As long as ordering and waiting takes here, so that the kills come at every stage of it.
    began = time.monotonic()
    lab.client("snapshot", "create", "whole", *window, "--wait", check=False)
    takes = time.monotonic() - began
    for i in range(8):
        kill_after(spawn("create", f"killed-{i}", *window, "--wait"), rng.uniform(0, takes))
    for name in lab.client("snapshot", "list", "-o", "name").stdout.split():
        snapshot = lab.wait_for_snapshot(name)
        assert snapshot["state"] == "completed", snapshot
        lab.client("snapshot", "verify", name)
    assert lab.hub.alive()

    archive, exported = (lab.archives / "whole.tar.zst").read_bytes(), tmp_path / "whole.pcapng"
    began = time.monotonic()
    lab.client("snapshot", "pcap", "whole", "-o", exported, check=False)
    takes = time.monotonic() - began
    whole = {"download": archive, "pcap": exported.read_bytes()}
    finished = collections.Counter()
    for i in range(12):
        command = rng.choice(sorted(whole))
        out = tmp_path / f"out-{i}"
        kill_after(spawn(command, "whole", "-o", out), rng.uniform(0, 1.5 * takes))
        if out.exists():
            assert out.read_bytes() == whole[command], f"{command} left a part under the name that was asked for"
            finished[command] += 1
    print(f"{sum(finished.values())} of 12 files were whole before the kill")
    lab.client("snapshot", "verify", "whole")


@pytest.mark.timeout(150)
def test_kill_standalone_again_and_again(make_lab, tmp_path):
    """Hub and capture die together: archives stay, sealed packets stay, snapshots under way are resumed."""
    rng = seeded()
    lab = make_lab(nodes=2, hub=False)
    node = lab.nodes[0]
    data = tmp_path / "standalone"
    client = lambda *args, **kwargs: node.run(lab.binary, *args, **kwargs)

    def start():
        process = node.spawn(lab.binary, "standalone", "--data-dir", data, "--storage-size", "1GiB", log=lab.directory / "standalone.log")
        # The hub remembers its node as up from before: that it records again it says itself.
        for port in (7400, 7401):
            wait_for(lambda p=port: node.run("curl", "-sf", f"http://127.0.0.1:{p}/readyz", check=False).returncode == 0, "standalone")
        wait_for(lambda: " up" in client("nodes", check=False).stdout, "its node")
        return process

    process = start()
    serve_everywhere(lab)
    oracle = Oracle(node, "eth0")
    began = time.time_ns()
    senders = start_senders(lab, 8, seconds=11, pps=200)
    outages, archives = [], {}
    for i in range(3):
        time.sleep(rng.uniform(0.5, 2.0))
        sealed = time.time_ns()  # what came before is in a sealed segment once the order is answered
        client("snapshot", "create", f"s{i}", "--last", "2s")
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        for path in data.rglob("*.tar.zst"):  # published before the kill: whole, and as it is for ever
            archives.setdefault(path, path.read_bytes())
        process = start()
        outages.append((sealed, time.time_ns()))
    wait_senders(senders)
    time.sleep(0.5)
    end = time.time_ns()
    created = client("snapshot", "create", "all", "--from", rfc3339(began), "--to", rfc3339(end), "--wait", check=False)
    assert created.returncode == 3, (created.returncode, created.stderr)  # the outages are told
    oracle.stop()
    for path, content in archives.items():
        assert path.read_bytes() == content
    names = client("snapshot", "list", "-o", "name").stdout.split()
    assert "all" in names and len(names) >= len(archives) + 1
    for name in names:
        wait_for(lambda n=name: '"completed"' in client("snapshot", "show", n, "-o", "json").stdout, f"{name} to be completed")
        client("snapshot", "verify", name)
    client("snapshot", "pcap", "all", "-o", tmp_path / "all.pcapng", check=False)
    got = [packets for (_, interface), packets in per_interface(tmp_path / "all.pcapng").items() if interface == "eth0"][0]
    have = collections.Counter((data, length) for _, data, length in got)
    crossed = collections.Counter((p.data, p.length) for p in oracle.packets)
    assert not have - crossed, "packets that never were, or twice"
    lost_around = lambda t: any(a - 10**7 <= t < b for a, b in outages)
    outside = collections.Counter((p.data, p.length) for p in oracle.packets if began + 10**7 <= p.time_ns < end - 10**7 and not lost_around(p.time_ns))
    print(f"{sum(crossed.values())} packets, {sum((crossed - have).values())} lost to 3 kills, all {sum(outside.values())} sealed or recorded outside of them there")
    shown = json.loads(client("snapshot", "show", "all", "-o", "json").stdout)
    told = sum(gap["packets"] for one in shown["nodes"] for gap in one["gaps"])  # by a machine that was too busy
    missing = sum((outside - have).values())
    assert outside and missing <= told, f"{missing} packets missing, {told} told"
    assert process.stop() == 0
