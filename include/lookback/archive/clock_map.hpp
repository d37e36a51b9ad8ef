#pragma once
// A node's clock against the hub's, as a table of pieces with one offset each: the manifest's
// samples in the form that a loop over millions of packets can afford.

#include <cstdint>
#include <limits>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/time.hpp"

namespace lookback::archive {

/// Sums that stay at the ends of the range: offsets come from a file.
[[nodiscard]] constexpr int64_t saturating_add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return a < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}
[[nodiscard]] constexpr int64_t saturating_sub(int64_t a, int64_t b) {
  int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return a < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

/// Immutable; any number of threads. All times in nanoseconds.
class ClockMap {
 public:
  /// Node times from `start_ns` to before `end_ns` are `offset_ns` ahead of the hub, known to ±
  /// error_ns.
  struct Piece {
    int64_t start_ns, end_ns;
    int64_t offset_ns, error_ns;
  };

  /// clock_offset_at() and clock_error_at() decide; between two samples nothing changes.
  explicit ClockMap(const std::vector<ClockSample>& samples);

  [[nodiscard]] const Piece& piece_at(int64_t node_ns) const;
  [[nodiscard]] int64_t to_hub(int64_t node_ns) const {
    return saturating_sub(node_ns, piece_at(node_ns).offset_ns);
  }
  /// The node times whose hub time is inside `hub`: sorted, disjoint, none empty.
  [[nodiscard]] std::vector<TimeWindow> to_node(TimeWindow hub) const {
    return translate(hub, false);
  }
  /// As to_node(), each part widened by the error of the offset that was valid then.
  [[nodiscard]] std::vector<TimeWindow> to_node_widened(TimeWindow hub) const {
    return translate(hub, true);
  }
  /// The lowest and the highest hub time of any node time in [first_ns, last_ns].
  [[nodiscard]] int64_t lowest_hub(int64_t first_ns, int64_t last_ns) const;
  [[nodiscard]] int64_t highest_hub(int64_t first_ns, int64_t last_ns) const;

  [[nodiscard]] bool measured() const { return measured_; }
  /// True where node time is hub time, always.
  [[nodiscard]] bool is_identity() const {
    return pieces_.size() == 1 && pieces_[0].offset_ns == 0;
  }
  [[nodiscard]] int64_t highest_offset() const;
  [[nodiscard]] int64_t highest_error() const;

 private:
  [[nodiscard]] std::vector<TimeWindow> translate(TimeWindow hub, bool widened) const;

  std::vector<Piece> pieces_;  ///< cover all of int64_t, ascending
  bool measured_ = false;
};

}  // namespace lookback::archive
