#pragma once
// What is known of a recorded time: where packets are missing, and how far the clock was off. One vocabulary for segments, freezes,
// manifests, the daemons' APIs and capture files. Their JSON is in coverage_json.hpp.

#include <cstddef>
#include <cstdint>
#include <string>

#include "lookback/base/gap_reason.hpp"
#include "lookback/base/time.hpp"

namespace lookback {

/// An interval in which packets were lost, [start, end), in node time.
struct Gap {
  int64_t start_ns = 0, end_ns = 0;
  uint64_t packets = 0;  ///< 0: not known how many
  std::string reason;    ///< the name of a GapReason; a newer version may have others
  /// An empty gap counts as the moment where it starts.
  [[nodiscard]] bool touches(TimeWindow window) const { return window.overlaps(start_ns, end_ns > start_ns ? end_ns - 1 : start_ns); }
  /// Whether it tells all that the other one does.
  [[nodiscard]] bool covers(const Gap& other) const {
    return start_ns <= other.start_ns && end_ns >= other.end_ns && packets >= other.packets && reason == other.reason;
  }
  friend bool operator==(const Gap&, const Gap&) = default;
};

/// The node's clock against the hub's: offset = node − hub at the node time `time_ns`, known to ± error_ns.
struct ClockSample {
  int64_t time_ns = 0;
  int64_t offset_ns = 0;
  int64_t error_ns = 0;  ///< half the round trip and the drift since
  int64_t step_ns = 0;   ///< not 0: the node's clock jumped by this much here
  friend bool operator==(const ClockSample&, const ClockSample&) = default;
};

/// Bytes of a reason, beyond which it is not read.
inline constexpr size_t kMaxReason = 4096;

}  // namespace lookback
