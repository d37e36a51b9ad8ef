#pragma once
// How far stamps can be relied on, and sums of times that end at the last one there is.

#include <cstdint>
#include <limits>

#include "lookback/base/time.hpp"

namespace lookback::store {

[[nodiscard]] constexpr int64_t saturating_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

/// Processors do not queue in the order in which they stamp: by as much, a packet may be older than
/// one that the kernel handed over before it. The bounds of kernel blocks are as good as that.
inline constexpr int64_t kKernelTimeSlackNs = kNsPerSecond;
[[nodiscard]] constexpr int64_t earlier_by_slack(int64_t time_ns) {
  return saturating_add(time_ns, -kKernelTimeSlackNs);
}
[[nodiscard]] constexpr int64_t later_by_slack(int64_t time_ns) {
  return saturating_add(time_ns, kKernelTimeSlackNs);
}

}  // namespace lookback::store
