// Freezes: what they hold, for how long, and what they cost.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "lookback/store/file_names.hpp"
#include "store/freeze_record.hpp"
#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;
namespace fs = std::filesystem;

namespace {

/// One packet a second, one block a packet; about `seconds` of them.
void record(Store& store, FakeClock& clock, int seconds, size_t bytes = 30'000) {
  for (int i = 0; i < seconds; ++i) {
    const auto number = static_cast<uint16_t>(clock.now_ns / kNsPerSecond);
    TestBlock made = compact_block({marked_packet(9, number, bytes, clock.now_ns)});
    REQUIRE(store.append_block(made.block, made.info));
    clock.now_ns += kNsPerSecond;
  }
}

FreezeRequest request_for(const std::string& id, int64_t from, int64_t to) {
  FreezeRequest request;
  request.id = id;
  request.owner = "test";
  request.window = {from, to};
  return request;
}

/// The freeze's packets inside its window, by second.
std::vector<int64_t> seconds_of(const Store& store, const Freeze& freeze) {
  std::vector<int64_t> seconds;
  for (const TestPacket& packet : read_freeze(store, freeze).packets) {
    if (freeze.window.contains(packet.time_ns)) seconds.push_back(packet.time_ns / kNsPerSecond);
  }
  return seconds;
}

size_t links(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? st.st_nlink : 0;
}

}  // namespace

TEST_CASE("a freeze has every packet of its window and no block outside") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t start = clock.now_ns;
  record(*store, clock, 60);
  REQUIRE(store->seal());
  const auto from = GENERATE(-5, 0, 7, 25);
  const auto length = GENERATE(1, 2, 13, 200);
  const auto freeze = store->freeze(
      request_for("a", start + from * kNsPerSecond, start + (from + length) * kNsPerSecond));
  REQUIRE(freeze);
  std::vector<int64_t> expected;
  for (int64_t s = std::max(from, 0); s < std::min(from + length, 60); ++s)
    expected.push_back(start / kNsPerSecond + s);
  CHECK(seconds_of(*store, *freeze) == expected);
  // Blocks of compact packets have exact bounds: nothing outside is in the runs.
  uint64_t packets = 0;
  for (const FrozenRun& run : freeze->runs) {
    packets += run.packets;
    CHECK(run.bytes <= kRunBytes);
    CHECK(run.first_ns >= freeze->window.from_ns);
    CHECK(run.last_ns < freeze->window.to_ns);
  }
  CHECK(packets == expected.size());
}

TEST_CASE("kernel blocks are taken in by a margin, since their times are the kernel's guess") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  const int64_t now = clock.now_ns;
  TestBlock made = kernel_block({marked_packet(1, 1, 100, now)}, 64 << 10);
  made.info.first_ns = made.info.last_ns =
      now + kNsPerSecond / 2;  // when the kernel opened the block
  REQUIRE(store->append_block(made.block, made.info));
  REQUIRE(store->seal());
  const auto freeze = store->freeze(request_for("a", now - 10, now + 10));
  REQUIRE(freeze);
  CHECK(seconds_of(*store, *freeze).size() == 1);
}

TEST_CASE("the same id is the same freeze") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  record(*store, clock, 5);
  REQUIRE(store->seal());
  const auto first = store->freeze(everything("a"));
  REQUIRE(first);
  record(*store, clock, 5);
  REQUIRE(store->seal());
  const auto second = store->freeze(everything("a"));
  REQUIRE(second);
  CHECK(second->created_ns == first->created_ns);
  CHECK(second->runs.size() == first->runs.size());
  CHECK(store->freezes().size() == 1);
}

TEST_CASE("bad requests are refused and leave nothing") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  for (const char* id : {"", "..", "a/b", ".hidden", "-x", "a b"})
    CHECK(store->freeze(everything(id)).error().kind == ErrorKind::invalid);
  CHECK(store->freeze(request_for("a", 5, 5)).error().kind == ErrorKind::invalid);
  FreezeRequest large = everything("a");
  large.extra.resize(65'537);
  CHECK(store->freeze(large).error().kind == ErrorKind::invalid);
  CHECK(store->find_freeze("a").error().kind == ErrorKind::not_found);
  CHECK(store->read_run("a", 0).error().kind == ErrorKind::not_found);
  CHECK(store->release_freeze("a"));
  CHECK(store->renew_freeze("a", 5).error().kind == ErrorKind::not_found);
  CHECK(fs::is_empty(dir.path() / file_names::kFreezes));
  // Nothing recorded at all is not an error.
  const auto empty = store->freeze(everything("a"));
  REQUIRE(empty);
  CHECK(empty->runs.empty());
}

TEST_CASE("recycling passes frozen segments over, and takes them again when they are released") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.freeze_quota_bytes = 8 << 20;
  auto store = open_store(options, clock);
  const int64_t start = clock.now_ns;
  record(*store, clock, 100);  // 3 MB
  REQUIRE(store->seal());
  const auto freeze = store->freeze(request_for("a", start, start + 50 * kNsPerSecond));
  REQUIRE(freeze);
  const auto before = seconds_of(*store, *freeze);
  REQUIRE(before.size() == 50);
  CHECK(links(segment_file(dir.path(), 1)) == 2);
  record(*store, clock, 2000);  // twice the storage
  REQUIRE(store->seal());
  CHECK(seconds_of(*store, *freeze) == before);
  CHECK(store->find_freeze("a")->gaps == freeze->gaps);
  const StoreStatus held = store->status();
  CHECK(held.frozen_bytes > 0);
  CHECK(*held.oldest_ns > start + 50 * kNsPerSecond);  // behind the hole
  // What lies between the frozen and the recent is gone, and said so.
  bool recycled = false;
  for (const Gap& gap : store->gaps({start, clock.now_ns})) {
    if (gap.reason == "recycled") recycled = gap.start_ns >= start + 49 * kNsPerSecond;
  }
  CHECK(recycled);
  // A second freeze over the first one's window has the same packets.
  const auto second = store->freeze(request_for("b", start, start + 50 * kNsPerSecond));
  REQUIRE(second);
  CHECK(seconds_of(*store, *second) == before);
  CHECK(store->release_freeze("a"));
  CHECK(seconds_of(*store, *second) == before);
  CHECK(store->release_freeze("b"));
  CHECK_FALSE(fs::exists(dir.path() / file_names::kFreezes / "a"));
  CHECK(store->status().frozen_bytes == 0);
  record(*store, clock, 200);
  CHECK_FALSE(fs::exists(segment_file(dir.path(), 1)));
}

TEST_CASE("beyond the freeze quota the oldest are given up and become a gap") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.freeze_quota_bytes = 2 << 20;
  auto store = open_store(options, clock);
  const int64_t start = clock.now_ns;
  record(*store, clock, 500);  // 15 MB
  REQUIRE(store->seal());
  const auto freeze = store->freeze(request_for("a", start, clock.now_ns));
  REQUIRE(freeze);
  record(*store, clock, 1200);  // more than the storage
  REQUIRE(store->seal());
  const auto check = [&] {
    const auto now = store->find_freeze("a");
    REQUIRE(now);
    REQUIRE(now->runs.size() == freeze->runs.size());
    uint64_t given_up = 0, held_bytes = 0, gap_packets = 0;
    bool tail = false;
    for (size_t i = 0; i < now->runs.size(); ++i) {
      const FrozenRun& run = now->runs[i];
      CHECK(run.offset == freeze->runs[i].offset);  // a member means the same as before
      if (run.given_up) {
        CHECK_FALSE(tail);  // the oldest first
        given_up += run.packets;
        CHECK(store->read_run("a", i).error().kind == ErrorKind::not_found);
        CHECK_FALSE(fs::exists(dir.path() / file_names::kFreezes / "a" / run.segment));
      } else {
        tail = true;
        held_bytes += run.bytes;
        CHECK(store->read_run("a", i));
      }
    }
    CHECK(tail);
    CHECK(given_up > 0);
    CHECK(held_bytes <= options.freeze_quota_bytes);
    CHECK(held_bytes > options.freeze_quota_bytes / 2);
    for (const Gap& gap : now->gaps) {
      if (gap.reason == "freeze quota") gap_packets += gap.packets;
    }
    CHECK(gap_packets == given_up);
    CHECK(seconds_of(*store, *now).size() == 500 - given_up);
  };
  check();
  store.reset();
  store = open_store(options, clock);
  check();
}

TEST_CASE("freezes pass away with their time") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  record(*store, clock, 5);
  REQUIRE(store->seal());
  FreezeRequest request = everything("short");
  request.time_to_live_ns = 10 * kNsPerSecond;
  REQUIRE(store->freeze(request));
  request.id = "renewed";
  REQUIRE(store->freeze(request));
  request.id = "long";
  request.time_to_live_ns = INT64_MAX;
  REQUIRE(store->freeze(request));
  clock.now_ns += 9 * kNsPerSecond;
  REQUIRE(store->renew_freeze("renewed", 10 * kNsPerSecond));
  clock.now_ns += 1 * kNsPerSecond;
  CHECK_FALSE(store->find_freeze("short"));
  CHECK(store->freezes().size() == 2);
  store->tick();
  const fs::path gone = dir.path() / file_names::kFreezes / "short";
  for (int i = 0; i < 500 && fs::exists(gone); ++i) ::usleep(10'000);
  CHECK_FALSE(fs::exists(gone));
  CHECK(fs::exists(dir.path() / file_names::kFreezes / "renewed"));
  // The rest when the store is opened next.
  store.reset();
  clock.now_ns += 10 * kNsPerSecond;
  store = open_store(options, clock);
  CHECK(store->freezes().size() == 1);
  CHECK_FALSE(fs::exists(dir.path() / file_names::kFreezes / "renewed"));
  CHECK(store->find_freeze("long"));
}

TEST_CASE("an id can be used again once its freeze has passed away") {
  TemporaryDirectory dir;
  FakeClock clock;
  auto store = open_store(small_store(dir.path()), clock);
  record(*store, clock, 5);
  REQUIRE(store->seal());
  FreezeRequest request = everything("a");
  request.time_to_live_ns = kNsPerSecond;
  REQUIRE(store->freeze(request));
  clock.now_ns += 2 * kNsPerSecond;
  record(*store, clock, 5);
  REQUIRE(store->seal());
  const auto second = store->freeze(request);
  REQUIRE(second);
  CHECK(seconds_of(*store, *second).size() == 10);
}

TEST_CASE("leftovers of a killed process are cleaned up") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  record(*store, clock, 20);
  REQUIRE(store->seal());
  REQUIRE(store->freeze(everything("whole")));
  REQUIRE(store->freeze(everything("half")));
  REQUIRE(store->freeze(everything("nonsense")));
  REQUIRE(store->freeze(everything("orphan")));
  store.reset();
  const fs::path freezes = dir.path() / file_names::kFreezes;
  fs::rename(freezes / "half", freezes / file_names::freeze_in_work("half"));
  std::ofstream(freezes / "nonsense" / file_names::kFreezeRecord) << "{";
  std::ofstream(dir.path() / file_names::kPackets / file_names::kPrepared) << "x";
  // Killed while a segment was given up: its name in the FIFO was gone already, the links of the
  // freezes were not.
  fs::remove(segment_file(dir.path(), 1));
  fs::remove(freezes / "orphan" / file_names::segment(1));
  store = open_store(options, clock);
  CHECK(store->find_freeze("whole"));
  CHECK_FALSE(store->find_freeze("half"));
  CHECK_FALSE(store->find_freeze("nonsense"));
  CHECK_FALSE(fs::exists(freezes / file_names::freeze_in_work("half")));
  CHECK_FALSE(fs::exists(freezes / "nonsense"));
  CHECK_FALSE(fs::exists(dir.path() / file_names::kPackets / file_names::kPrepared));
  CHECK(seconds_of(*store, *store->find_freeze("whole")).size() == 20);
  const auto orphan = store->find_freeze("orphan");
  REQUIRE(orphan);
  CHECK(orphan->runs.front().given_up);
  CHECK(seconds_of(*store, *orphan).size() < 20);
}

TEST_CASE("a freeze's record is read back, and nothing else is") {
  Freeze freeze;
  freeze.id = "a";
  freeze.owner = "snapshot \"x\"\n\xFF";
  freeze.extra = std::string("\0\x01", 2);
  freeze.window = {-5, INT64_MAX};
  freeze.created_ns = 1;
  freeze.expires_ns = 2;
  freeze.oldest_ns = 3;
  freeze.gaps = {{1, 2, 3, "recycled"}};
  freeze.clock = {{1, -2, 3, 4}};
  freeze.parts = {{{-5, 3}, {7, INT64_MAX}}, {{1, 2}}};
  freeze.runs = {{"0000000000000001.lbs", 4096, 8192, 5, -1, 9, false, 1},
                 {"0000000000000001.lbs", 12288, 4096, 5, 9, 10, false},
                 {"0000000000000002.lbs", 4096, 4096, 1, 11, 12, true}};
  const std::string json = freeze_to_json(freeze);
  const auto read = freeze_from_json(json);
  REQUIRE(read);
  CHECK(read->extra == freeze.extra);
  CHECK(read->window == freeze.window);
  CHECK(read->oldest_ns == freeze.oldest_ns);
  CHECK(read->gaps == freeze.gaps);
  CHECK(read->clock.size() == 1);
  CHECK(read->parts == freeze.parts);
  REQUIRE(read->runs.size() == 3);
  CHECK(read->runs[0].part == 1);
  CHECK(read->runs[1].part == 0);
  CHECK(read->runs[1].offset == 12288);
  CHECK_FALSE(read->runs[1].given_up);
  CHECK(read->runs[2].given_up);
  CHECK(read->runs[2].segment == "0000000000000002.lbs");
  for (size_t length = 0; length + 2 < json.size(); ++length)
    REQUIRE_FALSE(freeze_from_json(std::string_view(json).substr(0, length)));
  for (const auto& [from, to] : {std::pair{"0000000000000001.lbs", "../../../../etc/host"},
                                 {"\"a\"", "\"../a\""},
                                 {"4096", "4097"},
                                 {"\"version\":2", "\"version\":1"},
                                 {"9,1]", "9,2]"},
                                 {"[1,2]", "[1,\"2\"]"},
                                 {"8192", "-1"}}) {
    std::string wrong = json;
    wrong.replace(wrong.find(from), std::string_view(from).size(), to);
    CHECK_FALSE(freeze_from_json(wrong));
  }
}
