// What a window lacks because nobody recorded, or because what was recorded does not read back, is
// a gap; it may be too wide, and is never too narrow.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "lookback/base/gap_reason.hpp"
#include "lookback/store/segment_format.hpp"
#include "unit/store/support/store_fixture.hpp"
#include "unit/support/damage.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kSecond = kNsPerSecond;
const std::string kNotRunning = to_string(GapReason::not_running);

void append(Store& store, const std::vector<TestPacket>& packets, bool as_kernel = false) {
  TestBlock made = as_kernel ? kernel_block(packets, 512 << 10) : compact_block(packets, 512 << 10);
  REQUIRE(store.append_block(made.block, made.info));
}

std::vector<TestPacket> one_at(int64_t time_ns) {
  return {marked_packet(1, 1, 100, time_ns)};
}

Freeze freeze_of(Store& store, TimeWindow window) {
  static int number = 0;
  FreezeRequest request = everything("f" + std::to_string(++number));
  request.window = window;
  auto freeze = store.freeze(request);
  REQUIRE(freeze);
  return *freeze;
}

bool told(const std::vector<Gap>& gaps, TimeWindow lost, const std::string& reason = kNotRunning) {
  return std::any_of(gaps.begin(), gaps.end(), [&](const Gap& gap) {
    return gap.reason == reason && gap.start_ns <= lost.from_ns && gap.end_ns >= lost.to_ns;
  });
}

}  // namespace

TEST_CASE(
    "after a kill the gap begins in front of the last stored packet, whatever came after it") {
  const auto after = GENERATE(as<std::string>{}, "nothing", "a seal", "a note", "an interface");
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t last = clock.now_ns += 100 * kSecond;
  append(*store, one_at(last));
  clock.now_ns += 3 * kSecond;
  if (after == "a seal") REQUIRE(store->seal());
  if (after == "a note") {
    store->add_gap({last + 1, last + 2, 1, "disk full"});
    store->tick();
  }
  if (after == "an interface") {
    store->set_interfaces({{7, "eth7", 1, "", 1500}});
    store->tick();
  }
  TemporaryDirectory killed;
  fs::copy(dir.path(), killed.path(), fs::copy_options::recursive);
  clock.now_ns += 5 * kSecond;
  const auto again = open_store(small_store(killed.path()), clock);
  CAPTURE(after);
  CHECK(told(again->gaps({last - 50 * kSecond, clock.now_ns}), {last, clock.now_ns}));
  // And not by more than the store allows for.
  for (const Gap& gap : again->gaps({last - 50 * kSecond, clock.now_ns}))
    CHECK(gap.start_ns >= last - kSecond);
}

TEST_CASE("a stop that had everything begins its gap where it says, also after a quiet time") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  const int64_t begun = clock.now_ns;
  auto store = open_store(options, clock);
  append(*store, one_at(clock.now_ns));
  const bool sealed = GENERATE(true, false);
  if (sealed) REQUIRE(store->seal());
  clock.now_ns += 3600 * kSecond;
  std::vector<TimeWindow> outages;
  // The second run has no packet at all.
  for (int run = 0; run < 3; ++run) {
    store->set_complete_until(clock.now_ns - 1000);
    REQUIRE(store->seal());
    store.reset();
    outages.push_back({clock.now_ns - 1000, clock.now_ns + kSecond});
    clock.now_ns += kSecond;
    store = open_store(options, clock);
    clock.now_ns += 3600 * kSecond;
  }
  const auto gaps = store->gaps({begun, clock.now_ns});
  REQUIRE(gaps.size() == outages.size());
  for (size_t i = 0; i < outages.size(); ++i)
    CHECK(gaps[i] == Gap{outages[i].from_ns, outages[i].to_ns, 0, kNotRunning});
}

TEST_CASE("every window that an outage touches is told of it") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  const int64_t started = clock.now_ns;
  clock.now_ns += kSecond;
  for (int i = 0; i < 10; ++i) append(*store, one_at(clock.now_ns += kSecond));
  store->set_complete_until(clock.now_ns);
  const int64_t down = clock.now_ns;
  store.reset();
  const int64_t up = clock.now_ns += 10 * kSecond;
  store = open_store(options, clock);
  for (int i = 0; i < 10; ++i) append(*store, one_at(clock.now_ns += kSecond));
  REQUIRE(store->seal());
  const int64_t end = clock.now_ns;

  const auto lacks = [&](int64_t from, int64_t to) {
    return !freeze_of(*store, {from, to}).gaps.empty();
  };
  CHECK(lacks(down - kSecond, end));                             // begins before it
  CHECK(lacks(down + kSecond, end));                             // begins in it
  CHECK(lacks(down - kSecond, down + kSecond));                  // ends in it
  CHECK(lacks(down + kSecond, down + 2 * kSecond));              // wholly in it
  CHECK(lacks(started - 60 * kSecond, started - 50 * kSecond));  // before anything was recorded
  CHECK(lacks(started - 60 * kSecond, started + kSecond));
  CHECK_FALSE(lacks(started, down));
  CHECK_FALSE(lacks(up, end));
  // Nothing of this run is stored yet.
  store.reset();
  clock.now_ns += 10 * kSecond;
  store = open_store(options, clock);
  CHECK(lacks(end + 2 * kSecond, end + 3 * kSecond));
  CHECK(lacks(started - 60 * kSecond, started - 50 * kSecond));
}

TEST_CASE("an outage in which the clock was set is told by both clocks") {
  const int64_t set_by = GENERATE(-3600, -20, -3, 3, 20, 3600) * kSecond;
  const bool measured = GENERATE(true, false);
  CAPTURE(set_by / kSecond, measured);
  TemporaryDirectory dir;
  FakeClock clock;  // the node's; the hub's is where it is when the offset is none
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  if (measured) store->add_clock_sample({clock.now_ns, 0, 1000, 0});
  for (int i = 0; i < 20; ++i) append(*store, one_at(clock.now_ns += kSecond));
  REQUIRE(store->seal());
  store->set_complete_until(clock.now_ns);
  const int64_t down = clock.now_ns;
  store.reset();
  clock.now_ns += 10 * kSecond + set_by;
  store = open_store(options, clock);
  const int64_t up = clock.now_ns;
  if (measured) store->add_clock_sample({clock.now_ns, set_by, 1000, 0});
  for (int i = 0; i < 20; ++i) append(*store, one_at(clock.now_ns += kSecond));
  REQUIRE(store->seal());

  const auto gaps_in = [&](int64_t from, int64_t to) {  // hub time
    static int number = 0;
    FreezeRequest request = everything("s" + std::to_string(++number));
    const int64_t offset = measured ? set_by : 0;
    request.window = {from + offset, to + offset};
    if (measured)
      request.translate = [=](const std::vector<ClockSample>& known) -> std::vector<TimeWindow> {
        return {{from + known.back().offset_ns, to + known.back().offset_ns}};
      };
    const auto freeze = store->freeze(request);
    REQUIRE(freeze);
    return freeze->gaps;
  };
  if (measured) {
    CHECK_FALSE(gaps_in(down - 5 * kSecond, down + 15 * kSecond).empty());
    CHECK_FALSE(gaps_in(down + 1 * kSecond, down + 3 * kSecond).empty());
    CHECK_FALSE(gaps_in(down + 5 * kSecond, down + 15 * kSecond).empty());
    CHECK_FALSE(gaps_in(down - 5 * kSecond, down + 1 * kSecond).empty());
    if (std::abs(set_by) > 60 * kSecond) {
      CHECK(gaps_in(down - 10 * kSecond, down - 5 * kSecond).empty());
      CHECK(gaps_in(down + 15 * kSecond, down + 20 * kSecond).empty());
    }
  } else {
    // Nobody knows by how much it was set; whatever has both sides of it lacks something.
    CHECK_FALSE(gaps_in(std::min(down, up) - kSecond, std::max(down, up) + kSecond).empty());
  }
}

namespace {

/// Packets that come out of order by up to half a second, in blocks that are written late, and
/// everything that a recorder says beside them; the directory as a kill leaves it, damaged here and
/// there.
class Worst {
 public:
  explicit Worst(unsigned seed) : random_(seed) {}

  void record(int seconds) {
    clock_.now_ns += kSecond;
    const int64_t begun = clock_.now_ns;
    auto store = open_store(small_store(dir_.path()), clock_);
    std::string name = "eth-" + std::to_string(begun);
    const auto name_interface = [&] { store->set_interfaces({{7, name, 1, "", 1500}}); };
    name_interface();
    for (int step = 0; step < seconds * 10; ++step) {
      clock_.now_ns += kSecond / 10;
      for (int64_t i = pick(0, 3); i > 0; --i) {
        const auto number = static_cast<uint16_t>(sent_.size());
        const int64_t time_ns = std::max(begun, clock_.now_ns - pick(0, 500) * 1'000'000);
        sent_.push_back(time_ns);
        waiting_.push_back(marked_packet(3, number, static_cast<size_t>(pick(60, 4000)), time_ns));
      }
      if (pick(0, 4) == 0 && !waiting_.empty()) {
        const bool as_kernel = pick(0, 1) != 0;
        for (TestPacket& packet : waiting_) packet.interface = as_kernel ? 7 : 0;
        names_.resize(sent_.size(), name);
        append(*store, std::exchange(waiting_, {}), as_kernel);
      }
      if (pick(0, 25) == 0) REQUIRE(store->seal());
      if (pick(0, 25) == 0) {
        name = "eth" + std::to_string(step);
        name_interface();
        store->tick();
      }
      if (pick(0, 25) == 0) store->add_clock_sample({clock_.now_ns, 0, 1000, 0});
      if (pick(0, 15) == 0 && waiting_.empty())
        store->set_complete_until(clock_.now_ns - 500'000'000);
    }
    TemporaryDirectory left;
    fs::copy(dir_.path(), left.path(), fs::copy_options::recursive);
    store.reset();
    fs::remove_all(dir_.path());
    fs::copy(left.path(), dir_.path(), fs::copy_options::recursive);
    waiting_.clear();
    names_.resize(sent_.size());
  }

  void damage() {
    std::vector<fs::path> files;
    for (const auto& item : fs::directory_iterator(dir_.path() / "packets"))
      if (item.is_regular_file() && item.file_size() > 8192) files.push_back(item.path());
    REQUIRE_FALSE(files.empty());
    std::sort(files.begin(), files.end());
    for (int64_t i = pick(1, 3); i > 0; --i) {
      const auto& path =
          files[static_cast<size_t>(pick(0, static_cast<int64_t>(files.size()) - 1))];
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      // In the header of a segment or a block, or where a sector has its tag: the bytes of packets
      // have no checksum.
      const int64_t size = static_cast<int64_t>(fs::file_size(path));
      std::vector<int64_t> headers{0};
      for (int64_t page = 4096; page < size; page += 4096) {
        uint32_t magic = 0;
        file.seekg(page + static_cast<int64_t>(offsetof(BlockHeader, magic)));
        file.read(reinterpret_cast<char*>(&magic), sizeof magic);
        if (magic == kBlockMagic) headers.push_back(page);
      }
      int64_t at = headers[static_cast<size_t>(pick(0, static_cast<int64_t>(headers.size()) - 1))] +
                   pick(0, 63);
      if (pick(0, 3) == 0) at = pick(0, size / 512 - 1) * 512 + 511;
      test::flip(path, static_cast<uint64_t>(at), 4);
    }
  }

  /// The packets that neither the freeze nor its gaps have. One of another interface is none of them.
  int untold(Store& store, TimeWindow window) {
    const Freeze freeze = freeze_of(store, window);
    std::map<uint16_t, int> found;
    for (size_t run = 0; run < freeze.runs.size(); ++run) {
      const auto reader = store.read_run(freeze.id, run);
      REQUIRE(reader);
      const ReadResult read = read_all(**reader);
      REQUIRE(store.note_damage(freeze.id, read.damage));
      for (const TestPacket& packet : read.packets) {
        uint16_t number = 0;
        std::memcpy(&number, packet.data.data() + sizeof number, sizeof number);
        if (read.interfaces.at(packet.interface).name == names_.at(number)) ++found[number];
      }
    }
    const auto gaps = store.find_freeze(freeze.id)->gaps;
    int untold = 0;
    for (size_t number = 0; number < sent_.size(); ++number) {
      const int64_t time_ns = sent_[number];
      if (!window.contains(time_ns) || found.count(static_cast<uint16_t>(number)) != 0) continue;
      ++lost_;
      if (std::none_of(gaps.begin(), gaps.end(), [&](const Gap& gap) {
            return gap.start_ns <= time_ns && time_ns < gap.end_ns;
          }))
        ++untold;
    }
    return untold;
  }

  int64_t pick(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }
  TemporaryDirectory dir_;
  FakeClock clock_;
  std::vector<int64_t> sent_;  // by number
  std::vector<std::string> names_;  // of the interfaces of what was appended, likewise
  int lost_ = 0;

 private:
  std::mt19937_64 random_;
  std::vector<TestPacket> waiting_;
};

}  // namespace

TEST_CASE("no packet is lost untold, whenever the recorder is killed and whatever is damaged") {
  Worst node(GENERATE(range(1U, 25U)));
  const int64_t begun = node.clock_.now_ns;
  for (int run = 0; run < 4; ++run) node.record(static_cast<int>(node.pick(2, 20)));
  const bool damaged = node.pick(0, 2) != 0;
  if (damaged) node.damage();
  node.clock_.now_ns += kSecond;
  auto store = open_store(small_store(node.dir_.path()), node.clock_);
  const int64_t end = node.clock_.now_ns;
  for (int i = 0; i < 6; ++i) {
    const int64_t from = i == 0 ? begun : node.pick(begun, end - kSecond);
    CHECK(node.untold(*store, {from, i == 0 ? end : node.pick(from + 1000, end)}) == 0);
  }
  CHECK(node.lost_ > 0);
  // What was found while reading is known after the next start as well.
  store.reset();
  store = open_store(small_store(node.dir_.path()), node.clock_);
  CHECK(node.untold(*store, {begun, end}) == 0);
}

TEST_CASE("what is found missing while a freeze is read stays with it") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  append(*store, one_at(clock.now_ns));
  REQUIRE(store->seal());
  const TimeWindow window{clock.now_ns, clock.now_ns + kSecond};
  const Freeze freeze = freeze_of(*store, window);
  CHECK(freeze.gaps.empty());
  const Gap inside{window.from_ns, window.from_ns + 5, 3, "damaged segment"},
      outside{window.to_ns, window.to_ns + 5, 3, "damaged segment"};
  REQUIRE(store->note_damage(freeze.id, {inside, outside}));
  REQUIRE(store->note_damage(freeze.id, {inside}));
  CHECK(store->find_freeze(freeze.id)->gaps == std::vector<Gap>{inside});
  store.reset();
  store = open_store(small_store(dir.path()), clock);
  CHECK(store->find_freeze(freeze.id)->gaps == std::vector<Gap>{inside});
  CHECK(store->note_damage("none", {inside}).error().kind == ErrorKind::not_found);
}

TEST_CASE("a damaged block of a sealed segment is told with its own time and number") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t start = clock.now_ns;
  std::vector<TestPacket> packets;
  for (int i = 0; i < 3; ++i) {
    packets.clear();
    for (int j = 0; j < 4; ++j)
      packets.push_back(marked_packet(1, static_cast<uint16_t>(i), 100, start + i * kSecond + j));
    append(*store, packets);
  }
  REQUIRE(store->seal());
  const Freeze freeze = freeze_of(*store, {start, start + 10 * kSecond});
  // The epoch in the header of the block in the middle: header page, note and one block of a page
  // before it.
  test::flip(segment_file(dir.path(), 1), 3 * 4096 + 20);
  const ReadResult read = read_freeze(*store, freeze);
  CHECK(read.packets.size() == 8);
  CHECK(read.damage ==
        std::vector<Gap>{{start + kSecond, start + kSecond + 4, 4, "damaged segment"}});
}
