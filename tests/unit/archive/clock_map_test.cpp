#include "lookback/archive/clock_map.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace lookback;
using namespace lookback::archive;

TEST_CASE("the clock map says what clock_offset_at() and clock_error_at() say") {
  std::mt19937 random(GENERATE(range(1U, 50U)));
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  std::vector<ClockSample> samples;
  for (int64_t i = pick(0, 12); i > 0; --i)
    samples.push_back({pick(0, 1000), pick(-300, 300), pick(0, 100), 0});
  if (pick(0, 2) != 0) {
    std::sort(samples.begin(), samples.end(),
              [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
  }
  const ClockMap map(samples);
  REQUIRE(map.measured() == !samples.empty());
  for (int64_t time = -20; time < 1020; ++time) {
    CAPTURE(time);
    REQUIRE(map.piece_at(time).offset_ns == clock_offset_at(samples, time));
    REQUIRE(map.piece_at(time).error_ns == clock_error_at(samples, time));
    REQUIRE(map.to_hub(time) == time - clock_offset_at(samples, time));
  }

  const int64_t from = pick(-100, 1100);
  const TimeWindow hub{from, from + pick(0, 300)};
  const std::vector<TimeWindow> windows = map.to_node(hub);
  for (int64_t time = -1500; time < 2500; ++time) {
    int inside = 0;
    for (const TimeWindow& window : windows) inside += window.contains(time);
    REQUIRE(inside == (hub.contains(map.to_hub(time)) ? 1 : 0));
  }

  const int64_t first = pick(-50, 1050), last = first + pick(0, 400);
  int64_t lowest = map.to_hub(first);
  for (int64_t time = first; time <= last; ++time) lowest = std::min(lowest, map.to_hub(time));
  REQUIRE(map.lowest_hub(first, last) == lowest);
}

TEST_CASE("offsets at the ends of the range stay in it") {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const ClockMap map({{0, kMost, 0, 0}, {10, -kMost, 0, 0}});
  REQUIRE(map.to_hub(-5) == std::numeric_limits<int64_t>::min());
  REQUIRE(map.to_hub(20) == kMost);
  (void)map.to_node({0, 100});
  (void)map.to_node({-kMost, kMost});
}

TEST_CASE("a window is translated by the offset that was valid then, and widened by its error") {
  const auto widened = [](const std::vector<ClockSample>& samples, TimeWindow hub) {
    return ClockMap(samples).to_node_widened(hub);
  };
  using Windows = std::vector<TimeWindow>;
  CHECK(widened({}, {1000, 2000}) == Windows{{1000, 2000}});
  CHECK(widened({{0, 100, 10, 0}}, {1000, 2000}) == Windows{{1090, 2110}});
  CHECK(widened({{0, -100, 10, 0}}, {1000, 2000}) == Windows{{890, 1910}});
  // an offset within its own error counts as none
  CHECK(widened({{0, 10, 10, 0}}, {1000, 2000}) == Windows{{990, 2010}});
  CHECK(widened({{0, -10, 10, 0}}, {1000, 2000}) == Windows{{990, 2010}});
  // an hour forwards at 1500, and back at 1500
  CHECK(widened({{0, 0, 10, 0}, {5100, 3600, 10, 3600}}, {1000, 2000}) ==
        Windows{{990, 2010}, {5100, 5610}});
  CHECK(widened({{0, 5000, 10, 0}, {2900, 1400, 10, -3600}, {4000, 5000, 10, 0}}, {1000, 2000}) ==
        Windows{{2900, 3410}, {5990, 7010}});
  CHECK(widened({{0, 100, 10, 0}}, {5, 5}).empty());
}
