#pragma once
// The clocks of the machine behind a small interface, so that tests can hand a daemon a shifted or stepping one.

#include <cstdint>

namespace lookback {

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual int64_t realtime_ns() const = 0;   ///< CLOCK_REALTIME
  [[nodiscard]] virtual int64_t monotonic_ns() const = 0;  ///< CLOCK_MONOTONIC

  /// The machine's own clocks; lives for the whole program.
  [[nodiscard]] static const Clock& system();
};

}  // namespace lookback
