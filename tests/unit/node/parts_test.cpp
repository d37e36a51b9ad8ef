// The daemon's small parts.

#include "node/address_filter.hpp"
#include "lookback/base/names.hpp"
#include "node/clock_watch.hpp"
#include "node/documents.hpp"
#include "node/interface_positions.hpp"
#include "node/member_pool.hpp"
#include "node/rate_meter.hpp"
#include "unit/capture/support/network_namespace.hpp"
#include "unit/node/support/fixtures.hpp"

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

TEST_CASE("a network matches either end") {
  const auto frame = test::tcp_frame(1, 2, 3, 4);
  const auto matches = [&](const std::vector<std::string>& networks) {
    const auto filter = AddressFilter::parse(networks);
    REQUIRE(filter);
    return filter->matches(packet::link_type::kEthernet, frame);
  };
  CHECK(matches({}));
  CHECK(matches({"10.9.0.1"}));
  CHECK(matches({"10.9.0.3/32"}));
  CHECK(matches({"192.168.0.0/16", "10.0.0.0/8"}));
  CHECK_FALSE(matches({"10.9.0.2"}));
  CHECK_FALSE(matches({"::/64"}));
  CHECK_FALSE(AddressFilter::parse({"10.9.0.1/8"}));
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

}  // namespace lookback::node
