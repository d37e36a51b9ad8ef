#pragma once
// A progress bar on standard error. Quiet where standard error is not a terminal. One thread.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>

namespace lookback::cli {

/// The line for a state of the work; a pure function, so that it can be tested. `total` 0: not
/// known, no bar then.
struct ProgressState {
  uint64_t done = 0, total = 0;  ///< bytes
  double bytes_per_second = 0;
  std::string detail;  ///< "2 of 3 nodes"
};
[[nodiscard]] std::string progress_line(const ProgressState& state, size_t width);

class Progress {
 public:
  /// `fd`: where the bar goes; nothing is written unless it is a terminal, or when `enabled` is
  /// false.
  explicit Progress(int fd = 2, bool enabled = true);
  /// Wipes the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows the state, at most ten times a second; the rate is measured here over the last few
  /// seconds.
  void update(uint64_t done, uint64_t total, std::string detail = {});
  /// Removes the line, so that something else can be written; the next update brings it back.
  void clear();
  [[nodiscard]] bool shown() const { return enabled_; }

 private:
  using Clock = std::chrono::steady_clock;
  int fd_;
  bool enabled_;
  bool visible_ = false;
  Clock::time_point last_{};
  std::deque<std::pair<Clock::time_point, uint64_t>> history_;
};

}  // namespace lookback::cli
