// The daemon's small parts.

#include "lookback/base/names.hpp"
#include "node/clock_watch.hpp"
#include "node/documents.hpp"
#include "node/freeze_admission.hpp"
#include "node/interface_positions.hpp"
#include "node/member_pool.hpp"
#include "node/memory_budget.hpp"
#include "node/rate_meter.hpp"
#include "node/self_exclusion.hpp"
#include "unit/capture/support/network_namespace.hpp"
#include "unit/node/support/fixtures.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::node {

TEST_CASE("interfaces keep their positions until one of them changes") {
  InterfacePositions positions;
  CHECK(positions.find(7) == InterfacePositions::kUnknown);
  for (uint32_t i = 0; i < 1000; ++i)
    CHECK(positions.add({i * 64 + 1, fmt::format("if{}", i), 1, "", 0}) == i);
  for (uint32_t i = 0; i < 1000; ++i) CHECK(positions.find(i * 64 + 1) == i);
  CHECK(positions.find(2) == InterfacePositions::kUnknown);

  auto current = positions.table();
  CHECK_FALSE(positions.update(current));
  // A rename is a further entry behind the old one.
  current.push_back({64 + 1, "renamed", 1, "", 0});
  CHECK(positions.update(current));
  CHECK(positions.table()[positions.find(65)].name == "renamed");
  // Those that are gone leave a table that has grown large.
  current.erase(current.begin() + 100, current.end() - 1);
  CHECK(positions.update(current));
  CHECK(positions.table().size() == 100);
  CHECK(positions.find(999 * 64 + 1) == InterfacePositions::kUnknown);
  CHECK(positions.table()[positions.find(99 * 64 + 1)].name == "if99");
  // A small one keeps them.
  InterfacePositions few;
  few.add({1, "a", 1, "", 0});
  CHECK_FALSE(few.update({}));
}

TEST_CASE("only jumps of the wall clock against the steady one are steps") {
  test::FakeClock clock;
  ClockWatch watch(clock);
  clock.advance(60 * kNsPerSecond);
  CHECK_FALSE(watch.look());
  clock.step(9'000'000);
  CHECK_FALSE(watch.look());
  clock.step(-3600 * kNsPerSecond);
  clock.advance(kNsPerSecond);
  CHECK(watch.look() == -3600 * kNsPerSecond);
  CHECK_FALSE(watch.look());
}

TEST_CASE("rates look back ten seconds, retention further") {
  RateMeter meter;
  CHECK(meter.rates().packets_per_second == 0);
  for (uint64_t second = 0; second <= 400; ++second) {
    const uint64_t packets = second <= 390 ? second * 10 : 3900 + (second - 390) * 100;
    meter.add(static_cast<int64_t>(second) * kNsPerSecond, packets, packets * 100, second * 1000);
  }
  CHECK(meter.rates().packets_per_second == Approx(100));
  CHECK(meter.rates().bytes_per_second == Approx(10'000));
  CHECK(meter.rates().disk_bytes_per_second == Approx(1000));
}

TEST_CASE("retention is what is not frozen by the rate") {
  CHECK_FALSE(retention_ns(1'000'000, 0, 0));
  CHECK(retention_ns(1'000'000, 0, 1000) == 1000 * kNsPerSecond);
  CHECK(retention_ns(1'000'000, 250'000, 1000) == 750 * kNsPerSecond);
  CHECK(retention_ns(1'000, 2'000, 1000) == 0);
  CHECK(retention_ns(UINT64_MAX, 0, 1).value() > 0);
}

TEST_CASE("the pool runs work on its own threads until it is stopped") {
  MemberPool pool(2);
  const auto here = std::this_thread::get_id();
  std::thread::id there;
  CHECK(pool.run([&] { there = std::this_thread::get_id(); }));
  CHECK(there != here);
  pool.stop();
  CHECK_FALSE(pool.run([] {}));
}

TEST_CASE("a node has a valid name without being given one") {
  CHECK(check_node_name(default_node_name()));
}

TEST_CASE("an owner's freezes keep nobody else's out") {
  FreezeAdmission admission;
  std::vector<HeldFreeze> held;
  const auto fill = [&](const std::string& hub, const std::string& owner, size_t count) {
    for (size_t i = 0; i < count; ++i) held.push_back({fmt::format("f{}", held.size()), hub, owner});
  };
  const auto takes = [&](const std::string& hub, const std::string& owner) {
    return admission.enter({"next", hub, owner}, held).has_value();
  };
  admission.set_own_hub("ours");
  fill("", "a", FreezeAdmission::kMostOfOwner - 1);
  CHECK(takes("", "a"));
  fill("", "a", 1);
  const auto refused = admission.enter({"next", "", "a"}, held);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::conflict);
  CHECK(refused.error().message.find("'a'") != std::string::npos);
  CHECK(takes("", "b"));
  CHECK(takes("b", "a"));
  CHECK(admission.enter({"f0", "", "a"}, held));  // the same again
  // A hub is one owner, whatever its texts are.
  for (size_t i = 0; i < FreezeAdmission::kMostOfOwner; ++i) fill("other", fmt::format("snapshot {}", i), 1);
  CHECK_FALSE(takes("other", "snapshot x"));
  // Many owners together have a limit too, which the node's own hub is not in.
  for (size_t i = 0; held.size() < FreezeAdmission::kMostOfOthers; ++i) fill("", fmt::format("many {}", i), 1);
  CHECK_FALSE(takes("", "yet another"));
  CHECK(takes("ours", "snapshot x"));
  fill("ours", "snapshot", FreezeAdmission::kMostOfOwnHub);
  CHECK_FALSE(takes("ours", "snapshot x"));
}

TEST_CASE("those that are being made count, and are known to be released meanwhile") {
  FreezeAdmission admission;
  std::vector<FreezeAdmission::Entry> entries;
  for (size_t i = 0; i < FreezeAdmission::kMostOfOwner; ++i)
    entries.push_back(std::move(*admission.enter({fmt::format("f{}", i), "", "a"}, {})));
  CHECK_FALSE(admission.enter({"next", "", "a"}, {}));
  CHECK_FALSE(entries[3].released());
  admission.release("f3");
  admission.release("unknown");
  CHECK(entries[3].released());
  CHECK_FALSE(entries[4].released());
  entries.clear();
  const auto again = admission.enter({"f3", "", "a"}, {});
  REQUIRE(again);
  CHECK_FALSE(again->released());
}

TEST_CASE("a budget is never passed, and a large share gets its turn") {
  MemoryBudget budget(100);
  auto first = budget.take(60);
  REQUIRE(first);
  std::atomic<uint64_t> most{0};
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (const uint64_t bytes : {500, 30, 30, 40, 100})
    threads.emplace_back([&, bytes] {
      const auto share = budget.take(bytes);
      if (!share) return;
      uint64_t seen = most;
      while (seen < budget.used() && !most.compare_exchange_weak(seen, budget.used())) {
      }
      ++served;
    });
  first->shrink(70);  // it does not grow
  CHECK(budget.used() >= 60);
  first->shrink(10);
  first.reset();
  for (auto& thread : threads) thread.join();
  CHECK(served == 5);
  CHECK(most <= 100);
  CHECK(budget.used() == 0);
  CHECK(budget.taken() == 6);

  const auto all = budget.take(100);
  std::thread waiting([&] { CHECK_FALSE(budget.take(1)); });
  budget.stop();
  waiting.join();
}

TEST_CASE("only the daemon's own connections are left out, and for a while") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "exclusions.json";
  test::FakeClock clock;
  const int64_t start = clock.realtime_ns();
  {
    SelfExclusion exclusion("127.0.0.1", 7401, file, clock);
    CHECK(exclusion.connections().empty());
    CHECK(exclusion.set_hub({"127.0.0.1"}, 7400, {}));
    CHECK_FALSE(exclusion.set_hub({"127.0.0.1"}, 7400, {}));
    REQUIRE(exclusion.connections().size() == 2);
    // A hub that calls is known already; somebody else's one connection is left out, not its address.
    CHECK_FALSE(exclusion.add_caller("127.0.0.1", 40000));
    CHECK_FALSE(exclusion.add_caller("not an address", 40000));
    CHECK(exclusion.add_caller("127.0.0.9", 40000));
    CHECK_FALSE(exclusion.add_caller("127.0.0.9", 40000));
    CHECK(exclusion.connections().back() == capture::ExcludedConnection{"127.0.0.1", 7401, "127.0.0.9", 40000});
    clock.advance(SelfExclusion::kCallerLife);
    CHECK_FALSE(exclusion.expire());
    clock.advance(kNsPerSecond);
    CHECK(exclusion.expire());
    CHECK(exclusion.connections().size() == 2);
    // Nobody fills the filter.
    for (uint16_t port = 1; port <= 100; ++port) exclusion.add_caller("127.0.0.9", port);
    CHECK(exclusion.connections().size() == 2 + SelfExclusion::kMostCallers);
    CHECK(exclusion.connections().back().remote_port == 100);
    // The hub moves: what held before ends.
    CHECK(exclusion.set_hub({"127.0.0.2"}, 7400, {}));
    for (const auto& one : exclusion.connections()) CHECK(one.remote != "127.0.0.1");
    exclusion.save_if_changed();
  }
  clock.advance(kNsPerSecond);
  // What earlier runs left out is told with its times.
  const SelfExclusion again("127.0.0.1", 7401, file, clock);
  CHECK(again.connections().empty());
  const auto told = again.intervals({start, start + 1});
  REQUIRE(told.size() == 3);  // both of the hub's, and the caller's
  CHECK(told[0].from_ns == start);
  CHECK(told[0].to_ns == start + SelfExclusion::kCallerLife + kNsPerSecond);
  CHECK(again.intervals({start - 10, start}).empty());
  CHECK(to_string(told[1].connection) == "tcp 127.0.0.1:7401 127.0.0.1:*");
  CHECK(to_string({"fd00::7", 0, "fd00::1", 7400}) == "tcp [fd00::7]:* [fd00::1]:7400");
}

}  // namespace lookback::node
