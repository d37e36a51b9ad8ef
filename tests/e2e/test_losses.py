"""Nothing is missing from a snapshot untold: whatever the window lacks is a gap of the manifest, with start and end, in `snapshot show`,
in the exported file and in the exit status."""
import collections
import datetime
import json
import struct
import time

import pytest

from lab import wait_for
from oracle import TOLERANCE_NS, Oracle, per_interface, serve_everywhere, start_senders, wait_senders
from test_faults import seeded
from test_snapshot import rfc3339

SECOND = 10**9
BLOCK_MAGIC = 0x4B4C424F  # as in segment_format.hpp
PACKET_KINDS = (1, 2)


def ns_of(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp())
    return seconds * SECOND + int((fraction or "0").ljust(9, "0"))


def snapshot_of(lab, name, start, end, expected):
    result = lab.client("snapshot", "create", name, "--node", "n1", "--from", rfc3339(start), "--to", rfc3339(end), "--wait", check=False)
    assert result.returncode == expected, (name, result.returncode, result.stderr)
    return lab.snapshot(name)


def gaps_of(snapshot):
    return [g for n in snapshot["nodes"] if n["name"] == "n1" for g in n["gaps"]]


def missing_times(packets, got):
    """The times of the oracle's packets that are not in `got`. Some have the same bytes: each stands for the one of its own time."""
    have = collections.defaultdict(list)
    for t, data, length in got:
        have[(data, length)].append(t)
    missing = []
    for p in packets:
        times = have[(p.data, p.length)]
        near = min(times, key=lambda t: abs(t - p.time_ns), default=None)
        if near is None or abs(near - p.time_ns) > TOLERANCE_NS:
            missing.append(p.time_ns)
        else:
            times.remove(near)
    return missing


def untold(lab, name, snapshot, oracle, start, end, tmp_path, margin=5 * 10**6):
    """(how many packets of the window are missing, those that no gap covers); and the file tells of its gaps."""
    path = tmp_path / f"{name}.pcapng"
    result = lab.client("snapshot", "pcap", name, "-o", path, check=False)
    gaps = gaps_of(snapshot)
    got = per_interface(path).get(("n1", "eth0"), [])
    missing = missing_times([p for p in oracle.packets if start + margin <= p.time_ns < end - margin], got)
    spans = [(ns_of(g["start"]), ns_of(g["end"])) for g in gaps]
    # The recorder and tcpdump may each have a stamp of its own for a packet, some hundred nanoseconds apart.
    bare = [t for t in missing if not any(a - 10_000 <= t < b + 10_000 for a, b in spans)]
    if gaps:
        assert result.returncode == 3, (result.returncode, result.stderr)
        assert gaps[0]["reason"] in lab.client("snapshot", "show", name).stdout
        if got:  # statistics of an interface carry the comment
            told = path.read_bytes()
            assert all(b"lookback: node n1 lost" in told and g["reason"].encode() in told for g in gaps), gaps
    return len(missing), bare


def recording(make_lab, interface="eth0"):
    lab = make_lab(nodes=2)
    for node in lab.nodes:
        node.start_capture("--os-events=off", interface=interface, storage="1GiB")
    lab.wait_for_nodes()
    serve_everywhere(lab)
    return lab, lab.nodes[0], Oracle(lab.nodes[0], "eth0")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_window_in_an_outage(make_lab, tmp_path, how):
    """A window that touches the time in which nobody recorded is not complete, wherever it begins and ends."""
    lab, node, oracle = recording(make_lab)
    before = time.time_ns()
    senders = start_senders(lab, 21, seconds=14, pps=400)
    time.sleep(4)
    asked = time.time_ns()
    getattr(node.capture, how)()
    down = time.time_ns()
    time.sleep(3)
    node.start_capture("--os-events=off", storage="1GiB")
    up = time.time_ns()
    wait_senders(senders)
    time.sleep(0.2)
    end = time.time_ns()
    lab.wait_for_nodes()
    oracle.stop()
    windows = {"across": (asked - 2 * SECOND, end), "begins": (down + SECOND // 2, end), "ends": (before + SECOND, down + SECOND),
               "inside": (down + SECOND, down + 2 * SECOND), "early": (before - 600 * SECOND, before - 590 * SECOND),
               "first": (before - 600 * SECOND, before + SECOND)}
    for name, (start, to) in windows.items():
        snapshot = snapshot_of(lab, name, start, to, 3)
        assert not snapshot["complete"] and any(g["reason"] == "not running" for g in gaps_of(snapshot)), (name, json.dumps(snapshot)[:1500])
        missing, bare = untold(lab, name, snapshot, oracle, start, to, tmp_path)
        assert not bare, f"{name}: {len(bare)} of {missing} missing packets are untold, the first at {rfc3339(bare[0])}; {gaps_of(snapshot)}"
        assert missing or name in ("early", "first"), f"{name}: the outage lost nothing"
    # Outside of it everything is there, as far as the kernel kept up; a clean stop had everything until it was asked for.
    for name, (start, to) in {"left": (before + SECOND, asked if how == "stop" else asked - 3 * SECOND), "right": (up + SECOND // 10, end)}.items():
        result = lab.client("snapshot", "create", name, "--node", "n1", "--from", rfc3339(start), "--to", rfc3339(to), "--wait", check=False)
        snapshot = lab.snapshot(name)
        assert all(g["reason"] == "kernel ring full" for g in gaps_of(snapshot)), (name, gaps_of(snapshot))
        assert result.returncode == (3 if gaps_of(snapshot) else 0)
        missing, bare = untold(lab, name, snapshot, oracle, start, to, tmp_path)
        assert not bare, f"{name}: {len(bare)} of {missing} missing packets are untold"


@pytest.mark.timeout(240)
def test_kill_behind_a_seal_or_a_note(make_lab, tmp_path):
    """What the kernel and the recorder still held at a kill is in the gap, also where something was written after the last packets."""
    rng = seeded()
    lab, node, oracle = recording(make_lab, interface=None)
    before = time.time_ns()
    senders = start_senders(lab, 22, seconds=24, pps=150)
    for i in range(6):
        time.sleep(1.5)
        if i % 2 == 0:  # seals
            lab.client("snapshot", "create", f"s{i}", "--node", "n1", "--last", "1s", check=False)
        else:           # a new interface is noted when it speaks
            node.run("ip", "link", "add", f"v{i}", "type", "veth", "peer", "name", f"w{i}")
            for end_of_it in (f"v{i}", f"w{i}"):
                node.run("ip", "link", "set", end_of_it, "up")
        time.sleep(rng.uniform(0, 0.4))
        if i == 5:
            node.capture.stop()
        else:
            node.capture.kill()
        node.start_capture("--os-events=off", interface=None, storage="1GiB")
    wait_senders(senders)
    time.sleep(0.2)
    end = time.time_ns()
    lab.wait_for_nodes()
    oracle.stop()
    snapshot = snapshot_of(lab, "final", before, end, 3)
    missing, bare = untold(lab, "final", snapshot, oracle, before, end, tmp_path)
    print(f"{missing} packets missing of {len(oracle.packets)}")
    assert missing and not bare, f"{len(bare)} of {missing} missing packets are untold, the first at {rfc3339(bare[0])}; {gaps_of(snapshot)}"


def flip_a_header(packets_dir, start, end):
    """One bit in the header of a block whose packets lie in the window, in a sealed segment. Returns how many packets it has."""
    for path in sorted(packets_dir.glob("*.lbs"))[:-1]:
        data = path.read_bytes()
        for at in range(4096, len(data), 4096):
            magic, kind = struct.unpack_from("<I2xH", data, at + 8)
            if magic != BLOCK_MAGIC or kind not in PACKET_KINDS:
                continue
            packets, first, last = struct.unpack_from("<Iqq", data, at + 36)
            if first < start or last >= end:
                continue
            with open(path, "r+b") as file:
                file.seek(at + 20)  # in the epoch
                file.write(bytes([data[at + 20] ^ 4]))
            return packets
    raise AssertionError("no block to damage")


@pytest.mark.timeout(240)
def test_damage_is_told_by_the_first_snapshot(make_lab, tmp_path):
    """What is found damaged only when it is read is a gap of the very snapshot that it was read for."""
    lab, node, oracle = recording(make_lab)
    before = time.time_ns()
    senders = start_senders(lab, 23, seconds=8, pps=800)
    for i in range(4):
        time.sleep(1.5)
        lab.client("snapshot", "create", f"s{i}", "--node", "n1", "--last", "100ms", check=False)  # seals
    wait_senders(senders)
    time.sleep(0.2)
    end = time.time_ns()
    packets = flip_a_header(node.data_dir / "packets", before + SECOND, end - SECOND)
    for name in ("first", "second"):
        snapshot = snapshot_of(lab, name, before, end, 3)
        damaged = [g for g in gaps_of(snapshot) if g["reason"] == "damaged segment"]
        assert sum(g["packets"] for g in damaged) == packets, (name, packets, gaps_of(snapshot))
        if name == "first":
            oracle.stop()
        missing, bare = untold(lab, name, snapshot, oracle, before, end, tmp_path)
        assert missing >= packets and not bare, (name, missing, packets, len(bare), gaps_of(snapshot))


@pytest.mark.timeout(240)
def test_members_that_do_not_come_are_gaps(make_lab, tmp_path):
    """A node that is cut off in mid transfer: what did not come by the deadline is told with start and end."""
    lab, node, oracle = recording(make_lab)
    before = time.time_ns()
    wait_senders(start_senders(lab, 24, seconds=6, pps=1500))
    time.sleep(0.2)
    end = time.time_ns()
    oracle.stop()
    # A slow management network, so that there is a middle to be cut off in.
    node.run("tc", "qdisc", "add", "dev", "mgmt0", "root", "tbf", "rate", "100mbit", "burst", "64kb", "latency", "400ms")
    lab.client("snapshot", "create", "cut", "--node", "n1", "--from", rfc3339(before), "--to", rfc3339(end), "--deadline", "15s")
    journal = lab.hub_data / "jobs" / "cut" / "journal.ndjson"
    wait_for(lambda: journal.exists() and '"stored"' in journal.read_text(), "a member to be stored")
    node.run("ip", "link", "set", "mgmt0", "down")
    snapshot = lab.wait_for_snapshot("cut")
    assert snapshot["state"] == "completed" and not snapshot["complete"], json.dumps(snapshot)[:1500]
    gaps = gaps_of(snapshot)
    assert any(g["reason"] == "not transferred" for g in gaps), gaps
    # Nobody could say whether the members that came are whole.
    assert any(g["reason"] == "not confirmed" for g in gaps), gaps
    missing, bare = untold(lab, "cut", snapshot, oracle, before, end, tmp_path)
    assert missing and not bare
    certain = [(ns_of(g["start"]), ns_of(g["end"])) for g in gaps if g["reason"] == "not transferred"]
    got = per_interface(tmp_path / "cut.pcapng")[("n1", "eth0")]
    assert got, "nothing came before the cut"
    for t in missing_times([p for p in oracle.packets if before + SECOND // 100 <= p.time_ns < end - SECOND // 100], got):
        # The two recordings' stamps are not quite the same.
        assert any(a - TOLERANCE_NS <= t < b + TOLERANCE_NS for a, b in certain), f"{rfc3339(t)} is in no member that did not come: {gaps}"
    node.run("ip", "link", "set", "mgmt0", "up")
