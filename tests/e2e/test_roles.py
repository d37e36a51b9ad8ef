"""The roles as people start them: standalone, with TLS and tokens, with a settings file; and what the hub tells of its nodes."""
import json
import os
import re
import signal
import time

import pytest

from lab import HUB_ADDRESS, Process, run, wait_for
from oracle import serve_everywhere, start_senders, wait_senders


@pytest.mark.timeout(120)
def test_standalone(make_lab, tmp_path):
    lab = make_lab(nodes=1, hub=False)
    node = lab.nodes[0]
    data = tmp_path / "standalone"
    process = node.spawn(lab.binary, "standalone", "--data-dir", data, "--storage-size", "128MiB", log=lab.directory / "standalone.log")
    wait_for(lambda: node.run("curl", "-sf", "http://127.0.0.1:7400/readyz", check=False).returncode == 0, "standalone")
    wait_for(lambda: len([l for l in process.text().splitlines() if re.search(r"lookback (snapshot|nodes)", l)]) >= 3, "three commands to try")
    node.run("bash", "-c", "for i in 1 2 3 4 5; do echo hello > /dev/udp/127.0.0.1/9; done", check=False)
    time.sleep(0.5)
    node.run(lab.binary, "snapshot", "create", "first", "--last", "1m", "--wait", check=False)
    out = tmp_path / "first.pcapng"
    exported = node.run(lab.binary, "snapshot", "pcap", "first", "-o", out, check=False)
    assert exported.returncode in (0, 3), exported.stderr
    assert "hello" in run("tshark", "-n", "-r", out, "-T", "fields", "-e", "data.text", "-o", "data.show_as_text:TRUE").stdout
    assert process.stop() == 0


UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.timeout(120)
def test_a_token_by_default(make_lab, tmp_path):
    lab = make_lab(nodes=1, hub=False)
    node = lab.nodes[0]
    data = tmp_path / "standalone"
    process = node.spawn(lab.binary, "standalone", "--data-dir", data, "--storage-size", "128MiB", log=lab.directory / "standalone.log")
    code = lambda *args: node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *args, check=False).stdout
    wait_for(lambda: code("http://127.0.0.1:7400/readyz") == "200" and code("http://127.0.0.1:7401/readyz") == "200", "standalone")
    for file in (data / "token", lab.token_file):
        status = file.stat()
        assert status.st_mode & 0o7777 == 0o600 and len(file.read_text().strip()) == 64
    first = lab.token_file.read_text()
    for url in ("http://127.0.0.1:7400/api/v1/nodes", "http://127.0.0.1:7401/api/v1/status"):
        assert code(url) == "401" and code("-H", "Authorization: Bearer x", url) == "401" and code(*lab.bearer, url) == "200"
        assert code(*lab.bearer, "-H", "Host: evil.example", url) == "421"
        assert code(*lab.bearer, "-H", "Origin: http://evil.example", url) == "403"
    # root's client finds it, also for the recorder; nobody else's does
    wait_for(lambda: " up " in node.run(lab.binary, "nodes", check=False).stdout, "the node at the hub")
    node.run(lab.binary, "capture", "--status")
    stranger = node.run(*UNPRIVILEGED, lab.binary, "nodes", check=False)
    assert stranger.returncode == 1 and "--token-file" in stranger.stderr, stranger
    assert process.stop() == 0
    # it stays the same, and the root's client gives it to no process of another user
    listener = node.spawn(*UNPRIVILEGED, "python3", "-c", "import socket, sys\ns = socket.create_server(('127.0.0.1', 7400))\n"
                          "c = s.accept()[0]\nprint(c.recv(65536).decode(), flush=True)\nc.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 12\\r\\n\\r\\n{\"nodes\":[]}')")
    wait_for(lambda: ":1CE8 00000000:0000 0A" in node.run("cat", "/proc/net/tcp").stdout, "the listener")
    node.run(lab.binary, "nodes", check=False)
    assert wait_for(lambda: "GET /api/v1/nodes" in listener.text() and listener.text(), "the request") and "Authorization" not in listener.text()
    assert lab.token_file.read_text() == first


@pytest.mark.timeout(120)
def test_weak_and_missing_tokens(make_lab, tmp_path):
    lab = make_lab(nodes=1, hub=False)
    node = lab.nodes[0]

    def refused(*args):
        done = node.run(lab.binary, *args, check=False, timeout=30)
        assert done.returncode == 2, done
        return done.stderr
    token = tmp_path / "token"
    for text, mode, said in (("x", 0o600, "16"), ("fifteen-letters", 0o600, "16"), ("", 0o600, "no token"), ("long-enough-for-a-token", 0o666, "chmod 600")):
        token.write_text(text + "\n")
        token.chmod(mode)
        for role in (("hub",), ("capture",), ("standalone",)):
            assert said in refused(*role, "--data-dir", tmp_path / "data", "--token-file", token), (text, role)
    # a hub elsewhere has a token that is not known here
    assert "--token-file" in refused("capture", "--hub", "http://10.78.0.1:7400", "--data-dir", tmp_path / "data")
    assert "--allowed-host" in refused("hub", "--data-dir", tmp_path / "data", "--allowed-host", "http://x")
    # what an insecure address opens is said
    lab.start_hub("--allowed-host", "hub.example")
    assert "in clear" in lab.hub.text() and "token" in lab.hub.text()
    code = lambda host: lab.in_hub("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *lab.bearer, "-H", f"Host: {host}", f"{lab.hub_url}/api/v1/nodes").stdout
    assert [code(h) for h in ("hub.example:7400", HUB_ADDRESS, "localhost", "other.example")] == ["200", "200", "200", "421"]


def make_certificate(folder):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lookback", "-addext",
        f"subjectAltName=IP:{HUB_ADDRESS},IP:10.78.0.11,IP:10.78.0.12,IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.timeout(120)
def test_tls_and_tokens(make_lab, tmp_path):
    lab = make_lab(nodes=1, hub=False)
    node = lab.nodes[0]
    cert, key = make_certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text("s3cret-of-the-cluster\n")
    refused = lab.in_hub(lab.binary, "hub", "--listen", f"{HUB_ADDRESS}:7400", "--data-dir", tmp_path / "refused", check=False, timeout=20)
    assert refused.returncode == 2 and "--insecure" in refused.stderr and "tls" in refused.stderr.lower(), refused
    lab.hub = Process([lab.binary, "hub", "--listen", f"{HUB_ADDRESS}:7400", "--data-dir", lab.hub_data, "--tls-cert", cert, "--tls-key", key,
                       "--token-file", token, "--ca-file", cert], lab.directory / "hub.log", lab.hub_namespace)
    lab.processes.append(lab.hub)
    url = f"https://{HUB_ADDRESS}:7400"
    wait_for(lambda: lab.in_hub("curl", "-sf", "--cacert", cert, f"{url}/readyz", check=False).returncode == 0, "the hub over TLS")
    # The node has its own token only, and the clients have theirs.
    of_node, of_clients = tmp_path / "node-token", tmp_path / "client-token"
    for role, file in ((("node", "--node", "secure-1"), of_node), (("client",), of_clients)):
        lab.in_hub(lab.binary, "token", "create", "--role", *role, "--token-file", token, "-o", file)
    config = tmp_path / "capture.toml"
    config.write_text(f'hub = "{url}"\nnode = "secure-1"\nlisten = "{node.management}:7401"\ndata-dir = "{node.data_dir}"\nstorage-size = "128MiB"\n'
                      f'tls-cert = "{cert}"\ntls-key = "{key}"\ntoken-file = "{of_node}"\nca-file = "{cert}"\ninterface = ["eth0"]\n')
    node.capture = node.spawn(lab.binary, "capture", "--config", config, log=lab.directory / "capture.log")
    env = dict(os.environ, LOOKBACK_HUB=url, LOOKBACK_TOKEN_FILE=str(of_clients), LOOKBACK_CA_FILE=str(cert))
    client = lambda *a, **k: lab.in_hub(lab.binary, *a, env=dict(env, **k.pop("env", {})), **k)
    wait_for(lambda: "secure-1" in client("nodes", check=False).stdout, "the node")
    node.run("bash", "-c", "for i in 1 2 3; do echo x > /dev/udp/10.77.0.200/9; done", check=False)
    created = client("snapshot", "create", "s", "--last", "20s", "--wait", check=False)
    assert created.returncode in (0, 3), created.stderr
    client("snapshot", "verify", "s")
    other = tmp_path / "other-token"
    other.write_text("of-another-cluster\n")
    for wrong in ({"LOOKBACK_TOKEN_FILE": ""}, {"LOOKBACK_TOKEN_FILE": str(other)}):
        denied = client("snapshot", "list", env=wrong, check=False)
        assert denied.returncode == 1 and "token" in denied.stderr.lower(), denied
    plain = lab.in_hub("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", cert, f"{url}/api/v1/nodes")
    assert plain.stdout == "401"
    for file, method, path, status in ((of_node, "GET", "snapshots", "401"), (of_node, "DELETE", "snapshots/s", "401"),
                                       (of_node, "POST", "nodes/secure-2/heartbeat", "401"), (of_clients, "POST", "nodes/secure-1/heartbeat", "403"),
                                       (of_clients, "GET", "snapshots", "200")):
        said = lab.in_hub("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", cert, "-X", method, "-H",
                          f"Authorization: Bearer {file.read_text().strip()}", f"{url}/api/v1/{path}")
        assert said.stdout == status, (file, method, path, said)
    untrusted = client("nodes", env={"LOOKBACK_CA_FILE": ""}, check=False)
    assert untrusted.returncode == 5 and "certificate" in untrusted.stderr.lower(), untrusted


@pytest.mark.timeout(120)
def test_nodes_tell_boundaries_rate_and_clock(make_lab):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture()
    lab.wait_for_nodes()
    serve_everywhere(lab)
    senders = start_senders(lab, 1, seconds=9, pps=500)

    def measured():
        nodes = lab.client_json("nodes")
        nodes = nodes["nodes"] if isinstance(nodes, dict) else nodes
        return all(n["clock"] and n["packets_per_second"] > 50 and n["oldest"] and n["oldest"] < n["newest"] for n in nodes) and nodes
    for n in wait_for(measured, "clock and rate of both nodes", timeout=40):
        # one machine, one clock: the truth, 0, lies inside the bound
        assert abs(n["clock"]["offset_ns"]) <= n["clock"]["error_ns"] < 50_000_000, n["clock"]
        assert n["oldest"] < n["newest"] and n["dropped"] == 0 and n["state"] == "up" and n["version"]
    wait_senders(senders)
    table = lab.client("nodes").stdout
    assert "n1" in table and "n2" in table and "\x1b" not in table
    status = lab.nodes[0].run(lab.binary, "capture", "--status", "--listen", f"{lab.nodes[0].management}:7401", check=False)
    assert status.returncode == 0 and "at this rate" in status.stdout, (status.stdout, status.stderr)
    metrics = lab.nodes[0].curl(f"{lab.nodes[0].url}/metrics").stdout
    assert re.search(r"^lookback_\w*packets\w*(\{.*\})? [1-9]", metrics, re.M), metrics[:800]
    lab.nodes[1].capture.signal(signal.SIGSTOP)
    wait_for(lambda: any(n["name"] == "n2" and n["state"] != "up" for n in (lambda x: x["nodes"] if isinstance(x, dict) else x)(lab.client_json("nodes"))),
             "n2 to be late", timeout=60)
    lab.nodes[1].capture.signal(signal.SIGCONT)
    assert lab.nodes[0].capture.stop() == 0 and lab.hub.stop() == 0
