#pragma once
// Notices when somebody sets the node's clock.

#include <cstdint>
#include <optional>

#include "lookback/base/clock.hpp"

namespace lookback::node {

/// The wall clock against the steady one between two looks. Slewing (adjtimex, at most 500 µs a second) stays below the
/// threshold; a step does not. One thread; look about once a second.
class ClockWatch {
 public:
  static constexpr int64_t kThresholdNs = 10'000'000;

  explicit ClockWatch(const Clock& clock)
      : clock_(clock), difference_ns_(difference()), looked_ns_(clock.realtime_ns()) {}
  /// By how much the clock jumped since the last call; nothing where it did not.
  [[nodiscard]] std::optional<int64_t> look() {
    const int64_t now = difference();
    const int64_t jump = now - difference_ns_;
    difference_ns_ = now;
    const bool stepped = jump <= -kThresholdNs || jump >= kThresholdNs;
    if (stepped) earliest_ns_ = looked_ns_ + jump;
    looked_ns_ = clock_.realtime_ns();
    if (!stepped) return std::nullopt;
    return jump;
  }
  /// The lowest time that the clock can have shown since the last jump: it may have come just after the look before it.
  [[nodiscard]] int64_t earliest_ns() const { return earliest_ns_; }

 private:
  [[nodiscard]] int64_t difference() const {
    // Being interrupted between the two readings looks like a step: the closest pair of a few counts.
    int64_t best = 0, best_span = INT64_MAX;
    for (int i = 0; i < 4; ++i) {
      const int64_t before = clock_.monotonic_ns();
      const int64_t wall = clock_.realtime_ns();
      const int64_t span = clock_.monotonic_ns() - before;
      if (span >= best_span) continue;
      best_span = span;
      best = wall - before;
    }
    return best;
  }

  const Clock& clock_;
  int64_t difference_ns_;
  int64_t looked_ns_, earliest_ns_ = 0;
};

}  // namespace lookback::node
