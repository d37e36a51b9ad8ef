// Bytes of the quota that are lent: made room for before, given back, never at the cost of what is
// frozen.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;

namespace {

constexpr uint64_t kMiB = 1 << 20;

/// A step of 0 leaves the clock alone, for other threads to read.
void record(Store& store, FakeClock& clock, int blocks, int64_t step_ns = kNsPerSecond) {
  for (int i = 0; i < blocks; ++i) {
    TestBlock made = compact_block({marked_packet(1, 1, 50'000, clock.now_ns)});
    const auto appended = store.append_block(made.block, made.info);
    if (!appended) FAIL(appended.error().message);
    if (step_ns != 0) clock.now_ns += step_ns;
  }
}

}  // namespace

TEST_CASE("what is lent is made room for before, and recorded into again when it comes back") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  record(*store, clock, 1200);
  const uint64_t whole = disk_usage(dir.path());
  const auto oldest = store->status().oldest_ns;
  REQUIRE(whole > 28 * kMiB);
  CHECK(store->status().reserved_bytes == 0);

  REQUIRE(store->set_reserved(8 * kMiB) == 8 * kMiB);
  CHECK(disk_usage(dir.path()) + 8 * kMiB <= options.quota_bytes);
  CHECK(store->status().reserved_bytes == 8 * kMiB);
  CHECK(store->status().used_bytes + 8 * kMiB <= options.quota_bytes);
  CHECK(*store->status().oldest_ns > *oldest);
  record(*store, clock, 1200);
  CHECK(disk_usage(dir.path()) + 8 * kMiB <= options.quota_bytes);

  CHECK(store->set_reserved(2 * kMiB) == 2 * kMiB);
  record(*store, clock, 1200);
  CHECK(disk_usage(dir.path()) + 2 * kMiB <= options.quota_bytes);
  CHECK(disk_usage(dir.path()) > whole - 4 * kMiB);
  CHECK(store->set_reserved(0) == 0);
}

TEST_CASE("half of the quota is lent at most, and less beside a large freeze quota") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  {
    auto store = open_store(options, clock);
    record(*store, clock, 1000);
    CHECK(store->set_reserved(1ULL << 50) == options.quota_bytes / 2);
    CHECK(store->set_reserved(1ULL << 51) == options.quota_bytes / 2);
    CHECK(disk_usage(dir.path()) <= options.quota_bytes / 2);
    record(*store, clock, 1000);
    CHECK(disk_usage(dir.path()) <= options.quota_bytes / 2);
  }
  options.freeze_quota_bytes = options.quota_bytes / 4 * 3;
  auto store = open_store(options, clock);
  const uint64_t lent = store->set_reserved(options.quota_bytes);
  CHECK(lent > 4 * kMiB);
  CHECK(lent < options.quota_bytes / 4);
}

TEST_CASE("nothing that is frozen goes for a loan, and recording finds room beside both") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.freeze_quota_bytes = options.quota_bytes / 4 * 3;
  auto store = open_store(options, clock);
  record(*store, clock, 400);
  REQUIRE(store->seal());
  REQUIRE(store->freeze(everything("f")));
  const uint64_t frozen = store->status().frozen_bytes;
  REQUIRE(frozen > 20 * kMiB);
  REQUIRE(frozen <= options.freeze_quota_bytes);
  const uint64_t lent = store->set_reserved(options.quota_bytes / 2);
  record(*store, clock, 600);
  CHECK(lent > 0);
  CHECK(store->status().frozen_bytes == frozen);
  const auto freeze = store->find_freeze("f");
  REQUIRE(freeze);
  for (const FrozenRun& run : freeze->runs) CHECK_FALSE(run.given_up);
  CHECK(disk_usage(dir.path()) + lent <= options.quota_bytes);
}

TEST_CASE("what was lent before a restart is lent from the first moment") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  {
    auto store = open_store(options, clock);
    record(*store, clock, 1000);
  }
  options.reserved_bytes = 10 * kMiB;
  auto store = open_store(options, clock);
  CHECK(store->status().reserved_bytes == 10 * kMiB);
  CHECK(disk_usage(dir.path()) + 10 * kMiB <= options.quota_bytes);
  record(*store, clock, 1000);
  CHECK(disk_usage(dir.path()) + 10 * kMiB <= options.quota_bytes);
  CHECK(store->set_reserved(4 * kMiB) == 4 * kMiB);
}

TEST_CASE("the quota holds with what is lent at every moment") {
  TemporaryDirectory dir;
  FakeClock clock;
  const StoreOptions options = small_store(dir.path());
  auto store = open_store(options, clock);
  // What the lender may use: raised after the answer, lowered before he asks.
  std::atomic<uint64_t> lent = 0, changes = 0, highest = 0, samples = 0;
  std::atomic<bool> stop = false;
  std::thread sampler([&] {
    while (!stop) {
      const uint64_t change = changes, before = lent, used = disk_usage(dir.path());
      if (changes != change || lent != before) continue;
      highest = std::max(highest.load(), used + before);
      ++samples;
    }
  });
  std::thread lender([&] {
    std::mt19937 random(5);
    while (!stop) {
      const uint64_t wanted = random() % (20 * kMiB);
      if (wanted < lent) lent = wanted;
      ++changes;
      lent = store->set_reserved(wanted);
      ++changes;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  std::thread freezer([&] {
    for (int i = 0; !stop; ++i) {
      static_cast<void>(store->freeze(everything("f" + std::to_string(i % 5))));
      static_cast<void>(store->release_freeze("f" + std::to_string((i + 2) % 5)));
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  for (int i = 0; i < 3000; ++i) {
    record(*store, clock, 1, 0);
    if (i % 100 == 0) REQUIRE(store->seal());
  }
  stop = true;
  sampler.join();
  lender.join();
  freezer.join();
  CHECK(samples > 10);
  CHECK(highest <= options.quota_bytes);
  CHECK(highest > options.quota_bytes / 2);
}
