// The clock's history in order of node time, held against a clock that is set at random.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "store/catalog.hpp"

using namespace lookback;
using namespace lookback::store;

namespace {

constexpr int64_t kSecond = kNsPerSecond;

int64_t offset_at(const std::vector<ClockSample>& history, int64_t node_ns) {
  const auto after = std::upper_bound(
      history.begin(), history.end(), node_ns,
      [](int64_t time, const ClockSample& sample) { return time < sample.time_ns; });
  return after == history.begin() ? history.front().offset_ns : std::prev(after)->offset_ns;
}

/// A node that is looked at every second, and asks the hub every seven.
struct Node {
  Catalog catalog;
  std::vector<ClockSample> waiting;
  std::optional<ClockSample> known;
  int64_t hub_ns = 1'000'000 * kSecond, offset_ns = 0;
  /// By stamp (tenths of seconds): what was true when it was last given out.
  std::map<int64_t, int64_t> truth;

  [[nodiscard]] int64_t now_ns() const { return hub_ns + offset_ns; }

  void start_run() {
    ++catalog.run_id;
    catalog.run_started_ns = now_ns();
    known.reset();
    open_segment();
  }
  void end_segment() {
    Segment& last = catalog.segments.rbegin()->second;
    if (last.run_id == catalog.run_id) last.ended_ns = now_ns();
  }
  /// What waits is written.
  void stop_run() {
    end_segment();
    auto& clock = catalog.segments.rbegin()->second.clock;
    clock.insert(clock.end(), waiting.begin(), waiting.end());
    waiting.clear();
  }
  void open_segment() {
    if (!catalog.segments.empty()) end_segment();
    Segment segment;
    segment.sequence = catalog.next_sequence();
    segment.run_id = catalog.run_id;
    segment.run_started_ns = catalog.run_started_ns;
    segment.opened_ns = now_ns();
    segment.clock = std::exchange(waiting, {});
    if (segment.clock.empty() && known) segment.clock.push_back(*known);
    catalog.segments.emplace(segment.sequence, std::move(segment));
  }
  void measure() {
    known = ClockSample{now_ns(), offset_ns, 1, 0};
    waiting.push_back(*known);
  }
  /// The step comes at a random moment of the second, and is noticed at its end.
  void second(int64_t step_ns, int64_t step_after_ns) {
    const int64_t looked_ns = now_ns();
    for (int64_t at = 0; at < kSecond; at += kSecond / 10) {
      if (step_ns != 0 && at >= step_after_ns) {
        offset_ns += std::exchange(step_ns, 0);
        known->time_ns = looked_ns + (offset_ns - known->offset_ns);
        known->step_ns = offset_ns - known->offset_ns;
        known->offset_ns = offset_ns;
      }
      truth[now_ns()] = offset_ns;
      hub_ns += kSecond / 10;
    }
    if (known && known->step_ns != 0) {
      waiting.push_back(*known);
      known->step_ns = 0;
    }
  }
};

}  // namespace

TEST_CASE("a stamp is put right by the offset that was valid when it was last given") {
  std::mt19937_64 random(GENERATE(range(1U, 40U)));
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  Node node;
  node.offset_ns = pick(-50, 50) * kSecond;
  node.start_run();
  node.measure();
  std::vector<int64_t> seams;  // within two seconds of a step's ends, nobody can know
  for (int i = 0; i < 300; ++i) {
    if (i % 7 == 0) node.measure();
    if (pick(0, 20) == 0) node.open_segment();
    int64_t step = 0;
    if (pick(0, 50) == 0) {
      step = pick(10, 3600) * kSecond * (pick(0, 1) != 0 ? 1 : -1);
      seams.push_back(node.now_ns());
    }
    node.second(step, pick(0, 9) * kSecond / 10);
    if (step != 0) seams.push_back(node.now_ns());
    if (pick(0, 100) == 0) {  // stopped, and perhaps set while it was down
      seams.push_back(node.now_ns());
      node.stop_run();
      node.hub_ns += pick(3, 30) * kSecond;
      if (pick(0, 1) != 0) node.offset_ns += pick(-1000, 1000) * kSecond;
      node.start_run();
      seams.push_back(node.now_ns());
      node.measure();
    }
  }
  seams.push_back(node.now_ns());
  const auto history = node.catalog.clock_eras(node.now_ns(), node.waiting).history();
  REQUIRE(std::is_sorted(history.begin(), history.end(),
                         [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; }));
  size_t checked = 0;
  for (const auto& [stamp, offset] : node.truth) {
    const bool at_seam = std::any_of(seams.begin(), seams.end(), [&, s = stamp](int64_t seam) {
      return s > seam - 4 * kSecond && s < seam + 4 * kSecond;
    });
    if (at_seam) continue;
    ++checked;
    CAPTURE(stamp, checked);
    REQUIRE(offset_at(history, stamp) == offset);
  }
  CHECK(checked > 500);
}

TEST_CASE("behind a step back, stamps beyond now belong to the time before it") {
  Node node;
  node.start_run();
  node.measure();
  const int64_t before = node.now_ns();
  for (int i = 0; i < 60; ++i) node.second(0, 0);
  const int64_t stepped = node.now_ns();
  node.second(-3600 * kSecond, 0);
  for (int i = 0; i < 30; ++i) node.second(0, 0);
  const auto history = node.catalog.clock_eras(node.now_ns(), node.waiting).history();
  CHECK(offset_at(history, before) == 0);
  CHECK(offset_at(history, stepped - kSecond) == 0);
  CHECK(offset_at(history, stepped - 3599 * kSecond) == -3600 * kSecond);
  CHECK(offset_at(history, node.now_ns()) == -3600 * kSecond);
  CHECK(offset_at(history, node.now_ns() + 10 * kSecond) == 0);
  CHECK(offset_at(history, stepped - 3605 * kSecond) == 0);
  CHECK(samples_for(history, {stepped - 10 * kSecond, stepped}).size() <= 3);
}

TEST_CASE("a store that knows nothing of the clock says so") {
  CHECK(Catalog().clock_eras(5, {}).history().empty());
  const auto one = Catalog().clock_eras(5, {{3, 7, 1, 0}}).history();
  REQUIRE(one.size() == 1);
  CHECK(one[0].offset_ns == 7);
}
