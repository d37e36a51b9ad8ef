#include "lookback/base/clock.hpp"

#include <time.h>

#include "lookback/base/time.hpp"

namespace lookback {

namespace {

int64_t read_clock(clockid_t id) {
  timespec t{};
  ::clock_gettime(id, &t);
  return static_cast<int64_t>(t.tv_sec) * kNsPerSecond + t.tv_nsec;
}

class SystemClock final : public Clock {
 public:
  int64_t realtime_ns() const override { return read_clock(CLOCK_REALTIME); }
  int64_t monotonic_ns() const override { return read_clock(CLOCK_MONOTONIC); }
};

}  // namespace

const Clock& Clock::system() {
  static const SystemClock clock;
  return clock;
}

}  // namespace lookback
