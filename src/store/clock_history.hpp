#pragma once
// What is known of the node's clock, era by era. All times in nanoseconds of the node's clock.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <vector>

#include "lookback/base/time.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

/// A stretch of recording between two steps of the clock, or two starts of the daemon: in it, the
/// clock only goes forward.
struct ClockEra {
  int64_t begin_ns = std::numeric_limits<int64_t>::min();
  int64_t end_ns = 0;   ///< of its last stamps, at the most
  int64_t step_ns = 0;  ///< by which it begins; 0: with a start
  std::vector<ClockSample> samples;
};

/// Where the eras of a segment begin.
struct SegmentEras {
  size_t first = 0;              ///< the one that was under way before its first sample
  std::vector<size_t> begin_at;  ///< the samples, by index in Segment::clock, that begin the next
  /// The era of what stands behind so many samples of the segment.
  [[nodiscard]] size_t of(size_t samples_before) const;
};

struct ClockEras {
  std::vector<ClockEra> all;                   ///< as they were recorded; never empty
  std::map<uint64_t, SegmentEras> of_segment;  ///< by sequence; of those that can be read

  /// The stamps that packets of the era can bear; the stop before a start counts to the era before.
  [[nodiscard]] TimeWindow reach(size_t era) const;
  /// The samples in order of node time, as Store::clock_history() says; of some eras only where
  /// `counts` is given.
  [[nodiscard]] std::vector<ClockSample> history(
      const std::function<bool(size_t)>& counts = {}) const;
};

/// Of a history, the samples inside the window, and the ones next to it on both sides.
[[nodiscard]] std::vector<ClockSample> samples_for(const std::vector<ClockSample>& history,
                                                   TimeWindow window);

}  // namespace lookback::store
