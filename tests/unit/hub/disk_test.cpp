// Too little room: by quota, and on a file system that really is full.
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "hub/disk_budget.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/time.hpp"
#include "support/hub_fixture.hpp"
#include "unit/support/skip.hpp"

using namespace lookback;
using namespace lookback::hub;
using namespace lookback::hub::test;

namespace {

void fill(FakeNode& node, size_t members) {
  const int64_t now = Clock::system().realtime_ns();
  for (size_t i = 0; i < members; ++i)
    node.add_member(
        make_member(node.name(), now - 30 * kNsPerSecond + static_cast<int64_t>(i), 1000, 1000));
}

/// A small file system in memory; not there without the right to mount.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& size) {
    mounted_ =
        ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("a budget holds quota, promises and the disk's reserve") {
  const TemporaryDirectory directory;
  uint64_t published = 100;
  DiskBudget budget(directory.path(), 1000, [&] { return published; });
  CHECK(budget.reserve("a", 500));
  CHECK(budget.reserve("b", 401).error().kind == ErrorKind::no_space);
  CHECK(budget.reserve("b", 400));
  CHECK(budget.grow("a", 500));
  CHECK(budget.used_bytes() == 600);
  CHECK(budget.grow("a", 1).error().kind == ErrorKind::no_space);
  budget.release("b");
  CHECK(budget.grow("a", 1));
  CHECK(budget.reserve("c", 399));
  CHECK_FALSE(budget.reserve("d", 1));
  published = 0;
  CHECK(budget.reserve("d", 1));
  CHECK(DiskBudget::disk_reserve(1 << 20) == 64 << 20);
  CHECK(DiskBudget::disk_reserve(100ULL << 40) == 1ULL << 40);
  const auto disk = disk_space(directory.path());
  DiskBudget unlimited(directory.path(), 0, [] { return 0; });
  CHECK(unlimited.reserve("a", 1 << 20));
  CHECK(unlimited.reserve("b", disk->available_bytes).error().kind == ErrorKind::no_space);
}

TEST_CASE("a snapshot that does not fit the quota is refused, and its freezes are released") {
  hub::HubOptions options;
  options.snapshot_storage_bytes = 1 << 20;
  HubFixture hub(options);
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 4);
  a.start();
  client.beat(a);
  const Answer refused = client.create("x");
  CHECK(refused.status == 507);
  CHECK(refused.json.at("kind") == "no_space");
  CHECK(a.freezes() == 0);
  CHECK(std::filesystem::is_empty(hub.directory() / "jobs"));
  CHECK(client.get("/api/v1/status").json.at("disk").at("quota_bytes") == 1 << 20);
}

TEST_CASE("a snapshot that outgrows the quota fails, says so and leaves no partial file") {
  hub::HubOptions options;
  options.snapshot_storage_bytes = 2 << 20;
  HubFixture hub(options);
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 8);
  a.compressed_estimate = 1000;  // far too low
  a.start();
  client.beat(a);
  REQUIRE(client.create("x").status == 202);
  const Json failed = client.wait("x");
  INFO(failed.dump(2));
  CHECK(failed.at("state") == "failed");
  CHECK(failed.at("reason").get<std::string>().find("--snapshot-storage-size") !=
        std::string::npos);
  CHECK(eventually([&] { return a.freezes() == 0; }));
  CHECK_FALSE(std::filesystem::exists(hub.directory() / "jobs" / "x" / "archive.partial"));
  CHECK_FALSE(std::filesystem::exists(hub.archive("x")));
  CHECK(client.create("x").status == 409);
  // It is still known after a restart, until it is deleted.
  hub.stop();
  hub.start();
  auto again = hub.client();
  CHECK(again.get("/api/v1/snapshots/x").json.at("reason") == failed.at("reason"));
  CHECK(again.get("/api/v1/snapshots").json.at("snapshots").size() == 1);
  CHECK(again.call("POST", "/api/v1/snapshots/x/cancel").status == 409);
  CHECK(again.call("DELETE", "/api/v1/snapshots/x").status == 204);
  CHECK(again.get("/api/v1/snapshots").json.at("snapshots").empty());
}

TEST_CASE("a disk that fills up while a snapshot is transferred fails it cleanly") {
  const SmallDisk disk("80m");
  if (!disk.mounted()) {
    lookback::test::note_skip("mounting a tmpfs needs root");
    return;
  }
  hub::HubOptions options;
  options.data_dir = disk.path() / "hub";
  HubFixture hub(options);
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 20);  // 20 MB where 80 - 64 are to be had
  a.compressed_estimate = 1000;
  a.start();
  client.beat(a);
  REQUIRE(client.create("x").status == 202);
  const Json failed = client.wait("x");
  INFO(failed.dump(2));
  CHECK(failed.at("state") == "failed");
  CHECK(failed.at("reason").get<std::string>().find("do not fit on the disk") != std::string::npos);
  CHECK(eventually([&] { return a.freezes() == 0; }));
  CHECK_FALSE(std::filesystem::exists(hub.directory() / "jobs" / "x" / "archive.partial"));
}

TEST_CASE("a disk that somebody else fills in the middle fails the snapshot cleanly") {
  const SmallDisk disk("100m");
  if (!disk.mounted()) {
    lookback::test::note_skip("mounting a tmpfs needs root");
    return;
  }
  hub::HubOptions options;
  options.data_dir = disk.path() / "hub";
  HubFixture hub(options);
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 20);
  a.hook = [&](uint32_t index) -> std::optional<http::Response> {
    // As much as goes in, and it stays there.
    if (index == 10) std::ofstream(disk.path() / "other") << std::string(100 << 20, 'x');
    return std::nullopt;
  };
  a.start();
  client.beat(a);
  REQUIRE(client.create("x").status == 202);
  const Json failed = client.wait("x");
  INFO(failed.dump(2));
  CHECK(failed.at("state") == "failed");
  CHECK(failed.at("reason") != "");
  CHECK(eventually([&] { return a.freezes() == 0; }));
  CHECK_FALSE(std::filesystem::exists(hub.directory() / "jobs" / "x" / "archive.partial"));
}
