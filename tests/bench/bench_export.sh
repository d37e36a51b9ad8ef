#!/bin/bash
# Export against tcpdump, mergecap and editcap, on the same packets: theirs from uncompressed pcap files, ours from the archive.
# Runs are interleaved; medians, and the ratio to the peer.
#
#   tests/bench/bench_export.sh [BUILD-FOLDER] [MEGABYTES-A-NODE] [RUNS]
#
# The data goes to $BENCH_DIR (default /dev/shm when it has room, so that no disk is measured) and is kept there while the script runs.
set -euo pipefail
build=${1:-build/release}
megabytes=${2:-1000}
runs=${3:-5}
bench=$build/tests/bench/bench_export
[ -x "$bench" ] || { echo "bench_export.sh: $bench is missing: cmake --build $build --target bench_export" >&2; exit 2; }

base=${BENCH_DIR:-/tmp}
if [ -z "${BENCH_DIR:-}" ] && [ "$(df --output=avail -m /dev/shm | tail -1)" -gt $((megabytes * 6)) ]; then base=/dev/shm; fi
dir=$(mktemp -d "$base/bench_export.XXXXXX")
trap 'rm -rf "$dir"' EXIT
bench=$(realpath "$bench")
cd "$dir"
"$bench" make . "$megabytes" > made
# shellcheck disable=SC1091
. <(tr ' ' '\n' < made)
echo "two nodes of $megabytes MB, archive $((archive_bytes / 1000000)) MB, $runs runs, load $(cut -d' ' -f1 /proc/loadavg)"

# A slice of one hundredth, in the middle. editcap takes whole microseconds in local time.
slice_from=$(((from_ns + to_ns) / 2 / 1000000 * 1000000))
slice_to=$((slice_from + (to_ns - from_ns) / 100 / 1000000 * 1000000))
seconds() { printf '%d.%06d' $(($1 / 1000000000)) $(($1 % 1000000000 / 1000)); }

# measure NAME WHO COMMAND...: appends "NAME WHO wall cpu rss" to the results.
measure() {
  local name=$1 who=$2
  shift 2
  rm -f theirs ours
  /usr/bin/time -a -o results -f "$name|$who|%e|%U|%S|%M" "$@" > said 2> errors || { cat errors >&2; exit 1; }
}
ours() { measure "$1" ours "$bench" export test.tar.zst ours "${@:2}"; }
theirs() { measure "$1" "$2" "${@:3}"; }

web='tcp port 80'
rare='host 10.9.200.200'
everywhere='host 10.1.0.3'
for ((run = 0; run < runs; ++run)); do
  theirs "filter" tcpdump tcpdump -n -r a.pcap -w theirs "$web"
  ours "filter" "filter=$web" node=a
  theirs "merge, filter" 'mergecap + tcpdump' sh -c "mergecap -F nsecpcap -w - a.pcap b.pcap | tcpdump -n -r - -w theirs '$web'"
  ours "merge, filter" "filter=$web"
  theirs "merge" mergecap mergecap -w theirs a.pcap b.pcap
  ours "merge"
  theirs "rare host" tcpdump tcpdump -n -r a.pcap -w theirs "$rare"
  ours "rare host" "filter=$rare" node=a
  theirs "host in every frame" tcpdump tcpdump -n -r a.pcap -w theirs "$everywhere"
  ours "host in every frame" "filter=$everywhere" node=a
  # tcpdump knows no times: this is what reading everything costs it, with nothing to write.
  theirs "1 % slice" tcpdump tcpdump -n -r a.pcap -w theirs less 0
  theirs "1 % slice" editcap editcap -A "$(seconds "$slice_from")" -B "$(seconds "$slice_to")" a.pcap theirs
  ours "1 % slice" "from=$slice_from" "to=$slice_to" node=a
  ours "merge, dedup" dedup=1
done

python3 - results << 'END'
import statistics, sys
rows = {}
for line in open(sys.argv[1]):
    if line.startswith("Command"): continue
    name, who, wall, user, system, rss = line.rstrip("\n").split("|")
    rows.setdefault(name, {}).setdefault(who, []).append((float(wall), float(user) + float(system), int(rss) / 1024))
print(f"{'job':22} {'who':18} {'wall s':>8} {'CPU s':>8} {'MiB':>6}   ours/theirs: wall, CPU")
for name, by in rows.items():
    middle = {who: [statistics.median(column) for column in zip(*values)] for who, values in by.items()}
    for who, (wall, cpu, rss) in middle.items():
        ratio = "" if who == "ours" or "ours" not in middle else f"   {middle['ours'][0] / wall:.2f}, {middle['ours'][1] / max(cpu, 0.01):.2f}"
        print(f"{name:22} {who:18} {wall:8.2f} {cpu:8.2f} {rss:6.0f}{ratio}")
END
