"""Control groups made by hand, shaped like those of container runtimes."""
import pathlib

from lab import wait_for


def cgroup_mounts():
    mounts = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        front, back = line.split(" - ")
        fields, (kind, _, options) = front.split(), back.split()[:3]
        if fields[3] != "/":
            continue
        if kind == "cgroup2":
            mounts.setdefault("v2", fields[4])
        elif kind == "cgroup" and "pids" in options.split(","):
            mounts.setdefault("v1", fields[4])
    return mounts


def make_cgroup(mount, path, made):
    """Makes a group with those above it, and notes in `made` which were not there."""
    folder = pathlib.Path(mount)
    for part in path.split("/"):
        folder /= part
        if not folder.exists():
            folder.mkdir()
            made.append(folder)
    return folder


def remove_cgroups(made):
    for folder in reversed(made):
        wait_for(lambda: not (folder / "cgroup.procs").read_text().strip(), f"{folder} to be empty")
        folder.rmdir()


IDS = [f"{i:x}" * 64 for i in range(1, 12)]
UID = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"
SLICE = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
# Path, container, runtime as the path tells it, pod: docker, containerd, CRI-O and podman, by systemd's driver and by cgroupfs.
TREES = [
    (f"docker/{IDS[0]}", IDS[0], "docker", None),
    (f"system.slice/docker-{IDS[1]}.scope", IDS[1], "docker", None),
    (f"{SLICE}/cri-containerd-{IDS[2]}.scope", IDS[2], "containerd", UID),
    (f"kubepods/besteffort/pod{UID}/crio-{IDS[3]}", IDS[3], "cri-o", UID),
    (f"machine.slice/libpod-{IDS[4]}.scope/container", IDS[4], "podman", None),
    (f"kubepods/burstable/pod{UID}/{IDS[5]}", IDS[5], None, UID),
    (f"{SLICE}/crio-{IDS[6]}.scope", IDS[6], "cri-o", UID),
    (f"libpod_parent/libpod-{IDS[7]}", IDS[7], "podman", None),
    (f"{SLICE}/docker-{IDS[8]}.scope", IDS[8], "docker", UID),
]
