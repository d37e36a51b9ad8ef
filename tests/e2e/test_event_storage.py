"""The FIFO of OS events beside that of packets: what it takes, borrows and gives back."""
import sys

import pytest

from lab import wait_for
from test_os_events import PORT, events_of, os_events, start_actor


def disk_usage(folder):
    inodes = {}
    for path in folder.rglob("*"):
        try:
            info = path.lstat()
        except FileNotFoundError:  # recycled meanwhile
            continue
        if not path.is_dir():
            inodes[info.st_ino] = max(info.st_blocks * 512, info.st_size)
    return sum(inodes.values())


@pytest.mark.timeout(600)
def test_events_reach_as_far_back_as_packets(make_lab, tmp_path):
    """A flood of events for which their storage is too small: they borrow from the packets, and give back."""
    lab = make_lab(nodes=1)
    node = lab.nodes[0]
    node.start_capture("--event-storage-size", "16MiB", interface="lo", storage="32MiB")
    lab.wait_for_nodes()
    sink = node.spawn(sys.executable, "-c", f"import socket, time; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
                      f"s.bind(('::1', {PORT})); print('ready', flush=True); time.sleep(3600)")
    wait_for(lambda: "ready" in sink.text(), "the sink")
    began = node.status()["layers"]["os_events"]["oldest"]
    seen = []

    def look():
        status = node.status()
        events = status["layers"]["os_events"]
        assert events["state"] == "recording", events
        # Packets from before the first event were there when events began to be recorded.
        assert status["oldest"] is None or events["oldest"] <= max(status["oldest"], began), status
        assert events["used_bytes"] <= events["quota_bytes"] + events["borrowed_bytes"]
        assert events["used_bytes"] + status["used_bytes"] <= (32 + 16) << 20
        assert disk_usage(node.data_dir) <= (32 + 16) << 20
        seen.append((events["oldest"], status["oldest"], events["borrowed_bytes"]))
        return events["borrowed_bytes"]

    # The floods go on until they are ended: how long the storage takes to fill depends on the machine.
    floods = [start_actor(node, "flood", 3600, PORT) for _ in range(2)]
    wait_for(look, "events to borrow", timeout=240, interval=0.3)
    page = node.run(lab.binary, "capture", "--status", "--node-url", node.url).stdout
    assert "borrowed from the packets" in page
    # From then on both move on together.
    first = seen[-1]
    wait_for(lambda: look() and seen[-1][0] > first[0] and seen[-1][1] > first[1], "both windows to move", timeout=240, interval=0.3)
    for flood in floods:
        flood.kill()
    members, _ = os_events(lab, "flood", tmp_path)
    execs = [e for e in events_of(members) if e["kind"] == "exec" and e.get("exe") == "/bin/true"]
    assert len(execs) > 1000
    versions = {path.read_bytes()[8] for path in (node.data_dir / "os-events").glob("*.events")}
    assert versions == {1, 2}  # the open one is plain
    # Packets alone: what events had borrowed is theirs again.
    burst = (f"import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
             f"for _ in range(2000): s.sendto(bytes(1200), ('::1', {PORT}))")
    def given_back():
        node.run(sys.executable, "-c", burst)
        return look() == 0
    wait_for(given_back, "the loan to be given back", timeout=240)
    print(f"{max(borrowed for _, _, borrowed in seen) >> 20} MiB borrowed at most")
