"""Real pods: every flow of a Kubernetes node's containers must bear the container and pod that the API tells of, and no other.

It needs a cluster one of whose nodes is this machine:
    LOOKBACK_TEST_KUBECONFIG   a kubeconfig that may make and delete a namespace
    LOOKBACK_TEST_POD_IMAGE    an image that the node has, with bash, curl, nginx and python3; localhost/tools:1 where not given
"""
import collections
import ipaddress
import json
import os
import shutil
import time

import pytest

import capfile
from lab import Process, run, wait_for

KUBECONFIG = os.environ.get("LOOKBACK_TEST_KUBECONFIG")
IMAGE = os.environ.get("LOOKBACK_TEST_POD_IMAGE", "localhost/tools:1")
HUB = "127.0.0.1:17400"
NGINX, UDP, OF_NODE = 80, 5300, 18981

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG, reason="LOOKBACK_TEST_KUBECONFIG names no cluster that has this machine as a node"),
    pytest.mark.skipif(bool(KUBECONFIG) and shutil.which("kubectl") is None, reason="there is no kubectl"),
]

# Each container's connections come from ports of its own, so that a flow tells by itself whose it is.
CLIENT_PORTS = {("client", "talker"): 21000, ("client", "side"): 27000, ("restless", "worker"): 23000, ("of-node", "agent"): 25000}
SECOND_LIFE = 1000  # a container that was started again adds this to its ports
PORTS_EACH = 400

UDP_SERVER = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", {UDP}))
while True:
    data, peer = s.recvfrom(100)
    s.sendto(data, peer)
"""
UDP_CLIENT = f"""
import socket, sys
for i in range(int(sys.argv[2])):
    for server in sys.argv[3:]:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.bind(("0.0.0.0", int(sys.argv[1]) + 200 + i))
        if i & 1: s.connect((server, {UDP}))
        s.sendto(b"ask", (server, {UDP}))
        s.recv(100)
        s.close()
"""


def talk(first_port, rounds=20):
    """A shell command that asks the servers in /go/targets over and over, each time from the next port."""
    return (f"until [ -s /go/targets ]; do sleep 0.1; done; read web udp < <(head -1 /go/targets); "
            f"p={first_port}; for i in $(seq {rounds}); do for url in ${{web//,/ }}; do "
            f"curl -s -o /dev/null -m 5 --local-port $p http://$url/ || echo failed $url from $p; p=$((p + 1)); done; sleep 0.02; done; "
            f"python3 -c '{UDP_CLIENT}' {first_port} 10 ${{udp//,/ }}; ")


def container(name, command, **more):
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": ["bash", "-c", command],
            "volumeMounts": [{"name": "go", "mountPath": "/go"}], **more}


def pod(name, containers, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": containers,
                     "volumes": [{"name": "go", "hostPath": {"path": spec.pop("go")}}], **spec}}


def serve(name, port, udp=True):
    nginx = f"printf 'daemon off; events {{}} http {{ server {{ listen {port}; root /var/www/html; }} }}' > /tmp/nginx.conf; exec nginx -c /tmp/nginx.conf"
    return [container("nginx", nginx)] + [container("udp", f"exec python3 -c '{UDP_SERVER}'")] * udp


def objects(go):
    port = CLIENT_PORTS
    talker, side = port["client", "talker"], port["client", "side"]
    worker, agent = port["restless", "worker"], port["of-node", "agent"]
    of_node = pod("of-node", serve("of-node", OF_NODE, udp=False) + [container("agent", talk(agent) + "touch /go/agent; sleep 10000",
                  securityContext={"privileged": True})], go=go, hostNetwork=True, hostPID=True)
    daemon_set = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "of-node"},
                  "spec": {"selector": {"matchLabels": {"app": "of-node"}},
                           "template": {"metadata": {"labels": {"app": "of-node"}}, "spec": dict(of_node["spec"], tolerations=[{"operator": "Exists"}])}}}
    return [
        pod("web-a", serve("web-a", NGINX), go=go), pod("web-b", serve("web-b", NGINX), go=go),
        pod("client", [container("talker", talk(talker) + "touch /go/talker; sleep 10000"),
                       container("side", talk(side) + "touch /go/side; sleep 10000")], go=go),
        # It ends after its first round, and is started again.
        pod("restless", [container("worker", f"if [ -e /go/ended ]; then {talk(worker + SECOND_LIFE)} touch /go/worker; sleep 10000; "
                                             f"else {talk(worker)} touch /go/ended; fi")], go=go),
        daemon_set,
    ]


class Cluster:
    def __init__(self):
        self.namespace = f"lookback-test-{os.getpid()}"

    def kubectl(self, *args, **kwargs):
        return run("kubectl", "--kubeconfig", KUBECONFIG, "-n", self.namespace, *args, **kwargs)

    def apply(self, things):
        self.kubectl("create", "--validate=false", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": things}))

    def pods(self):
        return {p["metadata"]["labels"]["app"]: p for p in json.loads(self.kubectl("get", "pods", "-o", "json").stdout)["items"]}


@pytest.fixture
def cluster():
    it = Cluster()
    run("kubectl", "--kubeconfig", KUBECONFIG, "create", "namespace", it.namespace)
    # The account that pods run as is made by a controller, a moment later.
    wait_for(lambda: it.kubectl("get", "serviceaccount", "default", check=False).returncode == 0, "the namespace's service account")
    yield it
    run("kubectl", "--kubeconfig", KUBECONFIG, "delete", "namespace", it.namespace, "--wait=true", check=False)


@pytest.fixture
def recorder(binary, tmp_path):
    process = Process([binary, "standalone", "--data-dir", tmp_path / "data", "--storage-size", "512MiB", "--listen", HUB, "--node-listen", "127.0.0.1:17401",
                       "--node", "here"], tmp_path / "standalone.log")
    try:
        wait_for(lambda: run("curl", "-sf", f"http://{HUB}/readyz", check=False).returncode == 0, "the recorder")
        yield process
    finally:
        process.stop()


def bare(container_id):
    return container_id.split("://", 1)[1]


class Truth:
    """Which container has an end of a flow, by what the API tells."""

    def __init__(self, pods):
        self.by_address, self.ids = {}, {}
        # The node's bridge has an address too: connections to pods come from that one.
        self.of_node = {a["local"] for link in json.loads(run("ip", "-j", "addr").stdout) for a in link["addr_info"]}
        for app, one in pods.items():
            uid = one["metadata"]["uid"]
            if not one["spec"].get("hostNetwork"):
                self.by_address[one["status"]["podIP"]] = app
            for status in one["status"]["containerStatuses"]:
                lives = [bare(status["containerID"])]
                ended = status.get("lastState", {}).get("terminated")
                if ended:
                    lives.insert(0, bare(ended["containerID"]))
                self.ids[app, status["name"]] = [(life, uid) for life in lives]
        self.all = {one for lives in self.ids.values() for one in lives}

    def of(self, address, port):
        """(container id, pod UID); None where no container of the test can have it."""
        app = self.by_address.get(address, "of-node" if address in self.of_node else None)
        for (owner, name), first in CLIENT_PORTS.items():
            if owner == app and first <= port < first + SECOND_LIFE + PORTS_EACH:
                life, place = divmod(port - first, SECOND_LIFE)
                lives = self.ids[owner, name]
                return lives[life] if place < PORTS_EACH and life < len(lives) else None
        server = {NGINX: "nginx", UDP: "udp", OF_NODE: "nginx"}.get(port)
        if server and (app, server) in self.ids and (app == "of-node") == (port == OF_NODE):
            return self.ids[app, server][-1]
        return None


@pytest.mark.timeout(400)
def test_flows_of_pods_bear_container_and_pod(binary, cluster, recorder, tmp_path):
    go = tmp_path / "go"
    go.mkdir(mode=0o777)
    cluster.apply(objects(str(go)))
    expected = {"web-a", "web-b", "client", "restless", "of-node"}
    pods = wait_for(lambda: (p := cluster.pods()).keys() == expected and all(
        one["status"].get("phase") == "Running" and one["status"].get("podIP") and all(s["ready"] for s in one["status"]["containerStatuses"])
        for one in p.values()) and p, "the pods to run", 120, 0.5)
    ip = {app: one["status"]["podIP"] for app, one in pods.items()}
    web = f"{ip['web-a']},{ip['web-b']},{ip['of-node']}:{OF_NODE}"
    (go / "targets.new").write_text(f"{web} {ip['web-a']},{ip['web-b']}\n")
    (go / "targets.new").rename(go / "targets")
    wait_for(lambda: {"agent", "talker", "side", "ended", "worker"} <= set(os.listdir(go)), "the pods to have talked", 120, 0.5)
    time.sleep(1)
    pods = cluster.pods()
    assert pods["restless"]["status"]["containerStatuses"][0]["restartCount"] == 1
    truth = Truth(pods)

    client = lambda *args: run(binary, *args, check=False, env=dict(os.environ, LOOKBACK_HUB=f"http://{HUB}"))
    made = client("snapshot", "create", "pods", "--last", "5m", "--wait")
    assert made.returncode in (0, 3), made.stderr
    flows = json.loads(client("snapshot", "flows", "pods", "-o", "json").stdout)["flows"]

    count, ends, seen, bad = collections.Counter(), collections.Counter(), set(), []
    for flow in flows:
        for side in ("client", "server"):
            end, other = flow[side], flow["server" if side == "client" else "client"]
            owner = truth.of(end["ip"], end.get("port", 0))
            told = (end.get("container_id"), end.get("pod_uid"))
            if owner is None:
                # Not one of theirs: no container of the test may be told.
                if told in truth.all:
                    bad.append((side, flow, "nobody's"))
                continue
            seen.add(owner)
            verdict = "right" if told == owner else "unknown" if told[0] is None and "pid" not in end else "wrong"
            count[verdict] += 1
            ends[owner] += 1
            if verdict != "right":
                bad.append((verdict, side, end, other["ip"], other.get("port"), flow["interface"], owner))
    total = sum(count.values())
    print(f"{len(flows)} flows, {total} ends of containers: {count['right']} right, {count['unknown']} unknown, {count['wrong']} wrong")
    print({key: [ends[one] for one in lives] for key, lives in truth.ids.items()})
    unseen = {key for key, lives in truth.ids.items() for one in lives if one not in seen}
    assert not unseen
    assert not bad, bad[:5]
    # Each asked three servers twenty times and two ten times. (The agent has the node's ports, of which some may be waiting still.)
    for key in (("client", "talker"), ("client", "side"), ("restless", "worker")):
        assert [ends[one] for one in truth.ids[key]] == [80] * len(truth.ids[key]), key

    # The same in a capture file: the comments of flows' first packets name these pods, and the filter finds a container by its id.
    out = tmp_path / "pods.pcapng"
    assert client("snapshot", "pcap", "pods", "-o", out, "--filter", f"port {NGINX}").returncode in (0, 3)
    text = "\n".join(p.comment for p in capfile.read(out)[1] if p.comment)
    for app in ("web-a", "web-b", "client", "restless"):
        assert f"pod {pods[app]['metadata']['uid']}" in text, app
    first_life, second_life = truth.ids["restless", "worker"]
    for life, first in ((first_life, 23000), (second_life, 23000 + SECOND_LIFE)):
        out = tmp_path / f"{first}.pcapng"
        assert client("snapshot", "pcap", "pods", "-o", out, "--container", life[0][:12], "--filter", "tcp").returncode in (0, 3)
        packets = capfile.read(out)[1]
        assert packets
        restless = ipaddress.ip_address(ip["restless"]).packed
        for packet in packets:
            at = packet.data.index(restless)
            ports = packet.data[34:36] if at == 26 else packet.data[36:38]
            assert 0 <= int.from_bytes(ports, "big") - first < PORTS_EACH
