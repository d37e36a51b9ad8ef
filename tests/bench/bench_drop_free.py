#!/usr/bin/env python3
"""The highest packet rate that lookback capture, tcpdump, dumpcap, netsniff-ng and stenotype each record without a loss.

The namespaces, the recorders and the count of what was lost are those of bench_capture. Each recorder gets the sender's full
speed first; where it loses packets there, the rate is halved into from both sides. A recorder that loses nothing at full speed is
faster than this machine can tell. Ratios are of rates: above 1 we stand more than the peer.
"""
import sys

import bench_capture
import common

SIZES = {"1400 B": "1400", "64-100 B": "64,80,100"}
STEPS = 5  # the answer is known to 1/32 of the full speed


def probe(name, sizes, pps, options):
    """(packets a second that crossed, how many of them were lost)"""
    row = bench_capture.bench_one(name, "max", options, ["--pps", str(pps), "--sizes", sizes])
    rate = row["packets"] / options.seconds
    print(f"{name}, {sizes} B: {rate:.0f} packets/s, {row['lost']} lost", file=sys.stderr)
    return rate, row["lost"]


def drop_free_rate(name, sizes, options):
    """Packets a second, and whether the sender could not do more; None where the recorder does not tell what it lost."""
    rate, lost = probe(name, sizes, 0, options)
    if lost is None:
        return None
    if lost == 0:
        return rate, True
    best, low, high = 0, 0, rate
    for _ in range(STEPS):
        rate, lost = probe(name, sizes, int((low + high) / 2), options)
        if lost == 0:
            best = low = rate
        else:
            high = (low + high) / 2
    return best, False


def main():
    parser = bench_capture.recorder_arguments(__doc__.splitlines()[0])
    options, names = bench_capture.parse(parser)
    results = common.Results("drop-free")
    try:
        bench_capture.set_up()
        for text, sizes in SIZES.items():
            rates = {name: drop_free_rate(name, sizes, options) for name in names}
            ours = rates["lookback"]
            for name, theirs in rates.items():
                if name == "lookback" or theirs is None:
                    continue
                # Where the sender is the limit of both, a ratio would be of the sender with itself.
                both = ours[1] and theirs[1]
                marks = ["at least " if most else "" for _, most in (ours, theirs)]
                results.add(f"{text}: rate without loss", ours[0] / 1e3, None if both else theirs[0] / 1e3, name,
                            f"kpps ({marks[0]}ours; {name} {marks[1]}{theirs[0] / 1e3:.0f})", ">= 1")
    finally:
        bench_capture.tear_down()


if __name__ == "__main__":
    main()
