#include "node/recorder.hpp"

#include <linux/if_packet.h>

#include <chrono>
#include <filesystem>
#include <future>

#include "unit/node/support/fake_ring.hpp"
#include "unit/node/support/fixtures.hpp"
#include "unit/node/support/stalling_store.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::node {
namespace {

using test::FakeClock;
using test::FakePacket;
using test::FakeRing;
using test::read_back;
using test::StoredPacket;
using test::value_of;

constexpr int64_t kMs = 1'000'000;
constexpr TimeWindow kAll{0, INT64_MAX};

/// A recorder on a ring and a clock of the test's, and a store in a directory of its own.
struct Rig {
  test::TemporaryDirectory directory;
  FakeClock clock;
  std::unique_ptr<store::Store> store = value_of(store::Store::open(
      {.directory = directory.path(), .quota_bytes = 256ULL << 20}, clock));
  FakeRing ring{store::block_reserve(FakeRing::kBlockBytes) - 48};
  std::unique_ptr<Recorder> recorder = value_of(
      Recorder::start(ring, *store, clock, {.buffer_bytes = 1 << 20, .buffers = 2}));

  ~Rig() {
    recorder->stop();
    store.reset();
  }
  int64_t now() const { return clock.realtime_ns(); }
  std::vector<StoredPacket> recorded() {
    const auto sealed = recorder->barrier();
    if (!sealed) FAIL(sealed.error().message);
    return read_back(*store, kAll);
  }
};

std::string payload(size_t size, int seed) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + static_cast<size_t>(seed));
  return text;
}

template <class Condition>
void wait_until(const Condition& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(condition());
}

}  // namespace

TEST_CASE("small packets are repacked and come back as they were") {
  Rig rig;
  std::vector<FakePacket> packets;
  for (int i = 0; i < 1000; ++i)
    packets.push_back({rig.now() + i, payload(60 + static_cast<size_t>(i) % 300, i)});
  rig.ring.give(packets);
  const auto stored = rig.recorded();
  REQUIRE(stored.size() == packets.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    CHECK(stored[i].time_ns == packets[i].time_ns);
    CHECK(stored[i].data == packets[i].data);
    CHECK(stored[i].interface == "eth0");
  }
  const auto totals = rig.recorder->totals();
  CHECK(totals.packets == 1000);
  CHECK(totals.compact_blocks == 1);
  CHECK(totals.whole_blocks == 0);
}

TEST_CASE("blocks of large packets go to disk whole, in order with the small ones") {
  Rig rig;
  std::vector<FakePacket> all;
  int64_t time = rig.now();
  for (int round = 0; round < 6; ++round) {
    std::vector<FakePacket> packets;
    if (round % 2 == 0)
      for (int i = 0; i < 14; ++i) packets.push_back({++time, payload(65'000, round * 100 + i)});
    else
      for (int i = 0; i < 500; ++i) packets.push_back({++time, payload(90, round * 1000 + i)});
    all.insert(all.end(), packets.begin(), packets.end());
    rig.ring.give(packets);
  }
  const auto stored = rig.recorded();
  REQUIRE(stored.size() == all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    CHECK(stored[i].time_ns == all[i].time_ns);
    CHECK(stored[i].data == all[i].data);
  }
  const auto totals = rig.recorder->totals();
  CHECK(totals.whole_blocks == 3);
  CHECK(totals.compact_blocks == 3);
  wait_until([&] { return rig.ring.idle(); });
}

TEST_CASE("a packet of a whole block that is stamped out of order is found by its own time") {
  // Two processors stamp, and queue in another order: the first and the last packet are not the oldest and the newest.
  Rig rig;
  const int64_t time = rig.now();
  std::vector<FakePacket> packets;
  for (int i = 0; i < 14; ++i) packets.push_back({time + i, payload(65'000, i)});
  packets[5].time_ns = time - 900 * kMs;
  packets[9].time_ns = time + 900 * kMs;
  rig.ring.give(packets);
  REQUIRE(rig.recorded().size() == packets.size());
  REQUIRE(rig.recorder->totals().whole_blocks == 1);
  for (const size_t i : {5, 9}) {
    const auto found = read_back(*rig.store, {packets[i].time_ns, packets[i].time_ns + 1});
    CHECK(std::count_if(found.begin(), found.end(),
                        [&](const auto& packet) { return packet.data == packets[i].data; }) == 1);
  }
}

TEST_CASE("whole blocks are told by name on interfaces that nobody was asked about") {
  Rig rig;
  std::vector<packet::Interface> interfaces{{1, "eth0", packet::link_type::kEthernet, "02:00:00:00:00:01", 1500}};
  for (uint32_t index = 2; index < 5; ++index) {
    interfaces.push_back({index, fmt::format("late{}", index), packet::link_type::kEthernet, "", 65'535});
    rig.ring.set_interfaces(interfaces);
    std::vector<FakePacket> packets;
    for (int i = 0; i < 14; ++i) {
      packets.push_back({rig.now() + i, payload(65'000, i)});
      packets.back().interface = i == 0 ? 1 : index;
    }
    rig.ring.give(packets);
  }
  const auto stored = rig.recorded();
  REQUIRE(rig.recorder->totals().whole_blocks == 3);
  REQUIRE(stored.size() == 42);
  for (size_t i = 0; i < stored.size(); ++i)
    CHECK(stored[i].interface == (i % 14 == 0 ? "eth0" : fmt::format("late{}", i / 14 + 2)));
}

TEST_CASE("what was captured is summed closely where blocks go to disk whole") {
  Rig rig;
  uint64_t bytes = 0;
  std::vector<FakePacket> packets;
  for (int i = 0; i < 600; ++i) {
    packets.push_back({rig.now() + i, payload(1514 - static_cast<size_t>(i) % 16, i)});
    bytes += packets.back().data.size();
  }
  rig.ring.give(packets);
  REQUIRE(rig.recorded().size() == packets.size());
  const auto totals = rig.recorder->totals();
  REQUIRE(totals.whole_blocks == 1);
  CHECK(totals.packets == 600);
  CHECK(std::abs(static_cast<int64_t>(totals.bytes - bytes)) <= 16 * 600);
}

TEST_CASE("tags go back in, lengths and directions stay") {
  Rig rig;
  FakePacket tagged{rig.now(), payload(100, 1)};
  tagged.vlan = 0x81000ABC;
  FakePacket stacked{rig.now() + 1, payload(100, 2)};
  stacked.vlan = 0x88A80064;
  FakePacket cut{rig.now() + 2, payload(64, 3)};
  cut.original_length = 9000;
  cut.packet_type = PACKET_OUTGOING;
  rig.ring.give({tagged, stacked, cut});
  const auto stored = rig.recorded();
  REQUIRE(stored.size() == 3);
  using namespace std::string_literals;
  CHECK(stored[0].data == tagged.data.substr(0, 12) + "\x81\x00\x0A\xBC"s + tagged.data.substr(12));
  CHECK(stored[0].original_length == 104);
  CHECK(stored[1].data == stacked.data.substr(0, 12) + "\x88\xA8\x00\x64"s + stacked.data.substr(12));
  CHECK(stored[2].data == cut.data);
  CHECK(stored[2].original_length == 9000);
  CHECK(stored[2].direction == packet::Direction::outbound);
}

TEST_CASE("more than the buffers hold passes through them") {
  Rig rig;
  uint64_t sent = 0;
  for (int block = 0; block < 24; ++block) {
    std::vector<FakePacket> packets;
    for (int i = 0; i < 1500; ++i) packets.push_back({rig.now() + block * kMs + i, payload(500, i)});
    sent += packets.size();
    rig.ring.give(packets);
  }
  CHECK(rig.recorded().size() == sent);
  CHECK(rig.recorder->totals().compact_blocks >= 18);
}

TEST_CASE("while the disk stalls the ring goes round, and spare buffers take what comes") {
  test::TemporaryDirectory directory;
  FakeClock clock;
  auto store = value_of(
      store::Store::open({.directory = directory.path(), .quota_bytes = 256ULL << 20}, clock));
  test::StallingStore disk(*store);
  FakeRing ring{store::block_reserve(FakeRing::kBlockBytes) - 48};
  auto recorder = value_of(Recorder::start(
      ring, disk, clock, {.buffer_bytes = 1 << 20, .buffers = 2, .spare_buffers = 4}));
  std::vector<FakePacket> all;
  // Twice: what was spare once is good for another time.
  for (int round = 0; round < 2; ++round) {
    disk.stall();
    // Large packets, but few in a block, and more blocks than the ring has.
    for (int i = 0; i < 20; ++i) {
      std::vector<FakePacket> packets;
      for (int j = 0; j < 130; ++j)
        packets.push_back({clock.realtime_ns() + static_cast<int64_t>(all.size()) + j,
                           payload(1400, round * 10'000 + i * 130 + j)});
      all.insert(all.end(), packets.begin(), packets.end());
      ring.give(packets);
      for (int wait = 0; wait < 10'000 && !ring.idle(); ++wait)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!ring.idle()) disk.resume();  // or the recorder could not be ended
      REQUIRE(ring.idle());
    }
    disk.resume();
    REQUIRE(recorder->barrier());
  }
  const auto stored = read_back(*store, kAll);
  REQUIRE(stored.size() == all.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    REQUIRE(stored[i].time_ns == all[i].time_ns);
    REQUIRE(stored[i].data == all[i].data);
  }
  CHECK(recorder->totals().whole_blocks == 0);
  recorder->stop();
}

TEST_CASE("a buffer is written after a while, without a barrier") {
  Rig rig;
  std::vector<FakePacket> packets;
  for (int i = 0; i < 1000; ++i) packets.push_back({rig.now() + i, payload(100, i)});
  rig.ring.give(packets);
  wait_until([&] { return rig.recorder->totals().packets == 1000; });
  CHECK(rig.recorder->totals().compact_blocks == 0);
  rig.clock.advance(1100 * kMs);
  wait_until([&] { return rig.recorder->totals().compact_blocks == 1; });

  rig.ring.give({{rig.now(), payload(100, 0)}});
  wait_until([&] { return rig.recorder->totals().packets == 1001; });
  rig.clock.advance(1100 * kMs);  // too little to be worth a write yet
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  CHECK(rig.recorder->totals().compact_blocks == 1);
  rig.clock.advance(5000 * kMs);
  wait_until([&] { return rig.recorder->totals().compact_blocks == 2; });
}

TEST_CASE("interfaces are told apart through renames and newcomers") {
  Rig rig;
  const packet::Interface first{1, "eth0", packet::link_type::kEthernet, "", 1500};
  const packet::Interface second{900, "veth9", packet::link_type::kEthernet, "", 1500};
  rig.ring.give({{rig.now(), payload(60, 0), 1}});
  rig.ring.give({{rig.now() + 1, payload(60, 1), 900}});  // not in the table: named by its index
  wait_until([&] { return rig.recorder->totals().packets == 2; });
  rig.ring.set_interfaces({first, second});
  rig.ring.give({{rig.now() + 2, payload(60, 2), 900}, {rig.now() + 3, payload(60, 3), 1}});
  wait_until([&] { return rig.recorder->totals().packets == 4; });
  auto renamed = first;
  renamed.name = "uplink";
  rig.ring.set_interfaces({first, second, renamed});
  wait_until([&] { return rig.ring.idle(); });
  rig.ring.give({{rig.now() + 4, payload(60, 4), 1}, {rig.now() + 5, payload(60, 5), 900}});
  std::vector<std::string> names;
  for (const auto& packet : rig.recorded()) names.push_back(packet.interface);
  CHECK(names == std::vector<std::string>{"eth0", "if900", "veth9", "eth0", "uplink", "veth9"});
}

TEST_CASE("drops become gaps with their number and interval") {
  Rig rig;
  rig.ring.give({{rig.now(), payload(60, 0)}});
  wait_until([&] { return rig.recorder->totals().packets == 1; });
  rig.clock.advance(10 * kMs);
  const int64_t before = rig.now();
  wait_until([&] { return rig.ring.idle(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(260));  // an idle look at the counters
  rig.clock.advance(20 * kMs);
  rig.ring.drop(42);
  wait_until([&] { return rig.recorder->totals().dropped == 42; });
  rig.ring.drop(8);
  wait_until([&] { return rig.recorder->totals().dropped == 50; });
  REQUIRE(rig.recorder->barrier());
  const auto gaps = rig.store->gaps({before, rig.now() + kMs});
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].packets == 50);
  CHECK(gaps[0].reason == "kernel ring full");
  CHECK(gaps[0].start_ns >= before - capture::kMaxStampDelayNs);
  CHECK(gaps[0].start_ns < rig.now());
  CHECK(gaps[0].end_ns == rig.now());
  CHECK(rig.recorder->totals().stalls == 2);
}

TEST_CASE("what the ring dropped before recording began is told from when it was opened") {
  test::TemporaryDirectory directory;
  FakeClock clock;
  const int64_t opened = clock.realtime_ns();
  FakeRing ring(store::block_reserve(FakeRing::kBlockBytes) - 48);
  clock.advance(2 * kNsPerSecond);  // a large store is read
  auto store = value_of(store::Store::open({.directory = directory.path(), .quota_bytes = 64ULL << 20}, clock));
  ring.drop(300);
  auto recorder = value_of(Recorder::start(
      ring, *store, clock, {.buffer_bytes = 1 << 20, .buffers = 2, .ring_opened_ns = opened}));
  wait_until([&] { return recorder->totals().dropped == 300; });
  REQUIRE(recorder->barrier());
  bool told = false;
  for (const auto& gap : store->gaps({opened, clock.realtime_ns() + kMs}))
    told |= gap.packets == 300 && gap.reason == "kernel ring full" && gap.start_ns <= opened &&
            gap.end_ns >= clock.realtime_ns();
  CHECK(told);
  recorder->stop();
  recorder.reset();
  store.reset();
}

TEST_CASE("a clean stop has everything up to when it was asked for, and says so") {
  test::TemporaryDirectory directory;
  const Clock& clock = Clock::system();
  const store::StoreOptions options{.directory = directory.path(), .quota_bytes = 64ULL << 20};
  auto store = value_of(store::Store::open(options, clock));
  FakeRing ring(store::block_reserve(FakeRing::kBlockBytes) - 48);
  auto recorder = value_of(Recorder::start(ring, *store, clock, {.buffer_bytes = 1 << 20, .buffers = 2}));
  const bool busy = GENERATE(true, false);
  const int64_t begun = clock.realtime_ns();
  if (busy) {
    ring.give({{begun, payload(60, 0)}});
    REQUIRE(recorder->barrier());
    ring.give({{clock.realtime_ns(), payload(60, 1)}});
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const int64_t asked = clock.realtime_ns();
  recorder->stop();
  const int64_t stopped = clock.realtime_ns();
  recorder.reset();
  store.reset();
  store = value_of(store::Store::open(options, clock));
  const int64_t again = clock.realtime_ns();
  CHECK(store->gaps({begun, asked}).empty());
  const auto gaps = store->gaps({begun, again});
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].reason == "not running");
  CHECK(gaps[0].start_ns >= asked);
  CHECK(gaps[0].start_ns < stopped);
  store.reset();
}

TEST_CASE("a freeze followed by a kill: what the kernel still held is in the gap") {
  Rig rig;
  rig.ring.give({{rig.now(), payload(60, 0)}});
  REQUIRE(rig.recorder->barrier());
  const int64_t sealed = rig.now();
  test::TemporaryDirectory killed;
  std::filesystem::copy(rig.directory.path(), killed.path(), std::filesystem::copy_options::recursive);
  rig.clock.advance(5 * kNsPerSecond);
  const auto again = value_of(store::Store::open({.directory = killed.path(), .quota_bytes = 256ULL << 20}, rig.clock));
  const auto gaps = again->gaps({sealed, rig.now()});
  REQUIRE(gaps.size() == 1);
  // Stamped just before the seal, and in a block that the kernel had not handed over.
  CHECK(gaps[0].start_ns <= sealed);
  CHECK(gaps[0].end_ns == rig.now());
  CHECK(again->gaps({sealed - kNsPerSecond, rig.now()})[0].start_ns <
        sealed - rig.ring.retire_timeout_ms() * kMs);
}

TEST_CASE("a damaged kernel block loses only its rest, counted") {
  Rig rig;
  std::vector<FakePacket> packets;
  for (int i = 0; i < 10; ++i) packets.push_back({rig.now() + i, payload(60, i)});
  packets[4].original_length = 10;  // shorter on the wire than captured: no such packet
  rig.ring.give(packets);
  CHECK(rig.recorded().size() == 4);
  // Before it, the node was not running.
  const auto gaps = rig.store->gaps({rig.now(), rig.now() + kMs});
  REQUIRE_FALSE(gaps.empty());
  CHECK(gaps.back().packets == 6);
  CHECK(gaps.back().reason == "damaged kernel block");
}

TEST_CASE("a clock step is written down, and moves the known offset") {
  Rig rig;
  store::ClockSample measured;
  measured.time_ns = rig.now();
  measured.offset_ns = 3 * kMs;
  measured.error_ns = kMs;
  rig.recorder->add_clock_sample(measured);
  rig.clock.step(3600 * kNsPerSecond);
  rig.clock.advance(2 * kNsPerSecond);
  // Noticed at the latest when the clock is looked at again.
  measured.time_ns = rig.now();
  measured.offset_ns += 3600 * kNsPerSecond;
  rig.recorder->add_clock_sample(measured);
  rig.ring.give({{rig.now(), payload(60, 0)}});
  REQUIRE(rig.recorder->barrier());
  const auto freeze = value_of(rig.store->freeze({.id = "clock", .owner = "t", .window = kAll, .extra = {}}));
  REQUIRE(freeze.clock.size() >= 2);
  CHECK(freeze.clock[0].offset_ns == 3 * kMs);
  CHECK(freeze.clock[0].step_ns == 0);
  CHECK(freeze.clock[1].step_ns == 3600 * kNsPerSecond);
  CHECK(freeze.clock[1].offset_ns == 3600 * kNsPerSecond + 3 * kMs);
}

TEST_CASE("stop writes what is there") {
  test::TemporaryDirectory directory;
  FakeClock clock;
  auto store = value_of(store::Store::open({.directory = directory.path(), .quota_bytes = 64ULL << 20}, clock));
  FakeRing ring(store::block_reserve(FakeRing::kBlockBytes) - 48);
  auto recorder = value_of(Recorder::start(ring, *store, clock, {.buffer_bytes = 1 << 20, .buffers = 2}));
  ring.give({{clock.realtime_ns(), payload(60, 0)}});
  ring.give({{clock.realtime_ns() + 1, payload(60, 1)}});
  recorder->stop();
  CHECK(read_back(*store, kAll).size() == 2);
  CHECK_FALSE(recorder->barrier());
  recorder.reset();
  store.reset();
}

TEST_CASE("a ring that breaks ends recording with its reason") {
  Rig rig;
  std::promise<void> told;
  rig.recorder->on_failure([&] { told.set_value(); });
  rig.ring.give({{rig.now(), payload(60, 0)}});
  wait_until([&] { return rig.recorder->totals().packets == 1; });
  rig.ring.break_down();
  REQUIRE(told.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  REQUIRE(rig.recorder->failure());
  CHECK(rig.recorder->failure()->message == "the ring broke");
  CHECK_FALSE(rig.recorder->barrier());
  rig.recorder->stop();
  CHECK(read_back(*rig.store, kAll).size() == 1);
}

TEST_CASE("many barriers at once are all answered") {
  Rig rig;
  std::vector<std::future<Result<>>> barriers;
  for (int i = 0; i < 20; ++i) {
    rig.ring.give({{rig.now() + i, payload(60, i)}});
    barriers.push_back(std::async(std::launch::async, [&] { return rig.recorder->barrier(); }));
  }
  for (auto& barrier : barriers) CHECK(barrier.get());
  CHECK(rig.recorded().size() == 20);
}

}  // namespace lookback::node
