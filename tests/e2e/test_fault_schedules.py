"""Random faults on a whole cluster, some seeds of them. scripts/fault-schedules runs as many as one likes."""
import os
import time

import pytest

from fault_cluster import Cluster
from fault_judge import Judge
from fault_schedule import describe, plan

SECONDS = 25


def seeds():
    """LOOKBACK_FAULT_SEEDS: numbers and ranges, as 7,20-29."""
    chosen = []
    for part in os.environ.get("LOOKBACK_FAULT_SEEDS", "2-4").split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first), int(last or first) + 1)
    return chosen


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", seeds())
def test_nothing_is_lost_untold(make_lab, tmp_path, seed):
    lab = make_lab(nodes=3, hub=False)
    steps = plan(seed, SECONDS)
    with open(tmp_path / "course.txt", "w") as log:
        cluster = Cluster(lab, seed, log)
        try:
            cluster.start()
            cluster.run(steps)
            cluster.wait_until_healed()
            cluster.stop_traffic()
            # At last, everything that the disks still hold.
            cluster.created["all"] = cluster.command("snapshot", "create", "all", "--last", f"{(time.time_ns() - cluster.start_ns) / 1e9:.3f}s",
                                                     "--deadline", "60s", "--wait", deadline=60)
            judge = Judge(cluster)
            judge.all()
        finally:
            cluster.close()
    print(f"seed {seed}: {len(steps)} steps, {judge.snapshots} snapshots, {judge.packets} packets held against tcpdump, {judge.missing} missing, "
          f"all told by {judge.gaps} gaps; recorders' memory {max(cluster.peak_memory.values()) >> 20} MiB at most")
    assert not judge.broken, "\n".join([f"seed {seed}", *judge.broken, "", describe(steps), "", (tmp_path / "course.txt").read_text()])
