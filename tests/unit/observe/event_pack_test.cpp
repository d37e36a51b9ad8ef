// Segments that are packed: read back as they were, refused where they are damaged, one file at any
// time.
#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "lookback/base/fd.hpp"
#include "lookback/observe/event_segment.hpp"
#include "lookback/observe/event_segment_format.hpp"
#include "observe/event_segment_header.hpp"
#include "unit/observe/support/event_store_fixture.hpp"

using namespace lookback;
using namespace lookback::observe;
using namespace lookback::observe::testing;
namespace fs = std::filesystem;

namespace {

std::string some_segment(int events) {
  std::string bytes = event_segment_header(3, kStart);
  for (int i = 0; i < events; ++i) {
    Event event;
    event.kind = Kind::fork;
    event.time_ns = kStart + i * i;
    event.pid = static_cast<uint32_t>(i);
    event.comm = "worker";
    append_event_record(event, bytes);
  }
  return bytes;
}

std::string packed_segment(int events) {
  auto packed = pack_event_segment(as_bytes(some_segment(events)));
  REQUIRE(packed);
  return *packed;
}

ino_t inode(const fs::path& path) {
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info.st_ino;
}

EventStoreOptions options_in(const TemporaryDirectory& dir, uint64_t quota = 16 * kMiB) {
  EventStoreOptions options;
  options.directory = dir.path();
  options.quota_bytes = quota;
  return options;
}

constexpr TimeWindow kAll{0, INT64_MAX};

void pack_all(EventStore& store) {
  while (store.pack_one()) {
  }
}

}  // namespace

TEST_CASE("a packed segment is read back byte for byte") {
  for (const int events : {0, 1, 100, 20'000}) {
    const std::string plain = some_segment(events), packed = packed_segment(events);
    if (events >= 100) CHECK(packed.size() < plain.size() / 2);
    const auto front = read_event_segment_front(
        as_bytes(packed).first(std::min(packed.size(), kEventSegmentFrontBytes)), packed.size());
    REQUIRE(front);
    CHECK(front->packed);
    CHECK(front->sequence == 3);
    CHECK(front->created_ns == kStart);
    CHECK(front->content_bytes == plain.size());
    const auto back = unpack_event_segment(packed);
    REQUIRE(back);
    CHECK(*back == plain);
    // What is plain stays so, and nothing is packed twice or read as it is.
    CHECK(*unpack_event_segment(plain) == plain);
    CHECK_FALSE(pack_event_segment(as_bytes(packed)));
    CHECK_FALSE(parse_event_segment(as_bytes(packed)));
  }
}

TEST_CASE("a packed segment that is cut, changed or too long is refused") {
  const std::string plain = some_segment(300), packed = packed_segment(300);
  const auto refused = [](std::string bytes) {
    const auto result = unpack_event_segment(std::move(bytes));
    if (!result) CHECK(result.error().kind == ErrorKind::corrupt);
    return !result;
  };
  for (size_t length = 0; length < packed.size(); ++length)
    CHECK(refused(packed.substr(0, length)));
  CHECK(refused(packed + '\0'));
  CHECK(refused(packed + packed.substr(sizeof(EventSegmentHeader))));
  for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
    std::string bytes = packed;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    if (refused(bytes)) continue;
    // Some bits of a frame mean nothing.
    CHECK(*unpack_event_segment(bytes) == plain);
  }
  // A frame that says that it holds a terabyte: nobody takes the memory for it.
  std::string huge = event_segment_header(3, kStart, kPackedEventSegmentVersion);
  huge += std::string("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00", 16);
  CHECK(refused(huge));
  CHECK_FALSE(read_event_segment_front(as_bytes(huge), huge.size()));
}

TEST_CASE("an ended segment is packed once no freeze holds it") {
  TemporaryDirectory dir;
  Feed feed(options_in(dir));
  EventStore& store = *feed.store;
  feed.segment(kStart, 200 << 10);
  CHECK_FALSE(store.pack_one());  // it is the open one
  feed.segment(kStart + 1000, 200 << 10);
  const std::string plain = slurp(segment_file(dir.path(), 1));
  REQUIRE(store.freeze("held", kAll));
  const ino_t held = inode(segment_file(dir.path(), 1));
  CHECK_FALSE(store.pack_one());
  CHECK(inode(segment_file(dir.path(), 1)) == held);
  CHECK(inode(segment_file(dir.path() / "freezes" / "held", 1)) == held);
  CHECK(*store.read("held", 1) == plain);
  const uint64_t before = store.status().used_bytes;

  REQUIRE(store.release("held"));
  CHECK(store.pack_one());
  CHECK_FALSE(store.pack_one());
  CHECK(fs::file_size(segment_file(dir.path(), 1)) < plain.size() / 4);
  CHECK(store.status().used_bytes < before);
  CHECK(store.status().used_bytes == disk_usage(dir.path()));
  REQUIRE(store.freeze("later", kAll));
  CHECK(inode(segment_file(dir.path() / "freezes" / "later", 1)) ==
        inode(segment_file(dir.path(), 1)));
  CHECK(*store.read("later", 1) == plain);
  const auto frozen = store.frozen("later");
  REQUIRE(frozen.size() == 1);
  CHECK(frozen[0].bytes == plain.size());
  CHECK(frozen[0].disk_bytes == fs::file_size(segment_file(dir.path(), 1)));
  CHECK(frozen[0].first_ns == kStart);
  CHECK(frozen[0].last_ns == kStart + 1000);
}

TEST_CASE("packed segments are what they were when the store is opened again") {
  TemporaryDirectory dir;
  std::string plain;
  {
    Feed feed(options_in(dir));
    for (int i = 0; i < 3; ++i) feed.segment(kStart + i * kNsPerSecond, 100 << 10);
    plain = slurp(segment_file(dir.path(), 2));
    pack_all(*feed.store);
    REQUIRE(feed.store->freeze("f", kAll));
  }
  Feed feed(options_in(dir));
  CHECK(feed.store->status().oldest_ns == kStart);
  CHECK(feed.store->status().used_bytes == disk_usage(dir.path()));
  const auto frozen = feed.store->frozen("f");
  REQUIRE(frozen.size() == 2);
  CHECK(frozen[1].sequence == 2);
  CHECK(frozen[1].bytes == plain.size());
  CHECK(frozen[1].first_ns == kStart + kNsPerSecond);
  CHECK(frozen[1].last_ns == kStart + 2 * kNsPerSecond);
  CHECK(*feed.store->read("f", 2) == plain);
  feed.segment(kStart + 9 * kNsPerSecond, 1);
  CHECK(feed.store->status().segments == 4);
}

TEST_CASE("a damaged packed segment costs itself") {
  TemporaryDirectory dir;
  Feed feed(options_in(dir));
  EventStore& store = *feed.store;
  for (int i = 0; i < 4; ++i) feed.segment(kStart + i, 100 << 10);
  const std::string plain = slurp(segment_file(dir.path(), 3));
  pack_all(store);
  REQUIRE(store.freeze("f", kAll));
  std::string bytes = slurp(segment_file(dir.path(), 1));
  bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
  replace_contents(segment_file(dir.path(), 1), bytes);
  bytes = slurp(segment_file(dir.path(), 2));
  replace_contents(segment_file(dir.path(), 2), bytes.substr(0, bytes.size() - 1));
  for (const uint64_t sequence : {1, 2}) {
    const auto read = store.read("f", sequence);
    REQUIRE_FALSE(read);
    CHECK(read.error().kind == ErrorKind::corrupt);
    CHECK(read.error().message.find("event segment " + std::to_string(sequence)) !=
          std::string::npos);
  }
  CHECK(*store.read("f", 3) == plain);
}

TEST_CASE("what a crash left half made is removed, and the segment is whole") {
  TemporaryDirectory dir;
  std::string plain;
  {
    Feed feed(options_in(dir));
    feed.segment(kStart, 100 << 10);
    feed.segment(kStart + 1, 100 << 10);
    plain = slurp(segment_file(dir.path(), 1));
  }
  // Killed while it was packing, and while it was freezing.
  const fs::path half = dir.path() / ".00000001.events";
  replace_contents(half, packed_segment(100).substr(0, 60));
  fs::create_directories(dir.path() / "freezes" / ".f");
  fs::create_hard_link(segment_file(dir.path(), 1), segment_file(dir.path() / "freezes" / ".f", 1));
  Feed feed(options_in(dir));
  CHECK_FALSE(fs::exists(half));
  CHECK_FALSE(fs::exists(dir.path() / "freezes" / ".f"));
  CHECK(feed.store->pack_one());
  feed.segment(kStart + 2, 1);
  REQUIRE(feed.store->freeze("f", kAll));
  CHECK(*feed.store->read("f", 1) == plain);
  CHECK(feed.store->status().used_bytes == disk_usage(dir.path()));
}

TEST_CASE("packing, freezing and recording go on beside each other") {
  TemporaryDirectory dir;
  Feed feed(options_in(dir));
  EventStore& store = *feed.store;
  std::atomic<bool> over = false;
  std::thread packer([&] {
    while (!over)
      if (!store.pack_one()) std::this_thread::yield();
  });
  // Catch's checks are for one thread.
  std::atomic<uint64_t> reads = 0, wrong = 0;
  std::thread freezer([&] {
    for (int i = 0; !over; ++i) {
      const std::string id = "f" + std::to_string(i);
      if (!store.freeze(id, kAll)) ++wrong;
      for (const auto& segment : store.frozen(id)) {
        const auto bytes = store.read(id, segment.sequence);
        // Given up since, by the quota.
        if (!bytes && bytes.error().kind == ErrorKind::not_found) continue;
        ++reads;
        const auto parsed =
            bytes ? parse_event_segment(as_bytes(*bytes)) : fail(ErrorKind::failed, "");
        if (!parsed || parsed->sequence != segment.sequence || parsed->damaged_bytes != 0 ||
            bytes->size() != segment.bytes)
          ++wrong;
      }
      if (!store.release(id)) ++wrong;
    }
  });
  for (int i = 0; i < 120; ++i) {
    feed.segment(kStart + i, kMiB / 2, i % 3 != 0);
    store.recycle();
    CHECK(store.status().used_bytes <= 16 * kMiB);
  }
  over = true;
  packer.join();
  freezer.join();
  CHECK(reads > 0);
  CHECK(wrong == 0);
  pack_all(store);
  CHECK(store.status().lost_events == 0);
  CHECK(store.status().used_bytes == disk_usage(dir.path()));
}
