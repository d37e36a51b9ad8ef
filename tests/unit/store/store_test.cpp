// The store as its users see it: recording, reading back, notes, restarts.
#include <catch2/catch.hpp>
#include <thread>

#include "lookback/store/file_names.hpp"
#include "unit/store/support/store_fixture.hpp"
#include "unit/support/damage.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;
namespace fs = std::filesystem;

namespace {

const std::vector<packet::Interface> kInterfaces = {{1, "lo", 1, "00:00:00:00:00:00", 65536},
                                                    {2, "eth0", 1, "02:42:ac:11:00:02", 1500}};

std::vector<TestPacket> packets_at(const FakeClock& clock, uint16_t from, uint16_t count,
                                   size_t bytes = 200) {
  std::vector<TestPacket> packets;
  for (uint16_t i = from; i < from + count; ++i)
    packets.push_back(marked_packet(1, i, bytes, clock.now_ns + i));
  return packets;
}

void append(Store& store, TestBlock block) {
  REQUIRE(store.append_block(block.block, block.info));
}

}  // namespace

TEST_CASE("what is appended is read back, however it is written") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.use_io_uring = GENERATE(true, false);
  options.use_direct_io = GENERATE(true, false);
  const bool registered = GENERATE(true, false);
  auto store = open_store(options, clock);
  store->set_interfaces(kInterfaces);
  std::vector<TestPacket> expected;
  AlignedBuffer ring(64 << 10);
  if (registered) REQUIRE(store->register_memory(ring.span(64 << 10)));
  for (uint16_t i = 0; i < 30; ++i) {
    auto packets = packets_at(clock, static_cast<uint16_t>(i * 10), 10);
    for (auto& packet : packets)
      packet.interface = i % 2 == 0 ? 1 : 2;  // position or ifindex of eth0
    const TestBlock made = i % 2 == 0 ? compact_block(packets) : kernel_block(packets, 64 << 10);
    std::copy(
        made.block.begin(),
        made.block.begin() + static_cast<ptrdiff_t>(round_up(made.info.used_bytes, kPageBytes)),
        ring.data());
    REQUIRE(store->append_block(ring.span(64 << 10), made.info));
    for (auto& packet : packets) packet.interface = 0;  // the first that the run uses
    expected.insert(expected.end(), packets.begin(), packets.end());
  }
  REQUIRE(store->seal());
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  CHECK(freeze->gaps.size() == 1);  // before the start
  const ReadResult read = read_freeze(*store, *freeze);
  CHECK(read.packets == expected);
  CHECK(read.damaged_blocks == 0);
  REQUIRE(read.interfaces.size() == 1);
  CHECK(read.interfaces[0] == kInterfaces[1]);
  const StoreStatus status = store->status();
  CHECK(status.packets == 300);
  CHECK(*status.oldest_ns == expected.front().time_ns);
  CHECK(*status.newest_ns == expected.back().time_ns);
  CHECK(status.damaged_segments == 0);

  // And after a restart.
  store.reset();
  store = open_store(options, clock);
  const auto again = store->find_freeze("a");
  REQUIRE(again);
  CHECK(read_freeze(*store, *again).packets == expected);
  CHECK(store->status().packets == 300);
  CHECK(*store->status().oldest_ns == expected.front().time_ns);
}

TEST_CASE("VLAN tags stripped from kernel packets are put back") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  store->set_interfaces(kInterfaces);
  auto packets = packets_at(clock, 0, 4, 100);
  for (auto& packet : packets) packet.interface = 2;
  packets[1].original_length = 1500;  // cut by a snaplen
  packets[2].data.resize(8);          // too short to have a tag
  packets[3].data[12] = std::byte{0x81};
  packets[3].data[13] = std::byte{0};  // an inner tag is in the data
  append(*store, kernel_block(packets, 64 << 10, {true, 0x88A8, 0x0123}));
  REQUIRE(store->seal());
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  const ReadResult read = read_freeze(*store, *freeze);
  REQUIRE(read.packets.size() == 4);
  const auto tagged = [](TestPacket packet) {
    const std::byte tag[] = {std::byte{0x88}, std::byte{0xA8}, std::byte{0x01}, std::byte{0x23}};
    packet.data.insert(packet.data.begin() + 12, tag, tag + 4);
    packet.original_length += 4;
    packet.interface = 0;
    return packet;
  };
  CHECK(read.packets[0] == tagged(packets[0]));
  CHECK(read.packets[1] == tagged(packets[1]));
  CHECK(read.packets[1].original_length == 1504);
  CHECK(read.packets[2].data == packets[2].data);
  CHECK(read.packets[3] == tagged(packets[3]));
}

TEST_CASE("interfaces that change keep their packets apart") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  store->set_interfaces({kInterfaces[1]});
  auto packets = packets_at(clock, 0, 1);
  append(*store, compact_block(packets));  // position 0 is eth0
  store->set_interfaces(kInterfaces);
  packets[0].interface = 0;
  append(*store, compact_block(packets));  // position 0 is lo
  packets[0].interface = 1;
  append(*store, compact_block(packets));  // position 1 is eth0
  packets[0].interface = 77;
  append(*store, kernel_block(packets, 64 << 10, {}, 65534));  // ARPHRD_NONE, in no table
  REQUIRE(store->seal());
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  const ReadResult read = read_freeze(*store, *freeze);
  REQUIRE(read.packets.size() == 4);
  const auto name = [&](size_t i) { return read.interfaces.at(read.packets[i].interface).name; };
  CHECK(name(0) == "eth0");
  CHECK(name(1) == "lo");
  CHECK(name(2) == "eth0");
  CHECK(name(3) == "if77");
  CHECK(read.interfaces[read.packets[3].interface].link_type == packet::link_type::kRaw);
  CHECK(read.packets[0].interface == read.packets[2].interface);
}

TEST_CASE("a gap touches a window up to its end, an empty one where it starts") {
  const auto touches = [](int64_t start_ns, int64_t end_ns) {
    return Gap{start_ns, end_ns, 0, "disk full"}.touches({100, 200});
  };
  CHECK(touches(50, 101));
  CHECK_FALSE(touches(50, 100));
  CHECK(touches(199, 300));
  CHECK_FALSE(touches(200, 300));
  CHECK(touches(100, 100));
  CHECK_FALSE(touches(99, 99));
  CHECK_FALSE(touches(200, 200));
}

TEST_CASE("gaps and clock samples are kept with the packets") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  const int64_t start = clock.now_ns;
  append(*store, compact_block(packets_at(clock, 0, 5)));
  const Gap gap{start + 100, start + 200, 17, "kernel ring full"};
  store->add_gap(gap);
  store->add_clock_sample({start + 50, 3'000'000, 1000, 0});
  store->add_clock_sample({start + 60, 3'000'100, 1000, 0});  // says nothing new
  store->add_clock_sample({start + 70, 3'600'000'000'000, 1000, 3'600'000'000'000});
  CHECK(store->gaps({start, start + 1000}) == std::vector<Gap>{gap});  // not written yet
  append(*store, compact_block(packets_at(clock, 5, 5)));
  REQUIRE(store->seal());
  const auto check = [&](const Freeze& freeze) {
    CHECK(freeze.gaps == std::vector<Gap>{gap});
    REQUIRE(freeze.clock.size() == 2);
    CHECK(freeze.clock[0].offset_ns == 3'000'000);
    CHECK(freeze.clock[1].step_ns == 3'600'000'000'000);
  };
  FreezeRequest request = everything("a");
  request.window = {start, start + 1000};
  request.extra = std::string("\0\xFF any bytes", 12);
  const auto freeze = store->freeze(request);
  REQUIRE(freeze);
  check(*freeze);
  request.id = "narrow";
  request.window = {start + 300, start + 400};
  CHECK(store->freeze(request)->gaps.empty());
  store.reset();
  store = open_store(options, clock);
  check(*store->find_freeze("a"));
  CHECK(store->find_freeze("a")->extra == request.extra);
  CHECK(store->gaps({start, start + 1000}) == std::vector<Gap>{gap});
}

TEST_CASE("gaps are kept even where no packet comes after them") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  const Gap gap{clock.now_ns + 1, clock.now_ns + 2, 3, "disk full"};
  open_store(options, clock)->add_gap(gap);
  const auto store = open_store(options, clock);
  const auto gaps = store->gaps({clock.now_ns, clock.now_ns + 10});
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0] == gap);
}

TEST_CASE("the time between two runs of the daemon is a gap") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  const int64_t first = clock.now_ns;
  {
    const auto store = open_store(options, clock);
    append(*store, compact_block(packets_at(clock, 0, 5)));
    clock.now_ns += 10 * kNsPerSecond;
    store->set_complete_until(clock.now_ns);
  }
  const int64_t stopped = clock.now_ns;
  clock.now_ns += 60 * kNsPerSecond;
  const int64_t again = clock.now_ns;
  auto store = open_store(options, clock);
  const TimeWindow window{first - 5, again + 100};
  const std::vector<Gap> expected = {{first - 5, first, 0, "not running"},
                                     {stopped, again, 0, "not running"}};
  CHECK(store->gaps(window) == expected);  // before this run has a packet
  clock.now_ns += kNsPerSecond;
  append(*store, compact_block(packets_at(clock, 0, 5)));
  CHECK(store->gaps(window) == expected);
  REQUIRE(store->seal());
  CHECK(store->gaps(window) == expected);
  CHECK(store->gaps({first, stopped}).empty());
  CHECK(store->gaps({again, again + 100}).empty());
  // Oldest and newest reach across: nothing was recycled.
  CHECK(*store->status().oldest_ns == first);
}

TEST_CASE("what was recycled is said") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t start = clock.now_ns;
  for (int i = 0; i < 1500; ++i) {
    append(*store, compact_block(packets_at(clock, 0, 20, 1400)));
    clock.now_ns += kNsPerSecond;
  }
  REQUIRE(store->seal());
  const int64_t oldest = *store->status().oldest_ns;
  CHECK(oldest > start);
  FreezeRequest request = everything("a");
  request.window = {start, clock.now_ns};
  const auto freeze = store->freeze(request);
  REQUIRE(freeze);
  REQUIRE(freeze->gaps.size() == 1);
  CHECK(freeze->gaps[0] == Gap{start, oldest, 0, "recycled"});
  CHECK(*freeze->oldest_ns == oldest);
  uint64_t packets = 0;
  for (const FrozenRun& run : freeze->runs) packets += run.packets;
  CHECK(packets == store->status().packets);
  CHECK(read_freeze(*store, *freeze).packets.size() == packets);
}

TEST_CASE("two stores never share a folder") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  const auto store = open_store(options, clock);
  const auto second = Store::open(options, clock);
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == ErrorKind::conflict);
}

TEST_CASE("sizes that make no sense are refused") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options;
  options.directory = dir.path();
  options.quota_bytes = kMinQuotaBytes - 1;
  CHECK(Store::open(options, clock).error().kind == ErrorKind::invalid);
  options.quota_bytes = kMinQuotaBytes;
  options.freeze_quota_bytes = kMinQuotaBytes;
  CHECK(Store::open(options, clock).error().kind == ErrorKind::invalid);
  options.freeze_quota_bytes = 0;
  options.quota_bytes = 1ULL << 58;
  const auto huge = Store::open(options, clock);
  REQUIRE_FALSE(huge);
  CHECK(huge.error().kind == ErrorKind::no_space);
  CHECK(huge.error().message.find("--storage-size") != std::string::npos);
  options.quota_bytes = kMinQuotaBytes;
  CHECK(Store::open(options, clock));
}

TEST_CASE("a block that breaks the rules is refused") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  TestBlock made = compact_block(packets_at(clock, 0, 5));
  BlockInfo info = made.info;
  info.first_packet = 64;  // no room for the tags
  CHECK(store->append_block(made.block, info).error().kind == ErrorKind::invalid);
  info = made.info;
  info.kind = BlockKind::note;
  CHECK(store->append_block(made.block, info).error().kind == ErrorKind::invalid);
  info = made.info;
  info.used_bytes = static_cast<uint32_t>(made.block.size()) + 1;
  CHECK(store->append_block(made.block, info).error().kind == ErrorKind::invalid);
  CHECK(store->append_block(made.block.subspan(1), made.info).error().kind == ErrorKind::invalid);
  CHECK(store->append_block(made.block, made.info));
}

TEST_CASE("a block larger than a segment gets one of its own") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  append(*store, compact_block(packets_at(clock, 0, 5)));
  const auto many = packets_at(clock, 5, 1000, 1400);
  append(*store, compact_block(many, 2 << 20));
  append(*store, compact_block(packets_at(clock, 1005, 5)));
  REQUIRE(store->seal());
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  CHECK(read_freeze(*store, *freeze).packets.size() == 1010);
}

TEST_CASE("a table too large for the open segment opens another, and an empty one leaves nothing") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  append(*store, compact_block(packets_at(clock, 0, 1000), 512 << 10));  // most of a segment
  std::vector<packet::Interface> many;
  for (uint32_t i = 0; i < 2000; ++i)
    many.push_back({i, "veth" + std::to_string(i), 1, "02:00:00:00:00:00", 1500});
  store->set_interfaces(many);
  auto packets = packets_at(clock, 1000, 1);
  packets[0].interface = 1999;
  append(*store, compact_block(packets));
  REQUIRE(store->seal());
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  const ReadResult read = read_freeze(*store, *freeze);
  REQUIRE(read.packets.size() == 1001);
  CHECK(read.interfaces[read.packets.back().interface].name == "veth1999");
  CHECK(store->status().used_bytes <= kMinQuotaBytes);
}

TEST_CASE("a segment whose header is damaged costs only itself") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  std::vector<int64_t> starts;
  for (int i = 0; i < 3; ++i) {
    starts.push_back(clock.now_ns);
    append(*store, compact_block(packets_at(clock, 0, 5)));
    clock.now_ns += kNsPerSecond;
    store->set_complete_until(clock.now_ns);
    REQUIRE(store->seal());
  }
  store.reset();
  test::flip(segment_file(dir.path(), 2), 20);
  store = open_store(options, clock);
  CHECK(store->status().damaged_segments == 1);
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  CHECK(read_freeze(*store, *freeze).packets.size() == 10);
  const auto gaps = store->gaps({starts[0], clock.now_ns});
  REQUIRE(gaps.size() == 1);
  CHECK(gaps[0].reason == "damaged segment");
  CHECK(gaps[0].start_ns <= starts[1]);
  CHECK(gaps[0].end_ns == starts[2]);
}

TEST_CASE("damage found while reading becomes a gap of the freeze") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t start = clock.now_ns;
  for (uint16_t i = 0; i < 3; ++i)
    append(*store, compact_block(packets_at(clock, static_cast<uint16_t>(i * 5), 5)));
  REQUIRE(store->seal());
  FreezeRequest request = everything("a");
  request.window = {start, start + kNsPerSecond};
  const auto freeze = store->freeze(request);
  REQUIRE(freeze);
  CHECK(freeze->gaps.empty());
  // The tag of the last block; header page, note and two blocks of a page before it.
  test::flip(segment_file(dir.path(), 1), 4 * kPageBytes + 2 * kSectorBytes - kTagBytes);
  for (int i = 0; i < 2; ++i) {
    const ReadResult read = read_freeze(*store, *freeze);
    CHECK(read.packets.size() == 10);
    CHECK(read.damaged_blocks == 1);
    REQUIRE(read.damage.size() == 1);
    CHECK(read.damage[0].packets == 5);
  }
  const auto told = store->find_freeze("a");
  REQUIRE(told);
  REQUIRE(told->gaps.size() == 1);
  CHECK(told->gaps[0].reason == "damaged segment");
  CHECK(told->gaps[0].packets == 5);
  CHECK(store->status().damaged_segments == 1);
  CHECK(store->gaps(request.window).size() == 1);
}

TEST_CASE("appending goes on when another thread takes over") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  append(*store, compact_block(packets_at(clock, 0, 5)));
  std::thread([&] {
    TestBlock made = compact_block(packets_at(clock, 5, 5));
    static_cast<void>(store->append_block(made.block, made.info));
    static_cast<void>(store->seal());
  }).join();
  const auto freeze = store->freeze(everything("a"));
  REQUIRE(freeze);
  CHECK(read_freeze(*store, *freeze).packets.size() == 10);
}
