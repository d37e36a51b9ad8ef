// The space of the event store: never more than its quota and what is lent to it, never shorter
// than the packets.
#include <catch2/catch.hpp>
#include <deque>

#include "unit/observe/support/event_store_fixture.hpp"

using namespace lookback;
using namespace lookback::observe;
using namespace lookback::observe::testing;

namespace {

constexpr uint64_t kQuota = 16 * kMiB;

/// A packet store that lends: the oldest packets go before it says so.
struct Packets {
  explicit Packets(const TemporaryDirectory& dir) : directory(dir.path()) {}
  std::filesystem::path directory;
  uint64_t quota = 64 * kMiB, used = 0, lent = 0, times_more = 0, times_less = 0;
  std::deque<std::pair<int64_t, uint64_t>> kept;

  void make_room(uint64_t bytes) {
    for (; used + lent + bytes > quota; kept.pop_front()) used -= kept.front().second;
  }
  void add(int64_t time_ns, uint64_t bytes) {
    make_room(bytes);
    kept.emplace_back(time_ns, bytes);
    used += bytes;
  }
  uint64_t lend(uint64_t bytes) {
    // More is not used before it is lent, nor less asked for while it is.
    const uint64_t taken = disk_usage(directory);
    CHECK(taken <= kQuota + std::min(bytes, lent));
    times_more += bytes > lent;
    times_less += bytes < lent;
    lent = std::min(bytes, quota / 2);
    make_room(0);
    return lent;
  }
  [[nodiscard]] std::optional<int64_t> oldest_ns() const {
    return kept.empty() ? std::nullopt : std::optional(kept.front().first);
  }
  [[nodiscard]] EventStoreOptions options() {
    EventStoreOptions made;
    made.directory = directory;
    made.quota_bytes = kQuota;
    made.oldest_packet_ns = [this] { return oldest_ns(); };
    made.borrow = [this](uint64_t bytes) { return lend(bytes); };
    return made;
  }
};

/// A second of both; what holds at any time.
struct Node {
  TemporaryDirectory dir;
  Packets packets{dir};
  Feed feed{packets.options()};
  int64_t now_ns = kStart;

  void second(uint64_t packet_bytes, uint64_t event_bytes, bool packs = false) {
    feed.segment(now_ns, event_bytes, packs);
    packets.add(now_ns, packet_bytes);
    static_cast<void>(feed.store->pack_one());
    feed.store->recycle();
    now_ns += kNsPerSecond;
    const auto status = feed.store->status();
    CHECK(status.used_bytes == disk_usage(dir.path()));
    CHECK(status.borrowed_bytes == packets.lent);
    CHECK(status.used_bytes <= kQuota + packets.lent);
    CHECK(packets.used + packets.lent <= packets.quota);
    CHECK(status.used_bytes + packets.used <= kQuota + packets.quota);
    CHECK(status.lost_events == 0);
  }
  [[nodiscard]] bool reaches_as_far() const {
    return *feed.store->status().oldest_ns <= *packets.oldest_ns();
  }
};

}  // namespace

TEST_CASE("events borrow until they reach as far back as packets, and give back", "[single-threaded]") {
  Node node;
  for (int i = 0; i < 300; ++i) {
    node.second(kMiB, kMiB);
    CHECK(node.reaches_as_far());
  }
  // 16 MiB and 64 MiB for the same rates: each has about 40 seconds.
  CHECK_FALSE(node.feed.store->status().shortened);
  CHECK(node.packets.lent >= 20 * kMiB);
  CHECK(node.packets.lent <= 32 * kMiB);
  CHECK(node.packets.kept.size() >= 32);
  CHECK(node.feed.store->status().segments <= node.packets.kept.size() + 8);
  CHECK(node.packets.times_more + node.packets.times_less < 40);  // no to and fro
  for (int i = 0; i < 200; ++i) {
    node.second(kMiB, 16 << 10);
    CHECK(node.reaches_as_far());
  }
  CHECK(node.packets.lent == 0);
  CHECK(node.packets.kept.size() == 64);
  CHECK_FALSE(node.feed.store->status().shortened);
}

TEST_CASE("events that pack well need no loan", "[single-threaded]") {
  Node node;
  for (int i = 0; i < 200; ++i) {
    node.second(kMiB, kMiB, true);
    CHECK(node.reaches_as_far());
  }
  CHECK(node.packets.times_more == 0);
  CHECK_FALSE(node.feed.store->status().shortened);
}

TEST_CASE("where nothing more is lent, events are given up and it is told", "[single-threaded]") {
  Node node;
  // Packets so slow that none of them ever has to go.
  int seconds = 0;
  for (; seconds < 40; ++seconds) {
    node.second(64 << 10, kMiB);
    CHECK(node.reaches_as_far());
  }
  CHECK_FALSE(node.feed.store->status().shortened);
  for (; seconds < 150; ++seconds) node.second(64 << 10, kMiB);
  CHECK(node.packets.lent == node.packets.quota / 2);
  CHECK(node.feed.store->status().shortened);
  CHECK_FALSE(node.reaches_as_far());
  CHECK(node.feed.store->status().used_bytes >= kQuota + node.packets.lent - 8 * kMiB);
}

TEST_CASE("a flood within a moment has room made for it before it is written") {
  Node node;
  for (int i = 0; i < 60; ++i) node.packets.add(node.now_ns, kMiB);
  // Far more than is kept free from one look to the next.
  node.second(1, 30 * kMiB);
  CHECK(node.packets.lent >= 14 * kMiB);
  CHECK(node.reaches_as_far());
}

TEST_CASE("what is frozen counts, and a share of the quota is its own", "[single-threaded]") {
  Node node;
  for (int i = 0; i < 6; ++i) node.second(kMiB, kMiB);
  REQUIRE(node.feed.store->freeze("f", {0, INT64_MAX}));
  REQUIRE(node.feed.store->frozen("f").size() == 5);
  for (int i = 0; i < 150; ++i) {
    node.second(kMiB, kMiB);
    CHECK(node.reaches_as_far());
  }
  // No longer in the FIFO, and still there.
  CHECK(node.feed.store->status().frozen_bytes > 5 * kMiB);
  for (const auto& segment : node.feed.store->frozen("f"))
    CHECK(node.feed.store->read("f", segment.sequence));
  REQUIRE(node.feed.store->release("f"));
  node.second(kMiB, kMiB);
  CHECK(node.feed.store->status().frozen_bytes == 0);
}

TEST_CASE("a loan outlives a restart, and is asked for before anything is written") {
  TemporaryDirectory dir;
  uint64_t lent = 0;
  std::deque<std::pair<int64_t, uint64_t>> kept;
  {
    Packets packets(dir);
    Feed feed(packets.options());
    for (int i = 0; i < 100; ++i) {
      feed.segment(kStart + i, kMiB, false);
      packets.add(kStart + i, kMiB);
      feed.store->recycle();
    }
    lent = packets.lent;
    kept = packets.kept;
    REQUIRE(lent > 0);
  }
  const uint64_t there = EventStore::bytes_in(dir.path());
  CHECK(there == disk_usage(dir.path()));
  CHECK(there > kQuota);
  Packets packets(dir);
  packets.lent = there - kQuota;
  for (const auto& [time_ns, bytes] : kept) packets.add(time_ns, bytes);
  Feed feed(packets.options());
  CHECK(packets.lent >= there - kQuota);
  CHECK(packets.lent <= lent + 4 * kMiB);
  CHECK(feed.store->status().borrowed_bytes == packets.lent);
  CHECK(*feed.store->status().oldest_ns <= *packets.oldest_ns());
}

TEST_CASE("without a lender the quota is all there is") {
  TemporaryDirectory dir;
  EventStoreOptions options;
  options.directory = dir.path();
  options.quota_bytes = kQuota;
  options.oldest_packet_ns = [] { return std::optional(kStart); };
  Feed feed(std::move(options));
  for (int i = 0; i < 40; ++i) {
    feed.segment(kStart + i, kMiB, false);
    feed.store->recycle();
    CHECK(disk_usage(dir.path()) <= kQuota);
  }
  CHECK(feed.store->status().shortened);
  CHECK(feed.store->status().borrowed_bytes == 0);
  CHECK(feed.store->status().lost_events == 0);
}
