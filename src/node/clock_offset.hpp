#pragma once
// The node's clock against the hub's, from heartbeats, as NTP does it (RFC 5905 8): the hub says when a message came
// and when it answered, and half of the rest of the round trip bounds the error.

#include <array>
#include <cstdint>
#include <optional>

namespace lookback::node {

struct ClockExchange {
  int64_t sent_ns = 0, arrived_ns = 0;        ///< node time
  int64_t received_ns = 0, replied_ns = 0;    ///< hub time
  int64_t monotonic_ns = 0;                   ///< node, at arrival
};

struct ClockOffset {
  int64_t offset_ns = 0;     ///< node − hub
  int64_t error_ns = 0;
  int64_t measured_ns = 0;   ///< node time of the exchange
};

/// Keeps the last eight exchanges; the one with the least error now decides. One thread.
class ClockOffsetEstimator {
 public:
  /// How far two quartzes drift apart, at most, before NTP or we look again.
  static constexpr int64_t kDriftPpm = 15;

  /// False for an exchange that cannot have been (the clock was set in the middle of it): it is left out.
  bool add(const ClockExchange& exchange) {
    const int64_t round_trip = exchange.arrived_ns - exchange.sent_ns;
    const int64_t at_hub = exchange.replied_ns - exchange.received_ns;
    if (round_trip < 0 || at_hub < 0 || at_hub > round_trip) return false;
    // Halves first: sums of two stamps of today do not fit an int64_t for ever.
    const int64_t there = exchange.sent_ns - exchange.received_ns;
    const int64_t back = exchange.arrived_ns - exchange.replied_ns;
    kept_[next_++ % kept_.size()] = {{there + (back - there) / 2, (round_trip - at_hub + 1) / 2,
                                      exchange.arrived_ns},
                                     exchange.monotonic_ns};
    return true;
  }

  /// The node's clock jumped by `step_ns`.
  void shift(int64_t step_ns) {
    for (auto& kept : kept_) {
      kept.offset.offset_ns += step_ns;
      kept.offset.measured_ns += step_ns;
    }
  }

  [[nodiscard]] std::optional<ClockOffset> best(int64_t monotonic_ns) const {
    std::optional<ClockOffset> best;
    for (size_t i = 0; i < kept_.size() && i < next_; ++i) {
      ClockOffset offset = kept_[i].offset;
      offset.error_ns += (monotonic_ns - kept_[i].monotonic_ns) / 1'000'000 * kDriftPpm;
      if (!best || offset.error_ns < best->error_ns) best = offset;
    }
    return best;
  }

 private:
  struct Kept {
    ClockOffset offset;
    int64_t monotonic_ns = 0;
  };
  std::array<Kept, 8> kept_;
  size_t next_ = 0;
};

}  // namespace lookback::node
