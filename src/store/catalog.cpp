#include "store/catalog.hpp"

#include <algorithm>
#include <utility>

namespace lookback::store {

namespace {

constexpr size_t kMaxGapsOfSegment = 1024;

/// What is missing from a window, collected.
class Missing {
 public:
  Missing(TimeWindow window, const Catalog::Asked& asked) : window_(window), asked_(asked) {}

  /// [start, end) cut to the window, if anything is left of it and it was asked for.
  void add(int64_t start, int64_t end, GapReason reason, uint64_t sequence = 0) {
    start = std::max(start, window_.from_ns);
    end = std::min(end, window_.to_ns);
    if (start < end) add_whole(sequence, {start, end, 0, to_string(reason)});
  }
  /// Turned round, the clock was set back by nobody knows how much: both times are in it.
  void add_between(int64_t a, int64_t b, GapReason reason) {
    if (a <= b) return add(a, b, reason);
    add(b, saturating_add(a, 1), reason);
  }
  /// Its count is that of the whole gap.
  void add_whole(uint64_t sequence, const Gap& gap) {
    if (gap.touches(window_) && (!asked_ || asked_(sequence, gap))) gaps_.push_back(gap);
  }
  [[nodiscard]] std::vector<Gap> take() {
    std::stable_sort(gaps_.begin(), gaps_.end(),
                     [](const Gap& a, const Gap& b) { return a.start_ns < b.start_ns; });
    return std::move(gaps_);
  }

 private:
  const TimeWindow window_;
  const Catalog::Asked& asked_;
  std::vector<Gap> gaps_;
};

/// The time between two runs of the daemon. Its clock may have been set meanwhile.
struct Outage {
  int64_t complete_ns, started_ns;           ///< by the clock before, and by the clock after
  std::optional<ClockSample> before, after;  ///< what the two runs knew of their clocks
  uint64_t last_segment, next_segment;       ///< 0: none
};

void add_outage(Missing& missing, GapReason reason, const Outage& outage) {
  if (!outage.before || !outage.after)
    return missing.add_between(outage.complete_ns, outage.started_ns, reason);
  const int64_t set_by = saturating_add(outage.after->offset_ns, -outage.before->offset_ns);
  const int64_t error = saturating_add(outage.after->error_ns, outage.before->error_ns);
  const int64_t end_before = saturating_add(saturating_add(outage.started_ns, -set_by), error),
                start_after = saturating_add(saturating_add(outage.complete_ns, set_by), -error);
  const TimeWindow by_before{outage.complete_ns,
                             std::max(end_before, saturating_add(outage.complete_ns, 1))},
      by_after{std::min(start_after, saturating_add(outage.started_ns, -1)), outage.started_ns};
  if (by_before.overlaps(by_after.from_ns, by_after.to_ns)) {
    // Not set but measured: the outage as either clock shows it.
    if (set_by <= error && set_by >= -error)
      return missing.add_between(outage.complete_ns, outage.started_ns, reason);
    return missing.add(std::min(by_before.from_ns, by_after.from_ns),
                       std::max(by_before.to_ns, by_after.to_ns), reason);
  }
  missing.add(by_before.from_ns, by_before.to_ns, reason, outage.last_segment);
  missing.add(by_after.from_ns, by_after.to_ns, reason, outage.next_segment);
}

}  // namespace

TimeWindow block_bounds(const IndexEntry& entry) {
  if (entry.kind != static_cast<uint16_t>(BlockKind::kernel))
    return {entry.first_ns, saturating_add(entry.last_ns, 1)};
  return {earlier_by_slack(entry.first_ns), saturating_add(later_by_slack(entry.last_ns), 1)};
}

int64_t Segment::nothing_lost_from_ns() const {
  return std::min(later_by_slack(first_ns), opened_ns);
}

void Segment::add_block(const IndexEntry& entry) {
  if (entry.kind == static_cast<uint16_t>(BlockKind::note)) return;
  const uint64_t offset = uint64_t{entry.page} * kPageBytes;
  const uint64_t end = round_up(offset + entry.used_bytes, kPageBytes);
  const TimeWindow bounds = block_bounds(entry);
  // Behind a step of the clock the first block may have stamps of both sides.
  const int64_t all_before = earlier_by_slack(stepped ? entry.first_ns : entry.last_ns);
  complete_ns = stepped ? std::min(complete_ns.value_or(all_before), all_before) : all_before;
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
  for (const ClockSample& sample : samples) {
    // What is lost from now on has stamps of the new time.
    const int64_t all_before = earlier_by_slack(sample.time_ns);
    if (sample.step_ns < 0) complete_ns = std::min(complete_ns.value_or(all_before), all_before);
  }
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
      if (last.reason != gap.reason) last.reason = to_string(GapReason::several);
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

std::optional<ClockSample> Catalog::first_sample(
    std::map<uint64_t, Segment>::const_iterator from) const {
  const uint64_t run = from->second.run_id;
  for (; from != segments.end() && (from->second.run_id == run || !from->second.readable); ++from)
    if (!from->second.clock.empty()) return from->second.clock.front();
  return std::nullopt;
}

std::vector<Gap> Catalog::gaps(TimeWindow window, const Asked& asked,
                               const std::vector<ClockSample>& waiting) const {
  Missing missing(window, asked);
  const Segment* previous = nullptr;
  int64_t complete_ns = 0;  // up to where everything is there of the run of `previous`
  std::optional<ClockSample> last_sample;  // that the run of `previous` knew
  bool unreadable = false;                 // since `previous`
  const auto first_waiting = [&]() -> std::optional<ClockSample> {
    if (waiting.empty()) return std::nullopt;
    return waiting.front();
  };
  for (auto it = segments.begin(); it != segments.end(); ++it) {
    const auto& [sequence, segment] = *it;
    if (!segment.readable) {
      unreadable = true;
      continue;
    }
    const int64_t starts = segment.nothing_lost_from_ns();
    const GapReason lost_because = unreadable ? GapReason::damaged_segment : GapReason::recycled;
    const bool same_run = previous != nullptr && previous->run_id == segment.run_id;
    const bool adjacent = previous != nullptr && previous->sequence + 1 == sequence;
    if (unreadable && previous == nullptr) {
      missing.add(window.from_ns, starts, GapReason::damaged_segment);
    } else if (previous == nullptr) {
      // The very first segment has everything from the moment recording was started.
      const int64_t lowest = std::min(segment.starts_ns(), lowest_after_steps());
      if (sequence > 1)
        missing.add(window.from_ns, lowest, GapReason::recycled);
      else
        missing.add(window.from_ns, std::min(lowest, segment.run_started_ns),
                    GapReason::not_running);
    } else if (same_run && (unreadable || !adjacent)) {
      missing.add_between(complete_ns, starts, lost_because);
    } else if (!same_run) {
      std::optional<ClockSample> first = first_sample(it);
      if (!first && segment.run_id == run_id) first = first_waiting();
      const int64_t until_ns = unreadable || !adjacent ? starts : segment.run_started_ns;
      add_outage(missing, adjacent ? GapReason::not_running : lost_because,
                 {complete_ns, until_ns, last_sample, first, previous->sequence, sequence});
    }
    for (const Gap& gap : segment.gaps) missing.add_whole(sequence, gap);
    if (!same_run) {
      complete_ns = segment.run_started_ns;
      last_sample.reset();
    }
    if (segment.complete_ns) complete_ns = *segment.complete_ns;
    if (!segment.clock.empty()) last_sample = segment.clock.back();
    previous = &segment;
    unreadable = false;
  }
  // This run may not have recorded anything so far.
  if (previous == nullptr) {
    missing.add(window.from_ns, run_started_ns,
                unreadable ? GapReason::damaged_segment : GapReason::not_running);
  } else if (previous->run_id != run_id) {
    add_outage(missing, unreadable ? GapReason::damaged_segment : GapReason::not_running,
               {complete_ns, run_started_ns, last_sample, first_waiting(), previous->sequence, 0});
  } else if (unreadable) {
    missing.add(complete_ns, window.to_ns, GapReason::damaged_segment);
  }
  return missing.take();
}

}  // namespace lookback::store
