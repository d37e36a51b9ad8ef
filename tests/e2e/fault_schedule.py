"""Random schedules of faults. A seed decides which faults happen, when, to whom, and for how long; when they meet is up to the machine.

A fault takes something that only one fault can have at a time: a daemon's process, a node's network, a disk. A fault whose resource is taken
at its time is left out, so a schedule is the same for everybody who has its seed.
"""
import collections
import random

NODES = ("n1", "n2", "n3")

# `targets`: whom it can happen to. `takes`: the resource. `lasts`: bounds of its length in seconds; None: over at once.
Fault = collections.namedtuple("Fault", "name targets takes lasts weight")

FAULTS = (
    Fault("kill_capture", NODES, "process", (0.0, 3.0), 6),
    Fault("end_capture", NODES, "process", (0.0, 2.0), 3),
    Fault("stop_capture", NODES, "process", (0.5, 6.0), 4),
    Fault("damage_segment", NODES, "process", (0.1, 1.0), 4),
    Fault("cut_network", NODES, "network", (0.5, 8.0), 4),
    Fault("slow_network", NODES, "network", (1.0, 6.0), 3),
    Fault("fill_disk", NODES, "disk", (0.5, 4.0), 2),
    Fault("new_interface", NODES, "interface", None, 2),
    Fault("kill_hub", ("hub",), "process", (0.0, 3.0), 3),
    Fault("stop_hub", ("hub",), "process", (0.5, 5.0), 2),
    Fault("fill_disk", ("hub",), "disk", (0.5, 4.0), 1),
    Fault("create", ("client",), None, None, 14),
    Fault("cancel", ("client",), None, None, 2),
    Fault("delete", ("client",), None, None, 1),
    Fault("export", ("client",), None, None, 4),
)

TAKES = {fault.name: fault.takes for fault in FAULTS}

# `dice` seeds what the fault itself decides: which window, which segment, which bytes.
Step = collections.namedtuple("Step", "at fault target lasts dice")


def plan(seed, seconds):
    """The steps of a seed in the order of their times."""
    rng = random.Random(seed)
    busy = collections.defaultdict(float)  # by (target, resource): until when it is taken
    steps = []
    at = 1.5
    while True:
        at += rng.expovariate(1.6)
        if at >= seconds:
            return steps
        fault = rng.choices(FAULTS, [f.weight for f in FAULTS])[0]
        target = rng.choice(fault.targets)
        lasts = rng.uniform(*fault.lasts) if fault.lasts else 0.0
        dice = rng.randrange(1 << 32)
        if fault.takes and busy[target, fault.takes] > at:
            continue
        busy[target, fault.takes] = at + lasts + 0.5
        steps.append(Step(at, fault.name, target, lasts, dice))


def describe(steps):
    return "\n".join(f"{s.at:6.2f} s  {s.fault} {s.target}" + (f" for {s.lasts:.2f} s" if s.lasts else "") for s in steps)
