#include "store/catalog.hpp"

#include <algorithm>
#include <utility>

namespace lookback::store {

namespace {

constexpr size_t kMaxGapsOfSegment = 1024;

/// Adds [start, end) cut to the window, if anything is left of it.
void add_missing(std::vector<Gap>& gaps, TimeWindow window, int64_t start, int64_t end,
                 const char* reason) {
  start = std::max(start, window.from_ns);
  end = std::min(end, window.to_ns);
  if (start < end) gaps.push_back({start, end, 0, reason});
}

}  // namespace

TimeWindow block_bounds(const IndexEntry& entry) {
  const int64_t slack =
      entry.kind == static_cast<uint16_t>(BlockKind::kernel) ? kKernelTimeSlackNs : 0;
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min(),
                    kHighest = std::numeric_limits<int64_t>::max();
  return {entry.first_ns < kLowest + slack ? kLowest : entry.first_ns - slack,
          entry.last_ns > kHighest - slack - 1 ? kHighest : entry.last_ns + slack + 1};
}

void Segment::add_block(const IndexEntry& entry) {
  if (entry.kind == static_cast<uint16_t>(BlockKind::note)) return;
  const uint64_t offset = uint64_t{entry.page} * kPageBytes;
  const uint64_t end = round_up(offset + entry.used_bytes, kPageBytes);
  const TimeWindow bounds = block_bounds(entry);
  if (std::exchange(stepped, false) || chunks.empty() || end - chunks.back().offset > kRunBytes) {
    chunks.push_back({offset, 0, 0, bounds.from_ns, bounds.to_ns - 1, clock.size()});
  }
  Chunk& chunk = chunks.back();
  chunk.bytes = end - chunk.offset;
  chunk.packets += entry.packets;
  chunk.first_ns = std::min(chunk.first_ns, bounds.from_ns);
  chunk.last_ns = std::max(chunk.last_ns, bounds.to_ns - 1);
  packets += entry.packets;
  first_ns = std::min(first_ns, entry.first_ns);
  last_ns = std::max(last_ns, entry.last_ns);
}

void Segment::add_clock(const std::vector<ClockSample>& samples) {
  stepped = stepped || std::any_of(samples.begin(), samples.end(),
                                   [](const ClockSample& sample) { return sample.step_ns != 0; });
  clock.insert(clock.end(), samples.begin(), samples.end());
}

void shorten_gaps(std::vector<Gap>& gaps, size_t limit) {
  for (bool same_reason = true; gaps.size() > limit; same_reason = false) {
    // Neighbours become one, pair by pair; where reasons alternate too much for that, whatever they
    // are.
    std::vector<Gap> merged;
    bool paired = true;
    for (Gap& gap : gaps) {
      if (paired || (same_reason && merged.back().reason != gap.reason)) {
        merged.push_back(std::move(gap));
        paired = false;
        continue;
      }
      Gap& last = merged.back();
      last.start_ns = std::min(last.start_ns, gap.start_ns);
      last.end_ns = std::max(last.end_ns, gap.end_ns);
      last.packets += gap.packets;
      if (last.reason != gap.reason) last.reason = "several reasons";
      paired = true;
    }
    gaps = std::move(merged);
  }
}

void Segment::add_gap(const Gap& gap) {
  gaps.push_back(gap);
  shorten_gaps(gaps, kMaxGapsOfSegment);
}

uint64_t Catalog::disk_bytes() const {
  uint64_t sum = 0;
  for (const auto& [sequence, segment] : segments) sum += segment.disk_bytes;
  return sum;
}

uint64_t Catalog::frozen_bytes() const {
  uint64_t sum = 0;
  for (const auto& [sequence, segment] : segments) {
    if (segment.freezes > 0) sum += segment.disk_bytes;
  }
  return sum;
}

std::map<uint64_t, Segment>::const_iterator Catalog::unbroken_begin() const {
  auto it = segments.end();
  uint64_t expected = 0;
  while (it != segments.begin()) {
    const auto previous = std::prev(it);
    if (it != segments.end() && previous->first + 1 != expected) break;
    it = previous;
    expected = it->first;
  }
  return it;
}

uint64_t Catalog::victim(uint64_t freeze_quota) const {
  uint64_t oldest_frozen = 0, passed_over = 0;
  for (const auto& [sequence, segment] : segments) {
    if (!segment.sealed) continue;
    if (segment.freezes == 0) return passed_over > freeze_quota ? oldest_frozen : sequence;
    if (oldest_frozen == 0) oldest_frozen = sequence;
    passed_over += segment.disk_bytes;
  }
  // Everything is frozen: recording goes on all the same, at the cost of the oldest.
  return oldest_frozen;
}

int64_t Catalog::lowest_after_steps() const {
  int64_t lowest = std::numeric_limits<int64_t>::max();
  for (const auto& [sequence, segment] : segments) {
    if (!segment.readable) continue;
    lowest = std::min(lowest, segment.starts_ns());
    for (const ClockSample& sample : segment.clock) {
      if (sample.step_ns != 0) lowest = std::min(lowest, sample.time_ns);
    }
  }
  return lowest;
}

std::vector<Gap> Catalog::gaps(TimeWindow window,
                               const std::function<bool(uint64_t)>& counts) const {
  std::vector<Gap> found;
  const Segment* previous = nullptr;
  bool unreadable = false;  // since `previous`
  for (const auto& [sequence, segment] : segments) {
    if (!segment.readable) {
      unreadable = true;
      continue;
    }
    const int64_t starts = segment.starts_ns();
    const bool same_run = previous != nullptr && previous->run_id == segment.run_id;
    if (unreadable) {
      add_missing(found, window, previous != nullptr ? previous->ended_ns : window.from_ns, starts,
                  "damaged segment");
    } else if (previous == nullptr) {
      // The very first segment has everything from the moment recording was started.
      const int64_t lowest = std::min(starts, lowest_after_steps());
      if (sequence > 1)
        add_missing(found, window, window.from_ns, lowest, "recycled");
      else
        add_missing(found, window, window.from_ns, std::min(lowest, segment.run_started_ns),
                    "not running");
    } else if (previous->sequence + 1 != sequence) {
      add_missing(found, window, previous->ended_ns, starts, "recycled");
    } else if (!same_run) {
      add_missing(found, window, previous->ended_ns, segment.run_started_ns, "not running");
    }
    if (!counts || counts(sequence)) {
      for (const Gap& gap : segment.gaps)
        if (gap.touches(window)) found.push_back(gap);
    }
    previous = &segment;
    unreadable = false;
  }
  // This run may not have recorded anything so far.
  if (previous == nullptr || previous->run_id != run_id) {
    const char* reason = unreadable ? "damaged segment" : "not running";
    add_missing(found, window, previous != nullptr ? previous->ended_ns : window.from_ns,
                run_started_ns, reason);
  } else if (unreadable) {
    add_missing(found, window, previous->ended_ns, window.to_ns, "damaged segment");
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Gap& a, const Gap& b) { return a.start_ns < b.start_ns; });
  return found;
}

}  // namespace lookback::store
