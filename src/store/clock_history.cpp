// What is known of the node's clock against the hub's, put in order of node time.
//
// Samples come in the order in which they were recorded. Between two steps of the clock, or two
// starts of the daemon, node time only goes forward: such a stretch is an era here. A step back
// makes an era that covers node times which an earlier one had already; the newer one has them
// then, and beyond its end the earlier one goes on.
#include <algorithm>
#include <limits>

#include "store/catalog.hpp"

namespace lookback::store {

namespace {

/// A step is noticed up to a second late; where it is said to be is the earliest that it can have
/// come.
constexpr int64_t kStepSlackNs = 2 * kNsPerSecond;
constexpr int64_t kNowSlackNs = 1'000'000;

struct Era {
  int64_t begin_ns = std::numeric_limits<int64_t>::min();
  std::vector<ClockSample> samples;
};

int64_t plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

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
  void lay(Era& era, int64_t end_ns) {
    if (era.samples.empty()) return;
    const int64_t until = plus(std::max(end_ns, era.samples.back().time_ns), 1);
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
      first.time_ns = plus(laid.front().time_ns, -kNsPerSecond);
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

std::vector<ClockSample> Catalog::clock_history(int64_t now_ns,
                                                const std::vector<ClockSample>& waiting) const {
  TimeLine line;
  Era era;
  const ClockSample* last = nullptr;
  const auto add = [&](const ClockSample& sample) {
    // Every segment begins with what was known before it.
    if (last != nullptr && same(*last, sample)) return;
    last = &sample;
    if (sample.step_ns != 0) {
      line.lay(era, plus(plus(sample.time_ns, -sample.step_ns), kStepSlackNs));
      era = {sample.time_ns, {}};
    }
    era.samples.push_back(sample);
  };
  const Segment* previous = nullptr;
  for (const auto& [sequence, segment] : segments) {
    if (!segment.readable) continue;
    if (previous != nullptr && previous->run_id != segment.run_id) {
      line.lay(era, previous->ended_ns);
      era = {segment.run_started_ns, {}};
      last = nullptr;
    }
    for (const ClockSample& sample : segment.clock) add(sample);
    previous = &segment;
  }
  if (previous != nullptr && previous->run_id != run_id && !waiting.empty()) {
    line.lay(era, previous->ended_ns);
    era = {run_started_ns, {}};
    last = nullptr;
  }
  for (const ClockSample& sample : waiting) add(sample);
  line.lay(era, plus(now_ns, kNowSlackNs));
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
