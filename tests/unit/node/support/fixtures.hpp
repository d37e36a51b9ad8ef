#pragma once
// What the node's tests share: clocks to turn, and what a store has recorded.

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/time.hpp"
#include "lookback/store/store.hpp"

namespace lookback::test {

class FakeClock final : public Clock {
 public:
  explicit FakeClock(int64_t realtime_ns = 1'700'000'000 * kNsPerSecond) : realtime_(realtime_ns) {}
  int64_t realtime_ns() const override { return realtime_.load(); }
  int64_t monotonic_ns() const override { return monotonic_.load(); }
  void advance(int64_t ns) {
    realtime_ += ns;
    monotonic_ += ns;
  }
  void step(int64_t ns) { realtime_ += ns; }

 private:
  std::atomic<int64_t> realtime_, monotonic_{1'000'000'000'000};
};

/// The machine's clock, set wrong.
class ShiftedClock final : public Clock {
 public:
  explicit ShiftedClock(int64_t shift_ns) : shift_(shift_ns) {}
  int64_t realtime_ns() const override { return system().realtime_ns() + shift_.load(); }
  int64_t monotonic_ns() const override { return system().monotonic_ns(); }
  void step(int64_t ns) { shift_ += ns; }

 private:
  std::atomic<int64_t> shift_;
};

/// The value of a Result, or the test's end with its message.
template <class T>
T value_of(Result<T> result) {
  if (!result) FAIL(result.error().message);
  return std::move(*result);
}

struct StoredPacket {
  int64_t time_ns = 0;
  std::string data, interface;
  uint32_t original_length = 0;
  packet::Direction direction{};
};

/// Everything that the store holds for a window, through a freeze that is released again.
inline std::vector<StoredPacket> read_back(store::Store& store, TimeWindow window) {
  const store::FreezeRequest request{.id = "read-" + random_hex(4), .owner = "test", .window = window,
                                     .extra = {}};
  const auto freeze = value_of(store.freeze(request));
  std::vector<StoredPacket> packets;
  for (size_t run = 0; run < freeze.runs.size(); ++run) {
    const auto reader = value_of(store.read_run(request.id, run));
    while (const auto packet = value_of(reader->next()))
      packets.push_back({packet->time_ns,
                         std::string(reinterpret_cast<const char*>(packet->data.data()), packet->data.size()),
                         reader->interfaces().at(packet->interface).name, packet->original_length,
                         packet->direction});
    CHECK(reader->damaged_blocks() == 0);
  }
  REQUIRE(store.release_freeze(request.id));
  return packets;
}

}  // namespace lookback::test
