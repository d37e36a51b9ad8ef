#pragma once
// Rates over the last seconds and minutes.

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

namespace lookback::node {

struct Rates {
  double packets_per_second = 0, bytes_per_second = 0;  ///< over about ten seconds
  double disk_bytes_per_second = 0;                     ///< over the last minutes: what retention depends on
};

/// add() by one thread about once a second, rates() by any.
class RateMeter {
 public:
  void add(int64_t monotonic_ns, uint64_t packets, uint64_t bytes, uint64_t disk_bytes) {
    const std::lock_guard lock(mutex_);
    samples_[next_ % kSamples] = {monotonic_ns, packets, bytes, disk_bytes};
    ++next_;
  }
  [[nodiscard]] Rates rates() const {
    const std::lock_guard lock(mutex_);
    Rates rates;
    if (next_ < 2) return rates;
    const Sample& now = back(1);
    const Sample& recent = back(kShort);
    const Sample& old = back(kSamples);
    if (const double seconds = static_cast<double>(now.time_ns - recent.time_ns) / 1e9; seconds > 0) {
      rates.packets_per_second = static_cast<double>(now.packets - recent.packets) / seconds;
      rates.bytes_per_second = static_cast<double>(now.bytes - recent.bytes) / seconds;
    }
    if (const double seconds = static_cast<double>(now.time_ns - old.time_ns) / 1e9; seconds > 0)
      rates.disk_bytes_per_second = static_cast<double>(now.disk_bytes - old.disk_bytes) / seconds;
    return rates;
  }

 private:
  static constexpr size_t kSamples = 300, kShort = 11;
  struct Sample {
    int64_t time_ns = 0;
    uint64_t packets = 0, bytes = 0, disk_bytes = 0;
  };
  /// The n-th last sample, or the oldest there is.
  [[nodiscard]] const Sample& back(size_t n) const {
    return samples_[(next_ - (n < next_ ? n : next_)) % kSamples];
  }

  mutable std::mutex mutex_;
  std::array<Sample, kSamples> samples_;
  size_t next_ = 0;
};

}  // namespace lookback::node
