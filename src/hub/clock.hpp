#pragma once
// What nodes say of their clocks. The nodes themselves translate windows.

#include <cstdint>
#include <optional>

#include "lookback/base/time.hpp"

namespace lookback::hub {

/// What a node last reported: offset = node clock − hub clock, known to ± error.
struct ClockReport {
  int64_t offset_ns = 0, error_ns = 0;
  int64_t measured_ns = 0;  ///< node time
};

/// A century either way is beyond any clock, and sums with a time cannot overflow.
inline constexpr int64_t kMaxClockOffset = 100LL * 366 * 86400 * kNsPerSecond;

}  // namespace lookback::hub
