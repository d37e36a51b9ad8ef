// Freezes of a node whose clock is set at random, forward and back: they have the packets of the
// time that was meant, however often the clock showed it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <set>

#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;

namespace {

constexpr int64_t kSecond = kNsPerSecond;
constexpr int64_t kSeamNs = 9 * kSecond;  // of a step; there nobody can know

class SetClock final : public Clock {
 public:
  int64_t hub_ns = 1'700'000'000 * kSecond, offset_ns = 0;
  [[nodiscard]] int64_t realtime_ns() const override { return hub_ns + offset_ns; }
  [[nodiscard]] int64_t monotonic_ns() const override { return hub_ns; }
};

struct Recorded {
  int64_t hub_ns, node_ns;
};

/// A recorder of one packet a second, in blocks of at most five, that is told of steps up to a second
/// late.
struct Node {
  TemporaryDirectory dir;
  SetClock clock;
  std::unique_ptr<Store> store = open_store(small_store(dir.path()), clock);
  std::vector<Recorded> packets;  // by number
  std::vector<TestPacket> block;
  std::vector<int64_t> seams;  // in hub time and in node time
  std::optional<ClockSample> known;

  void measure() {
    known = ClockSample{clock.realtime_ns(), clock.offset_ns, 1000, 0};
    store->add_clock_sample(*known);
  }
  void write() {
    if (block.empty()) return;
    TestBlock made = compact_block(std::exchange(block, {}));
    REQUIRE(store->append_block(made.block, made.info));
  }
  void second() {
    clock.hub_ns += kSecond;
    block.push_back(
        marked_packet(9, static_cast<uint16_t>(packets.size()), 200, clock.realtime_ns()));
    packets.push_back({clock.hub_ns, clock.realtime_ns()});
  }
  void note_seam() {
    seams.push_back(clock.hub_ns);
    seams.push_back(clock.realtime_ns());
  }
  void step(int64_t by_ns, bool noticed_late) {
    note_seam();
    const int64_t earliest_ns = clock.realtime_ns() + by_ns;
    clock.offset_ns += by_ns;
    note_seam();
    if (noticed_late) second();
    known->time_ns = earliest_ns;
    known->offset_ns = clock.offset_ns;
    known->step_ns = by_ns;
    store->add_clock_sample(*known);
    known->step_ns = 0;
  }
  void restart(int64_t set_by_ns) {
    write();
    note_seam();
    store.reset();
    clock.hub_ns += 10 * kSecond;
    clock.offset_ns += set_by_ns;
    store = open_store(small_store(dir.path()), clock);
    note_seam();
    measure();
  }
  [[nodiscard]] bool is_sure(const Recorded& packet) const {
    return std::none_of(seams.begin(), seams.end(), [&](int64_t seam) {
      return std::abs(packet.hub_ns - seam) < kSeamNs || std::abs(packet.node_ns - seam) < kSeamNs;
    });
  }
};

uint16_t number_of(const TestPacket& packet) {
  uint16_t number = 0;  // marked_packet() puts it behind the mark
  std::memcpy(&number, packet.data.data() + sizeof number, sizeof number);
  return number;
}

}  // namespace

TEST_CASE("a freeze has the packets of the time that was meant, however the clock was set") {
  std::mt19937_64 random(GENERATE(range(1U, 13U)));
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  Node node;
  node.clock.offset_ns = pick(-50, 50) * kSecond;
  node.measure();
  for (int i = 0; i < 400; ++i) {
    node.second();
    if (pick(0, 2) == 0 || node.block.size() >= 5) node.write();
    if (i % 7 == 0) node.measure();
    if (pick(0, 25) == 0) {
      node.write();
      REQUIRE(node.store->seal());
    }
    if (pick(0, 60) == 0)
      node.step(pick(12, 300) * kSecond * (pick(0, 2) != 0 ? -1 : 1), pick(0, 1) != 0);
    if (pick(0, 120) == 0) node.restart(pick(0, 1) != 0 ? pick(-200, 200) * kSecond : 0);
  }
  node.write();
  REQUIRE(node.store->seal());

  size_t checked = 0;
  for (int i = 0; i < 25; ++i) {
    const int64_t start = node.packets.front().hub_ns, end = node.packets.back().hub_ns;
    const int64_t from = pick(start, end), to = from + pick(1, 120) * kSecond;
    FreezeRequest request = everything("f" + std::to_string(i));
    request.window = {from + node.clock.offset_ns, to + node.clock.offset_ns};
    request.translate = [&](const std::vector<ClockSample>& known) -> std::vector<TimeWindow> {
      const int64_t offset_ns = known.empty() ? 0 : known.back().offset_ns;
      return {{from + offset_ns, to + offset_ns}};
    };
    CHECK(node.store->window_of(request).from_ns <= node.store->window_of(request).to_ns);
    const auto freeze = node.store->freeze(request);
    REQUIRE(freeze);
    std::multiset<uint16_t> found;
    for (size_t run = 0; run < freeze->runs.size(); ++run) {
      const auto reader = node.store->read_run(freeze->id, run);
      REQUIRE(reader);
      const auto& windows = freeze->parts.at(freeze->runs[run].part);
      for (const TestPacket& packet : read_all(**reader).packets)
        if (std::any_of(windows.begin(), windows.end(),
                        [&](const auto& window) { return window.contains(packet.time_ns); }))
          found.insert(number_of(packet));
    }
    for (size_t number = 0; number < node.packets.size(); ++number) {
      const Recorded& packet = node.packets[number];
      if (!node.is_sure(packet)) continue;
      ++checked;
      CAPTURE(i, number, packet.hub_ns - from, to - packet.hub_ns);
      const bool meant = packet.hub_ns >= from && packet.hub_ns < to;
      REQUIRE(found.count(static_cast<uint16_t>(number)) == (meant ? 1 : 0));
    }
  }
  CHECK(checked > 500);
}

TEST_CASE("parts of a freeze survive a restart") {
  Node node;
  node.measure();
  for (int i = 0; i < 60; ++i) node.second();
  node.write();
  node.step(-30 * kSecond, false);
  for (int i = 0; i < 60; ++i) node.second();
  node.write();
  REQUIRE(node.store->seal());
  const int64_t end = node.clock.hub_ns;
  FreezeRequest request = everything("kept");
  request.translate = [&](const std::vector<ClockSample>& known) -> std::vector<TimeWindow> {
    const int64_t offset_ns = known.back().offset_ns;
    return {{end - 90 * kSecond + offset_ns, end + offset_ns}};
  };
  const auto freeze = node.store->freeze(request);
  REQUIRE(freeze);
  CHECK(freeze->parts.size() >= 2);
  node.store.reset();
  node.store = open_store(small_store(node.dir.path()), node.clock);
  const auto again = node.store->find_freeze("kept");
  REQUIRE(again);
  CHECK(again->window == freeze->window);
  CHECK(again->parts == freeze->parts);
  REQUIRE(again->runs.size() == freeze->runs.size());
  for (size_t i = 0; i < freeze->runs.size(); ++i)
    CHECK(again->runs[i].part == freeze->runs[i].part);
}
