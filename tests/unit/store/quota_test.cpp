// Space: the quota is never passed, a full disk is survived.
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "lookback/store/file_names.hpp"
#include "store/catalog.hpp"
#include "store/disk_usage.hpp"
#include "unit/store/support/store_fixture.hpp"
#include "unit/support/skip.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;
namespace fs = std::filesystem;

TEST_CASE("the quota holds at every moment, under load, freezes in a loop and restarts") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.segment_bytes = GENERATE(256U << 10, 1U << 20);
  options.freeze_quota_bytes = 6 << 20;
  std::mt19937 random(options.segment_bytes);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> highest = 0, samples = 0;
  std::thread sampler([&] {
    while (!stop) {
      highest = std::max(highest.load(), disk_usage(dir.path()));
      ++samples;
    }
  });
  uint64_t last_status = 0;
  for (int run = 0; run < 4; ++run) {
    auto store = open_store(options, clock);
    // Freezes come from another thread than the recorder's, as in the daemon.
    std::atomic<bool> run_over = false;
    std::thread freezer([&] {
      std::mt19937 own(static_cast<unsigned>(run));
      for (int i = 0; !run_over; ++i) {
        FreezeRequest request =
            everything("f" + std::to_string(run) + "-" + std::to_string(i % 20));
        const int64_t now = clock.now_ns;
        request.window = {now - static_cast<int64_t>(own() % 2000) * kNsPerSecond, now};
        static_cast<void>(store->freeze(request));
        if (own() % 2 == 0)
          static_cast<void>(
              store->release_freeze("f" + std::to_string(run) + "-" + std::to_string(own() % 20)));
      }
    });
    for (int i = 0; i < 800; ++i) {
      const size_t bytes = 100 + random() % 60'000;
      TestBlock made = compact_block({marked_packet(1, 1, bytes, clock.now_ns)});
      const auto appended = store->append_block(made.block, made.info);
      if (!appended) FAIL(appended.error().message);
      if (random() % 50 == 0) static_cast<void>(store->seal());
      if (random() % 20 == 0)
        store->add_gap({clock.now_ns, clock.now_ns + 1, 1, "kernel ring full"});
      last_status = std::max(last_status, store->status().used_bytes);
    }
    run_over = true;
    freezer.join();
    clock.now_ns += 3600 * kNsPerSecond;
  }
  stop = true;
  sampler.join();
  CHECK(samples > 10);
  CHECK(highest <= options.quota_bytes);
  CHECK(last_status <= options.quota_bytes);
  CHECK(highest > options.quota_bytes / 2);  // and it is made use of
}

TEST_CASE("a storage that shrinks lets the oldest go when it is opened") {
  TemporaryDirectory dir;
  FakeClock clock;
  StoreOptions options = small_store(dir.path());
  options.quota_bytes = 64 << 20;
  {
    auto store = open_store(options, clock);
    for (int i = 0; i < 1200; ++i) {
      TestBlock made = compact_block({marked_packet(1, 1, 50'000, clock.now_ns)});
      REQUIRE(store->append_block(made.block, made.info));
      clock.now_ns += kNsPerSecond;
    }
    REQUIRE(store->seal());
    REQUIRE(store->freeze(everything("a")));
  }
  CHECK(disk_usage(dir.path()) > (40U << 20));
  options.quota_bytes = 32 << 20;
  auto store = open_store(options, clock);
  CHECK(disk_usage(dir.path()) <= (32U << 20));
  const auto freeze = store->find_freeze("a");
  REQUIRE(freeze);
  CHECK(freeze->runs.front().given_up);
  CHECK_FALSE(freeze->runs.back().given_up);
}

TEST_CASE("segment sizes scale with the storage") {
  const auto size = [](uint64_t quota) {
    StoreOptions options;
    options.quota_bytes = quota;
    return checked_options(options)->segment_bytes;
  };
  constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30;
  for (uint64_t quota = 32 * kMiB; quota < (64ULL << 40); quota = quota * 5 / 4) {
    const uint64_t segment = size(quota);
    CHECK(segment >= (quota < 128 * kMiB ? 4 : 8) * kMiB);
    CHECK(segment <= kGiB + kMiB);
    if (quota <= (1ULL << 40)) CHECK(quota / segment <= 1024);
    CHECK(quota / segment >= 7);
  }
  CHECK(size(10 * kGiB) == 64 * kMiB + (64 << 10));
  CHECK(size(1024 * kGiB) == 1024 * kMiB + (64 << 10));
}

TEST_CASE("gap lists stay short and lose no count") {
  std::vector<Gap> gaps;
  uint64_t sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    gaps.push_back({i * 10, i * 10 + 5, 1, i % 3 == 0 ? "disk full" : "kernel ring full"});
    ++sum;
    shorten_gaps(gaps, 100);
    REQUIRE(gaps.size() <= 100);
  }
  uint64_t kept = 0;
  for (const Gap& gap : gaps) kept += gap.packets;
  CHECK(kept == sum);
  CHECK(gaps.front().start_ns == 0);
  CHECK(gaps.back().end_ns == 9999 * 10 + 5);
}

namespace {

/// A small file system of its own.
class SmallDisk {
 public:
  explicit SmallDisk(const char* size) {
    mounted_ = ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0,
                       (std::string("size=") + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] fs::path path() const { return dir_.path() / "store"; }
  [[nodiscard]] fs::path root() const { return dir_.path(); }

 private:
  TemporaryDirectory dir_;
  bool mounted_ = false;
};

/// Takes the rest of the disk.
void fill(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(fd >= 0);
  const std::vector<char> junk(1 << 20);
  while (::write(fd, junk.data(), junk.size()) > 0) {
  }
  ::close(fd);
}

/// A block of 50 kB; a second later. False where there is no room for it.
bool append_one(Store& store, FakeClock& clock) {
  TestBlock made = compact_block({marked_packet(1, 1, 50'000, clock.now_ns)});
  clock.now_ns += kNsPerSecond;
  return store.append_block(made.block, made.info).has_value();
}

}  // namespace

TEST_CASE("a disk that others fill costs packets, not what is recorded") {
  SmallDisk disk("48m");
  if (!disk.mounted()) {
    test::note_skip("mounting a tmpfs needs root");
    return;
  }
  FakeClock clock;
  const StoreOptions options = small_store(disk.path());
  auto store = open_store(options, clock);
  std::vector<int64_t> written;
  const auto append = [&] {
    TestBlock made = compact_block({marked_packet(1, 1, 50'000, clock.now_ns)});
    const std::vector<std::byte> before(made.block.begin() + made.info.first_packet,
                                        made.block.begin() + made.info.used_bytes);
    const auto result = store->append_block(made.block, made.info);
    if (result) {
      written.push_back(clock.now_ns);
    } else {
      CHECK(result.error().kind == ErrorKind::no_space);
      CHECK(std::equal(before.begin(), before.end(), made.block.begin() + made.info.first_packet));
    }
    clock.now_ns += kNsPerSecond;
    return result.has_value();
  };
  for (int i = 0; i < 100; ++i) REQUIRE(append());
  // Somebody else takes the rest of the disk.
  const fs::path other = disk.root() / "other";
  fill(other);
  int lost = 0;
  for (int i = 0; i < 50; ++i) lost += !append();
  CHECK(lost > 30);
  store->add_gap({clock.now_ns - 1, clock.now_ns, 5, "disk full"});
  CHECK(store->status().packets == written.size());
  // And gives it back.
  fs::remove(other);
  for (int i = 0; i < 20; ++i) REQUIRE(append());
  REQUIRE(store->seal());
  const auto check = [&] {
    const auto freeze = store->find_freeze("a");
    REQUIRE(freeze);
    std::vector<int64_t> read;
    for (const auto& packet : read_freeze(*store, *freeze).packets) read.push_back(packet.time_ns);
    CHECK(read == written);
    CHECK(std::count_if(freeze->gaps.begin(), freeze->gaps.end(),
                        [](const Gap& gap) { return gap.reason == "disk full"; }) == 1);
  };
  REQUIRE(store->freeze(everything("a")));
  check();
  store.reset();
  store = open_store(options, clock);
  check();
}

TEST_CASE("a disk that cannot hold the storage is refused with the way out") {
  SmallDisk disk("40m");
  if (!disk.mounted()) {
    test::note_skip("mounting a tmpfs needs root");
    return;
  }
  FakeClock clock;
  StoreOptions options = small_store(disk.path());
  options.quota_bytes = 48 << 20;
  const auto refused = Store::open(options, clock);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::no_space);
  CHECK(refused.error().message.find("8") != std::string::npos);
  CHECK(refused.error().message.find("--storage-size") != std::string::npos);
  // What the store has itself counts as free.
  options.quota_bytes = 32 << 20;
  {
    auto store = open_store(options, clock);
    for (int i = 0; i < 400; ++i) REQUIRE(append_one(*store, clock));
  }
  CHECK(Store::open(options, clock));
}

TEST_CASE("a storage on a disk that others filled since is opened as it is") {
  SmallDisk disk("40m");
  if (!disk.mounted()) {
    test::note_skip("mounting a tmpfs needs root");
    return;
  }
  FakeClock clock;
  StoreOptions options = small_store(disk.path());
  options.quota_bytes = 32 << 20;
  {
    const auto store = open_store(options, clock);
    for (int i = 0; i < 20; ++i) REQUIRE(append_one(*store, clock));
  }
  const fs::path other = disk.root() / "other";
  fill(other);
  {
    const auto store = open_store(options, clock);
    CHECK(store->status().packets == 20);
    CHECK_FALSE(append_one(*store, clock));
    CHECK(store->status().packets == 20);
    fs::remove(other);
    CHECK(append_one(*store, clock));
    CHECK(store->status().packets == 21);
  }
  fill(other);
  StoreOptions another = options;
  another.directory = disk.root() / "another";
  CHECK(Store::open(another, clock).error().kind == ErrorKind::no_space);
  options.quota_bytes = 48 << 20;
  CHECK(Store::open(options, clock).error().kind == ErrorKind::no_space);
}
