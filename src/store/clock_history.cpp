// What is known of the node's clock against the hub's, put in order of node time.
//
// Samples come in the order in which they were recorded. Between two steps of the clock, or two
// starts of the daemon, node time only goes forward: such a stretch is an era here. A step back
// makes an era that covers node times which an earlier one had already; the newer one has them
// then, and beyond its end the earlier one goes on.
#include "store/clock_history.hpp"

#include <algorithm>
#include <limits>

#include "store/catalog.hpp"
#include "store/time_slack.hpp"

namespace lookback::store {

namespace {

/// A step is noticed up to a second late; where it is said to be is the earliest that it can have
/// come.
constexpr int64_t kStepSlackNs = 2 * kNsPerSecond;
constexpr int64_t kNowSlackNs = 1'000'000;

bool before(int64_t time_ns, const ClockSample& sample) {
  return time_ns < sample.time_ns;
}

bool same(const ClockSample& a, const ClockSample& b) {
  return a.time_ns == b.time_ns && a.offset_ns == b.offset_ns && a.error_ns == b.error_ns &&
         a.step_ns == b.step_ns;
}

/// Lays one era after the other over the line of node time.
class TimeLine {
 public:
  void lay(const ClockEra& era) {
    if (era.samples.empty()) return;
    const int64_t until = saturating_add(std::max(era.end_ns, era.samples.back().time_ns), 1);
    std::optional<ClockSample> resumed;
    if (!line_.empty() && reach_ns_ > until) {
      const auto after = std::upper_bound(line_.begin(), line_.end(), until, before);
      resumed = after == line_.begin() ? line_.front() : *std::prev(after);
      resumed->time_ns = until;
      resumed->step_ns = 0;
    }
    // The first sample is good for all that came before it; the times inside only rise.
    std::vector<ClockSample> laid;
    for (ClockSample sample : era.samples) {
      sample.time_ns = std::max(sample.time_ns, era.begin_ns);
      while (!laid.empty() && laid.back().time_ns >= sample.time_ns) laid.pop_back();
      laid.push_back(sample);
    }
    if (!line_.empty() && laid.front().time_ns > era.begin_ns) {
      ClockSample first = laid.front();
      first.time_ns = era.begin_ns;
      first.step_ns = 0;
      laid.insert(laid.begin(), first);
    }
    const auto keeps_from = std::lower_bound(
        line_.begin(), line_.end(), laid.front().time_ns,
        [](const ClockSample& sample, int64_t time_ns) { return sample.time_ns < time_ns; });
    if (!line_.empty() && keeps_from == line_.begin()) {
      // What came first still decides for all that lies before.
      ClockSample first = line_.front();
      first.time_ns = saturating_add(laid.front().time_ns, -kNsPerSecond);
      first.step_ns = 0;
      laid.insert(laid.begin(), first);
    }
    std::vector<ClockSample> later;
    if (resumed) {
      later.push_back(*resumed);
      later.insert(later.end(), std::upper_bound(line_.begin(), line_.end(), until, before),
                   line_.end());
    }
    line_.erase(keeps_from, line_.end());
    line_.insert(line_.end(), laid.begin(), laid.end());
    line_.insert(line_.end(), later.begin(), later.end());
    reach_ns_ = std::max(reach_ns_, until);
  }
  std::vector<ClockSample> take() { return std::move(line_); }

 private:
  std::vector<ClockSample> line_;  // ascending; each holds until the next, the first for all before
  int64_t reach_ns_ = std::numeric_limits<int64_t>::min();
};

}  // namespace

size_t SegmentEras::of(size_t samples_before) const {
  return first +
         static_cast<size_t>(std::count_if(begin_at.begin(), begin_at.end(),
                                           [&](size_t sample) { return sample < samples_before; }));
}

ClockEras Catalog::clock_eras(int64_t now_ns, const std::vector<ClockSample>& waiting) const {
  ClockEras eras;
  eras.all.emplace_back();
  const ClockSample* last = nullptr;
  const auto begin = [&](int64_t begin_ns, int64_t step_ns, int64_t end_of_last_ns) {
    eras.all.back().end_ns = end_of_last_ns;
    ClockEra& era = eras.all.emplace_back();
    era.begin_ns = begin_ns;
    era.step_ns = step_ns;
  };
  /// True where an era begins with it.
  const auto add = [&](const ClockSample& sample) {
    // Every segment begins with what was known before it.
    if (last != nullptr && same(*last, sample)) return false;
    last = &sample;
    const bool steps = sample.step_ns != 0;
    if (steps)
      begin(sample.time_ns, sample.step_ns,
            saturating_add(saturating_add(sample.time_ns, -sample.step_ns), kStepSlackNs));
    eras.all.back().samples.push_back(sample);
    return steps;
  };
  const Segment* previous = nullptr;
  for (const auto& [sequence, segment] : segments) {
    if (!segment.readable) continue;
    if (previous != nullptr && previous->run_id != segment.run_id) {
      begin(segment.run_started_ns, 0, previous->ended_ns);
      last = nullptr;
    }
    SegmentEras& of_this = eras.of_segment[sequence];
    of_this.first = eras.all.size() - 1;
    for (size_t i = 0; i < segment.clock.size(); ++i)
      if (add(segment.clock[i])) of_this.begin_at.push_back(i);
    previous = &segment;
  }
  if (previous != nullptr && previous->run_id != run_id && !waiting.empty()) {
    begin(run_started_ns, 0, previous->ended_ns);
    last = nullptr;
  }
  for (const ClockSample& sample : waiting) add(sample);
  eras.all.back().end_ns = saturating_add(now_ns, kNowSlackNs);
  return eras;
}

TimeWindow ClockEras::reach(size_t era) const {
  TimeWindow reach{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  if (era > 0) reach.from_ns = all[era].begin_ns;
  if (era + 1 < all.size()) {
    const ClockEra& next = all[era + 1];
    reach.to_ns = all[era].end_ns;
    if (next.step_ns == 0) {
      // When the next run started, by the clock of this era: it may have been set in between.
      int64_t started_ns = next.begin_ns;
      if (!all[era].samples.empty() && !next.samples.empty())
        started_ns =
            saturating_add(started_ns, all[era].samples.back().offset_ns - next.samples.front().offset_ns);
      reach.to_ns = std::max(reach.to_ns, started_ns);
    }
  }
  return reach;
}

std::vector<ClockSample> ClockEras::history(const std::function<bool(size_t)>& counts) const {
  TimeLine line;
  for (size_t i = 0; i < all.size(); ++i)
    if (!counts || counts(i)) line.lay(all[i]);
  return line.take();
}

std::vector<ClockSample> samples_for(const std::vector<ClockSample>& history, TimeWindow window) {
  const auto at = [](const ClockSample& sample, int64_t time) { return sample.time_ns < time; };
  auto begin = std::lower_bound(history.begin(), history.end(), window.from_ns, at);
  auto end = std::lower_bound(history.begin(), history.end(), window.to_ns, at);
  if (begin != history.begin()) --begin;
  if (end != history.end()) ++end;
  return {begin, end};
}

}  // namespace lookback::store
