#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "exporter/merger.hpp"
#include "unit/exporter/support/archives.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr TimeWindow kWindow{0, 1000 * kNsPerSecond};

/// What comes out, in its order.
class Collector final : public MergeSink {
 public:
  Result<> admit(const FrameBatch&) override { return {}; }
  Result<> write(const FrameBatch& batch, uint32_t, size_t first, size_t last) override {
    for (size_t i = first; i < last; ++i) {
      const auto* start = reinterpret_cast<const char*>(batch.bytes.data() + batch.start_of(i));
      packets.emplace_back(start, batch.packets[i].end - batch.start_of(i));
      in_order = in_order && batch.packets[i].time_ns >= last_ns;
      last_ns = batch.packets[i].time_ns;
    }
    return {};
  }
  void count_copy(uint32_t) override {}

  std::vector<std::string> packets;
  bool in_order = true;
  int64_t last_ns = 0;
};

struct Merged {
  std::vector<std::string> packets;
  bool in_order = false;
  uint64_t read_again = 0;
  Result<> done;
};

Merged merge(const std::shared_ptr<archive::ArchiveReader>& archive, uint64_t bytes,
             uint64_t budget_bytes = 1 << 30, bool digests = false) {
  Collector output;
  Plan plan = *make_plan(archive->manifest(), {});
  plan.digests = digests;
  FramePipeline pipeline(plan, *archive, 2);
  MemoryBudget budget(budget_bytes);
  auto share = budget.take(budget_bytes / 2, nullptr);
  Merger merger(plan, pipeline, output, *share, nullptr, bytes);
  const auto done = merger.run();
  return {std::move(output.packets), output.in_order, merger.frames_read_again(), done};
}

/// Nodes whose frames overlap as the stamps say.
std::vector<NodeSpec> nodes_with(size_t nodes, size_t packets,
                                 const std::function<int64_t(size_t packet)>& stamp) {
  std::vector<NodeSpec> specs;
  for (size_t n = 0; n < nodes; ++n) {
    NodeSpec& node = specs.emplace_back(node_spec("n" + std::to_string(n), {"eth0", "eth1"}));
    for (size_t i = 0; i < packets; ++i) {
      Bytes data = ethernet_ip({}, udp_packet({}, {}, std::to_string(n) + "." + std::to_string(i)));
      node.packets.push_back({static_cast<uint32_t>(i % 2), stamp(i), data + Bytes(300, 'x')});
    }
  }
  return specs;
}

}  // namespace

TEST_CASE("a merge in little memory gives what one in much gives", "[merger]") {
  std::mt19937 random(5);
  const int kind = GENERATE(0, 1, 2, 3, 4);
  const auto stamp = [&](size_t packet) -> int64_t {
    switch (kind) {
      case 0:  // one in ten is of long ago
        return packet % 10 == 3 ? static_cast<int64_t>(packet)
                                : kNsPerSecond + static_cast<int64_t>(packet);
      case 1:
        return kNsPerSecond;
      case 2:  // the first of each frame is of long ago, the rest is all over the place
        return packet % 20 == 0 ? 5 : kNsPerSecond + static_cast<int64_t>(random() % 1000);
      case 3:  // frames lie within each other
        return kNsPerSecond + static_cast<int64_t>(packet % 20 * 1'000'000 + packet);
      default:
        return static_cast<int64_t>(random() % 4);
    }
  };
  const bool digests = GENERATE(false, true);
  const TemporaryDirectory folder;
  const auto archive = make_archive(folder, nodes_with(3, 2000, stamp), kWindow);
  const Merged much = merge(archive, 1 << 30, 1 << 30, digests);
  REQUIRE(much.done);
  CHECK(much.read_again == 0);
  CHECK(much.packets.size() == 6000);
  CHECK(much.in_order);
  const Merged little = merge(archive, 256 << 10, 1 << 30, digests);
  REQUIRE(little.done);
  CHECK(little.packets == much.packets);
}

TEST_CASE("equal stamps open one frame after the other", "[merger]") {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  for (int i = 0; i < 4000; ++i) node.packets.push_back({0, kNsPerSecond, "packet"});
  const Export done = run_export(make_archive(folder, {node}, kWindow), {});
  CHECK(done.stats.packets_written == 4000);
  CHECK(done.stats.most_frames_open == 1);
}

TEST_CASE("frames that overlap too much for their memory end the export with a reason",
          "[merger]") {
  const TemporaryDirectory folder;
  const auto stamp = [](size_t packet) {
    return static_cast<int64_t>(packet % 200 * 1'000'000 + packet);
  };
  auto nodes = nodes_with(1, 20'000, stamp);
  nodes[0].packets_per_frame = 200;  // each is in turn with all others
  const auto archive = make_archive(folder, nodes, kWindow);
  const Merged none = merge(archive, 8 << 10, 16 << 10);
  REQUIRE_FALSE(none.done);
  CHECK(none.done.error().kind == ErrorKind::failed);
  CHECK_THAT(none.done.error().message, Catch::Contains("frames overlap in time"));
  // Where there is memory it is asked for.
  const Merged grown = merge(archive, 64 << 10, 1 << 30);
  REQUIRE(grown.done);
  CHECK(grown.packets.size() == 20'000);
}

TEST_CASE("exports share one budget of memory", "[merger]") {
  MemoryBudget budget(1000);
  auto first = budget.take(600, nullptr);
  REQUIRE(first);
  SECTION("who finds too little waits, and then is refused") {
    const auto second = budget.take(500, nullptr, 0);
    REQUIRE_FALSE(second);
    CHECK(second.error().kind == ErrorKind::failed);
    CHECK_THAT(second.error().message, Catch::Contains("try again later"));
  }
  SECTION("who waits gets what is given back") {
    std::atomic<bool> got = false;
    std::thread waiter([&] { got = budget.take(500, nullptr).has_value(); });
    first = MemoryBudget::Share();
    waiter.join();
    CHECK(got);
  }
  SECTION("who is cancelled stops waiting") {
    std::atomic<bool> cancelled = true;
    CHECK(budget.take(500, &cancelled).error().kind == ErrorKind::cancelled);
  }
  SECTION("a share grows while there is room") {
    CHECK(first->try_grow(400));
    CHECK_FALSE(first->try_grow(1));
    CHECK(budget.taken() == 1000);
  }
  SECTION("who is alone gets what it needs") {
    { const auto released = std::move(*first); }
    const auto large = budget.take(5000, nullptr, 0);
    REQUIRE(large);
    CHECK_FALSE(budget.take(1, nullptr, 0));
  }
}
