"""What processes and sockets do, as a snapshot has it, held against what the processes say themselves."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from cgroups import TREES, cgroup_mounts, make_cgroup, remove_cgroups
from lab import Process, run, wait_for

ACTOR = pathlib.Path(__file__).with_name("socket_actor.py")
PORT = 18080

# Takes what comes on each connection to its end.
SINK = f"""
import socket, threading
s = socket.create_server(("", {PORT}))
print("ready", flush=True)
def take(c):
    while c.recv(100): pass
while True: threading.Thread(target=take, args=(s.accept()[0],), daemon=True).start()
"""


def os_events(lab, name, tmp_path, *window):
    """Takes a snapshot and returns the lines of its os-events members, member by member."""
    lab.client("snapshot", "create", name, *(window or ("--last", "2m")), "--wait", check=False)
    assert lab.wait_for_snapshot(name)["state"] == "completed"
    folder = tmp_path / name
    folder.mkdir()
    run("tar", "--zstd", "-xf", lab.archives / f"{name}.tar.zst", "-C", folder)
    assert run(lab.binary, "snapshot", "verify", lab.archives / f"{name}.tar.zst").returncode == 0
    members = {}
    for path in sorted(folder.glob("nodes/*/os-events/*.ndjson")):
        members.setdefault(path.parts[-3], []).append([json.loads(line) for line in path.read_text().splitlines()])
    manifest = json.loads((folder / "manifest.json").read_text())
    return members, manifest


def check_member(lines):
    """The form that lookback-archive(5) gives a member."""
    head = lines[0]
    assert head["kind"] == "checkpoint" and head["version"] == 1
    counts = [("cgroup", head["cgroups"]), ("process", head["processes"]), ("socket", head["sockets"])]
    at = 1
    for kind, count in counts:
        assert all(line["kind"] == kind and line["time"] == head["time"] for line in lines[at:at + count]), kind
        at += count
    times = [line["time"] for line in lines[at:]]
    assert times == sorted(times)
    return lines[at:]


def events_of(members, node="n1"):
    assert members.get(node), f"no os-events of {node}"
    events = []
    for member in members[node]:
        events += check_member(member)
    return events


def actor_lines(process):
    return [json.loads(line) for line in process.text().splitlines() if line.startswith("{")]


def start_actor(node, *arguments):
    return node.spawn(sys.executable, ACTOR, *arguments)


def start_server(node, workers=4):
    server = start_actor(node, "serve", PORT, workers)
    # The line of who listens is the last but for those of the workers.
    wait_for(lambda: sum(l["role"] in ("listen", "worker") for l in actor_lines(server)) == workers + 1, "the server")
    return server


def start_sink(node):
    sink = node.spawn(sys.executable, "-c", SINK)
    wait_for(lambda: "ready" in sink.text(), "the server")


def stop_server(server):
    for pid in {l["pid"] for l in actor_lines(server)}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def owners_by_ends(events, netns):
    """(local, local port, remote, remote port) → pids that the records give the socket from its start."""
    by_socket, ends = {}, {}
    for event in events:
        if event.get("netns") != netns or event.get("protocol") != "tcp" or "socket" not in event:
            continue
        key = event["socket"]
        if event["kind"] in ("connect", "accept"):
            ends[key] = (event["local"], event["local_port"], event["remote"], event["remote_port"])
            if "pid" in event:
                by_socket.setdefault(key, event["pid"])
        elif event["kind"] == "owner" and event.get("first") or event["kind"] == "close" and "pid" in event:
            by_socket.setdefault(key, event["pid"])
    owners = {}
    for key, end in ends.items():
        owners.setdefault(end, []).append(by_socket.get(key))
    return owners


def netns_of(node):
    return int(node.run("stat", "-Lc", "%i", "/proc/self/ns/net").stdout)


@pytest.mark.timeout(180)
def test_short_connections_of_many_processes(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture(interface="eth0,lo")
    assert node.status()["layers"]["os_events"]["state"] == "recording", node.status()["layers"]
    lab.wait_for_nodes()
    server = start_server(node)
    try:
        client = start_actor(node, "connect", PORT, 200, 10, "127.0.0.1", "::1", node.address, node.address6)
        assert client.popen.wait(100) == 0
    finally:
        time.sleep(0.2)
        stop_server(server)
    members, manifest = os_events(lab, "many", tmp_path)
    assert manifest["nodes"][0]["layers"]["os_events"]["state"] == "recording"
    owners = owners_by_ends(events_of(members), netns_of(node))
    told = [(l["address"], l["own_port"], l["peer"], l["port"], l["pid"]) for l in actor_lines(client) if l["role"] == "connect"]
    assert len(told) == 2000
    peers = {(address, port): peer for address, port, peer, _, _ in told}
    told += [(peers[(l["peer"], l["peer_port"])], l["port"], l["peer"], l["peer_port"], l["pid"])
             for l in actor_lines(server) if l["role"] == "accept"]
    assert len(told) == 4000
    missing, wrong = [], []
    # A port may have been used twice in the meantime: both are told then.
    for *end, pid in told:
        known = [p for p in owners.get(tuple(end), []) if p is not None]
        if not known:
            missing.append((end, pid))
        elif pid not in known:
            wrong.append((end, pid, known))
    print(f"{len(told)} ends of connections: {len(missing)} without a process, {len(wrong)} with a wrong one")
    assert not wrong, wrong[:5]
    assert len(missing) <= len(told) // 1000, missing[:5]


@pytest.mark.timeout(120)
def test_sockets_from_before_inherited_and_passed(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    start_sink(node)
    log = lab.directory / "hold.log"
    with open(log, "wb") as out:
        holder = subprocess.Popen(["ip", "netns", "exec", node.namespace, sys.executable, ACTOR, "hold", str(PORT), node.address],
                                  stdin=subprocess.PIPE, stdout=out)
    try:
        said = lambda role: [l for l in map(json.loads, log.read_text().splitlines()) if l["role"] == role]
        held = wait_for(lambda: said("held"), "the sockets")[0]
        node.start_capture(interface="eth0")
        lab.wait_for_nodes()
        holder.stdin.write(b"go\n")
        holder.stdin.flush()
        inherited = wait_for(lambda: said("inherited"), "the heir")[0]
        passed = wait_for(lambda: said("passed"), "the stranger")[0]
        members, _ = os_events(lab, "held", tmp_path)
        first = members["n1"][0]
        by_port = {l.get("local_port"): l for l in first if l["kind"] == "socket" and l.get("remote_port") == PORT}
        for name, heir in (("inherited", inherited), ("passed", passed)):
            socket = by_port[held[name]]
            assert socket["pid"] == held["pid"] and socket["state"] == "open"
            changes = [e for e in events_of(members) if e["kind"] == "owner" and e["socket"] == socket["socket"]]
            assert [e["pid"] for e in changes] == [heir["pid"]], name
        processes = {l["pid"]: l for l in first if l["kind"] == "process"}
        assert str(ACTOR) in processes[held["pid"]]["argv"]
    finally:
        holder.kill()
        holder.wait()
        for l in map(json.loads, log.read_text().splitlines()):
            if l["role"] in ("passed", "inherited", "executed"):
                run("kill", "-9", str(l["pid"]), check=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("hierarchy", ["v1", "v2"])
def test_containers_by_their_cgroups(make_lab, tmp_path, hierarchy):
    mount = cgroup_mounts().get(hierarchy)
    if mount is None:
        pytest.skip(f"no {hierarchy} hierarchy is mounted here")
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    server = start_server(node)
    made, pids = [], {}
    try:
        for path, _, _, _ in TREES:
            folder = make_cgroup(mount, path, made)
            # The shell moves itself, as a runtime moves what it starts. (`ip netns exec` would hide the cgroup file systems.)
            child = Process(["sh", "-c", f"echo $$ > {folder}/cgroup.procs && exec nsenter --net=/run/netns/{node.namespace} "
                             f"{sys.executable} {ACTOR} connect {PORT} 1 1 127.0.0.1"], lab.directory / f"container{len(pids)}.log")
            lab.processes.append(child)
            assert child.popen.wait(30) == 0, child.text()
            lines = actor_lines(child)
            pids[path] = lines[0]["pid"]
        members, _ = os_events(lab, f"containers-{hierarchy}", tmp_path)
        events = [l for member in members["n1"] for l in member]
        cgroups = {l["id"]: l for l in events if l["kind"] == "cgroup"}
        for path, container, runtime, uid in TREES:
            connects = [l for l in events if l["kind"] == "connect" and l.get("pid") == pids[path]]
            assert len(connects) == 1, path
            cgroup = cgroups[connects[0]["cgroup"]]
            assert cgroup["path"] == "/" + path
            assert (cgroup["container"], cgroup.get("runtime"), cgroup.get("pod_uid")) == (container, runtime, uid)
    finally:
        stop_server(server)
        remove_cgroups(made)


@pytest.mark.timeout(120)
def test_a_connect_without_answer_is_told_of_while_it_waits(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    nobody = "10.77.0.99"
    node.run("ip", "neigh", "add", nobody, "lladdr", "02:00:00:00:00:99", "dev", "eth0")
    node.start_capture(interface="eth0")
    lab.wait_for_nodes()
    waiting = node.spawn(sys.executable, "-c", f"import socket; socket.create_connection(('{nobody}', 80))")
    # The kernel has tried again.
    wait_for(lambda: re.search(r"retrans:\d+/[1-9]", node.run("ss", "-tin", "dst", nobody).stdout), "a second try")
    assert waiting.alive()
    members, _ = os_events(lab, "waiting", tmp_path)
    assert waiting.alive()
    connects = [e for e in events_of(members) if e["kind"] == "connect" and e["remote"] == nobody]
    assert [e["pid"] for e in connects] == [waiting.pid]
    port = int(re.search(r":(\d+)\s+" + re.escape(nobody), node.run("ss", "-tn", "dst", nobody).stdout)[1])
    assert connects[0]["local_port"] == port and connects[0]["local"] == node.address
    waiting.kill()


@pytest.mark.timeout(120)
def test_losses_are_counted_and_state_is_made_good(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    node.capture.signal(signal.SIGSTOP)
    churn = start_actor(node, "churn", 40, 60000)
    assert churn.popen.wait(60) == 0
    node.capture.signal(signal.SIGCONT)
    lost = wait_for(lambda: node.status()["layers"]["os_events"]["lost"], "losses to be counted")
    # The server began while nobody looked; after the losses the state is taken afresh.
    members, manifest = os_events(lab, "lossy", tmp_path)
    told = [e for e in events_of(members) if e["kind"] == "lost" and e["reason"] == "the ring buffer was full"]
    print(f"{lost} events lost")
    assert sum(e["count"] for e in told) == node.status()["layers"]["os_events"]["lost"]
    assert all(e["from"] <= e["time"] for e in told)
    layer = manifest["nodes"][0]["layers"]["os_events"]
    assert layer["state"] == "degraded"
    assert f"{node.status()['layers']['os_events']['lost']} events of the window were lost" in layer["reason"]


def start_capture_under(node, *wrapper):
    """The capture daemon, started by a command that takes something from it."""
    lab = node.lab
    node.capture = node.spawn(*wrapper, lab.binary, "capture", "--hub", lab.hub_url, "--node", node.name, "--listen",
                              f"{node.management}:7401", "--insecure", "--data-dir", node.data_dir, "--storage-size", "128MiB",
                              "--token-file", lab.given_token_file())
    node.wait_ready()
    lab.wait_for_nodes()
    return node.status()["layers"]["os_events"]


def check_packets_alone(lab, tmp_path, layer, why):
    """Nothing but packets is recorded; status, the page of it and the manifest say why."""
    node = lab.nodes[0]
    assert layer["state"] == "off" and why in layer["reason"], layer
    page = node.run(lab.binary, "capture", "--status", "--node-url", node.url).stdout
    assert why in page
    node.run("ping", "-c1", "-W1", "127.0.0.1", check=False)
    time.sleep(0.3)
    members, manifest = os_events(lab, "bare", tmp_path)
    assert members == {}
    assert manifest["nodes"][0]["layers"]["os_events"] == {"state": "off", "reason": layer["reason"]}
    assert manifest["nodes"][0]["packets"] > 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wrapper, why", [
    (["setpriv", "--bounding-set=-all,+net_raw,+ipc_lock,+dac_override", "--inh-caps=-all"], "CAP_BPF"),
    (["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"", "sh"], "BTF"),
], ids=["privilege", "btf"])
def test_packets_are_recorded_all_the_same_without(make_lab, tmp_path, wrapper, why):
    lab = make_lab(nodes=1)
    layer = start_capture_under(lab.nodes[0], *wrapper)
    check_packets_alone(lab, tmp_path, layer, why)


@pytest.mark.timeout(120)
def test_packets_are_recorded_by_a_kernel_that_is_locked_down(make_lab, tmp_path):
    if os.environ.get("LOOKBACK_TEST_LOCKDOWN") != "1":
        pytest.skip("would lock this kernel down until it is booted again; scripts/test-kernel does it in a guest")
    pathlib.Path("/sys/kernel/security/lockdown").write_text("confidentiality")
    lab = make_lab(nodes=1)
    layer = start_capture_under(lab.nodes[0])
    check_packets_alone(lab, tmp_path, layer, "locked down (confidentiality)")


@pytest.mark.timeout(120)
def test_a_program_that_is_refused_costs_no_other(make_lab, tmp_path):
    """Without CAP_NET_ADMIN the kernel refuses the program of cgroups, and takes the others."""
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    layer = start_capture_under(node, "setpriv", "--bounding-set=-all,+net_raw,+ipc_lock,+dac_override,+bpf,+perfmon,+sys_ptrace,+sys_resource",
                                "--inh-caps=-all")
    refused = [part for part in layer["reason"].split("; ") if "CAP_NET_ADMIN" in part]
    assert layer["state"] == "degraded"
    assert [part.split(":")[0] for part in refused] == ["the end of UDP, ping and raw sockets"]
    server = start_server(node)
    try:
        client = start_actor(node, "connect", PORT, 5, 2, "127.0.0.1")
        assert client.popen.wait(60) == 0
    finally:
        time.sleep(0.2)
        stop_server(server)
    members, manifest = os_events(lab, "less", tmp_path)
    assert manifest["nodes"][0]["layers"]["os_events"] == {"state": "degraded", "reason": layer["reason"]}
    owners = owners_by_ends(events_of(members), netns_of(node))
    told = [(l["address"], l["own_port"], l["peer"], l["port"], l["pid"]) for l in actor_lines(client) if l["role"] == "connect"]
    assert len(told) == 10
    assert [pid for *end, pid in told if pid not in owners.get(tuple(end), [])] == []


@pytest.mark.timeout(120)
def test_events_survive_a_killed_daemon(make_lab, tmp_path):
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    client = start_actor(node, "churn", 5, 1)
    assert client.popen.wait(20) == 0
    time.sleep(1)  # what is in memory is written a few times a second
    node.capture.kill()
    node.start_capture(interface="lo")
    lab.wait_for_nodes()
    members, _ = os_events(lab, "killed", tmp_path)
    events = events_of(members)
    exits = [e for e in events if e["kind"] == "exit" and e["pid"] == client.pid]
    assert len(exits) == 1 and exits[0]["exit_code"] == 0
    assert any(e["kind"] == "udp" and e["pid"] == client.pid and e["comm"] for e in events)
    assert len(members["n1"]) >= 2
