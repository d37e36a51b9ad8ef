"""What the daemons may do once they run, and who may read what they write."""
import os
import pathlib
import stat

import pytest

from lab import wait_for
from standalone import Standalone

CAPABILITIES = ("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw "
                "ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config "
                "mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf "
                "checkpoint_restore").split()
RECORDING = {"net_raw", "net_admin", "ipc_lock", "sys_nice", "sys_resource", "net_bind_service"}
EVENTS = {"bpf", "perfmon", "sys_admin", "sys_ptrace", "dac_read_search", "net_broadcast"}


def fields(path):
    return dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)


def names(mask):
    return {name for number, name in enumerate(CAPABILITIES) if int(mask, 16) >> number & 1}


def threads_of(pid):
    return [fields(task / "status") for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def check_confined(process, allowed):
    for thread in threads_of(process.pid):
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            assert names(thread[kind]) <= allowed, (thread["Name"], kind, names(thread[kind]) - allowed)
        assert names(thread["CapInh"]) == names(thread["CapAmb"]) == set()
        assert thread["NoNewPrivs"] == "1" and thread["Seccomp"] == "2", thread["Name"]


def make_data_foreign(path):
    path.mkdir()
    os.chown(path, 12345, 12345)
    return path


def test_daemons_keep_what_they_need(make_lab):
    lab = make_lab(nodes=2)
    check_confined(lab.hub, {"net_bind_service"})
    lab.nodes[0].start_capture("--os-events=off")
    check_confined(lab.nodes[0].capture, RECORDING)
    lab.nodes[1].start_capture()
    check_confined(lab.nodes[1].capture, RECORDING | EVENTS)
    lab.wait_for_nodes()
    lab.nodes[0].run("ping", "-c", "2", "-i", "0.2", lab.nodes[1].address)
    done = lab.client("snapshot", "create", "s", "--last", "1m", "--wait", check=False)
    assert done.returncode in (0, 3), done
    # It goes on to work for interfaces that come later.
    lab.add_pair(lab.nodes[0].namespace, "extra0", "extra1")


def test_a_folder_of_somebody_else_can_be_recorded_into(make_lab):
    lab = make_lab(nodes=1, hub=False)
    data = make_data_foreign(lab.directory / "theirs")
    data.chmod(0o500)
    daemon = Standalone(lab, lab.nodes[0].namespace, "--interface", "lo", data=data)
    check_confined(daemon.process, RECORDING | EVENTS | {"dac_override", "fowner"})
    daemon.stop()


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_is_written_is_the_daemons_alone(make_lab, umask):
    lab = make_lab(nodes=1, hub=False)
    before = os.umask(umask)
    try:
        daemon = Standalone(lab, lab.nodes[0].namespace, data=lab.directory / "new" / "data")
        lab.nodes[0].run("ping", "-c", "2", "-i", "0.2", "127.0.0.1")
        daemon.snapshot("s")
        wait_for(lambda: list(daemon.data.rglob("s.tar.zst")), "the archive")
        daemon.stop()
    finally:
        os.umask(before)
    seen = set()
    for path in [daemon.data.parent, daemon.data, *daemon.data.rglob("*")]:
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        seen.add(path.suffix)
        if stat.S_ISDIR(status.st_mode):
            assert mode == 0o700, (path, oct(mode))
        else:
            assert mode in (0o600, 0o400), (path, oct(mode))
    assert {".zst", ".json"} <= seen, seen
