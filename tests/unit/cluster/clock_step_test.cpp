// A node whose clock is wrong, and is set by an hour while it records: a capture daemon on a clock
// and packets of the test's own, the hub with the right time, and an export of what they made.
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "lookback/archive/reader.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/node/capture_daemon.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/hub/support/hub_fixture.hpp"
#include "unit/node/support/fake_ring.hpp"

using namespace lookback;
using hub::test::eventually;
using hub::test::HubFixture;
using test::FakeRing;

namespace {

constexpr int64_t kMs = 1'000'000;

/// The machine's clock, set wrong.
class WrongClock final : public Clock {
 public:
  explicit WrongClock(int64_t shift_ns) : shift_(shift_ns) {}
  int64_t realtime_ns() const override { return system().realtime_ns() + shift_.load(); }
  int64_t monotonic_ns() const override { return system().monotonic_ns(); }
  void step(int64_t ns) { shift_ += ns; }
  [[nodiscard]] int64_t shift() const { return shift_; }

 private:
  std::atomic<int64_t> shift_;
};

struct Recorded {
  int64_t hub_ns, stamp_ns;
  std::string text;
};

struct Cluster {
  HubFixture hub;
  hub::test::HubClient client = hub.client();
  WrongClock clock;
  FakeRing* ring = nullptr;  // the daemon's
  std::unique_ptr<node::CaptureDaemon> daemon;
  std::vector<Recorded> recorded;
  uint16_t port = 0;

  explicit Cluster(int64_t shift_ns) : clock(shift_ns) { start(); }
  void start() {
    node::CaptureOptions options;
    options.node = "n1";
    options.listen = fmt::format("127.0.0.1:{}", port);
    options.hub_url = fmt::format("http://127.0.0.1:{}", hub.daemon().port());
    options.data_dir = hub.directory().parent_path() / "node";
    options.storage_bytes = 128ULL << 20;
    options.ring_bytes = 16ULL << 20;
    auto started = node::CaptureDaemon::start(
        options, clock,
        [&](const capture::RingOptions& given) -> Result<std::unique_ptr<capture::Ring>> {
          auto made = std::make_unique<FakeRing>(given.block_reserve);
          ring = made.get();
          return made;
        });
    if (!started) FAIL(started.error().message);
    daemon = std::move(*started);
    port = daemon->port();  // started again, it is where it was
    // Windows begin and end between two packets here: a busy machine may measure too badly for
    // that.
    REQUIRE(eventually(
        [&] {
          const auto status = parse_json(daemon->status_json(), "status");
          return status && status->contains("clock") && !status->at("clock").is_null() &&
                 status->at("clock").at("error_ns").get<int64_t>() < 4 * kMs;
        },
        6000));
  }
  /// A packet that crosses now.
  void packet() {
    const int64_t now = Clock::system().realtime_ns();
    recorded.push_back({now, now + clock.shift(), fmt::format("packet {:06}", recorded.size())});
    ring->give({{recorded.back().stamp_ns, recorded.back().text}});
  }
  void packets(int number) {
    for (int i = 0; i < number; ++i) {
      packet();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  void step(int64_t ns) {
    clock.step(ns);
    packets(60);  // more than a second, in which it is noticed
  }
  /// The snapshot of packets [first, last), as it is exported in hub time.
  void check(const std::string& name, size_t first, size_t last) {
    INFO(name << ": packets " << first << " to " << last);
    const auto edge = [&](size_t i) {
      if (i == recorded.size()) return recorded.back().hub_ns + 10 * kMs;
      return recorded[i].hub_ns - 10 * kMs;
    };
    const auto created = client.create(name, {{"last_ns", nullptr},
                                              {"from", format_time_ns(edge(first))},
                                              {"to", format_time_ns(edge(last))}});
    INFO(created.text);
    REQUIRE(created.status == 202);
    const Json done = client.wait(name);
    INFO(done.dump(2));
    CHECK(done.at("complete") == true);
    REQUIRE(archive::verify_archive(hub.archive(name)));
    auto reader = archive::ArchiveReader::open(hub.archive(name));
    REQUIRE(reader);
    std::vector<std::byte> capture;
    exporter::ExportOptions options;
    options.align_clocks = true;
    const auto exported = exporter::export_capture(
        std::move(*reader), options, [&](std::span<const std::byte> bytes) -> Result<> {
          capture.insert(capture.end(), bytes.begin(), bytes.end());
          return {};
        });
    REQUIRE(exported);
    CHECK(exported->complete);
    size_t at = 0;
    auto read = packet::CaptureReader::open([&](std::span<std::byte> out) -> Result<size_t> {
      const size_t size = std::min(out.size(), capture.size() - at);
      std::copy_n(capture.begin() + static_cast<ptrdiff_t>(at), size, out.begin());
      at += size;
      return size;
    });
    REQUIRE(read);
    size_t expected = first;
    for (;;) {
      const auto next = read->next();
      REQUIRE(next);
      if (!*next) break;
      REQUIRE(expected < last);
      const Recorded& packet = recorded[expected++];
      REQUIRE(as_text((*next)->view.data) == packet.text);
      CHECK(std::abs((*next)->view.time_ns - packet.hub_ns) < 10 * kMs);
    }
    CHECK(expected == last);
  }
};

}  // namespace

TEST_CASE("a clock that is set by an hour while it records costs no packet and misplaces none") {
  // Far enough that no time is shown twice while this test runs.
  const int64_t step = GENERATE(3600 * kNsPerSecond, -3600 * kNsPerSecond, 120 * kNsPerSecond);
  Cluster cluster(400 * kMs);
  cluster.packets(30);
  cluster.step(step);
  const size_t all = cluster.recorded.size();
  cluster.check("all", 0, all);
  cluster.check("before", 5, 25);
  cluster.check("across", 20, 40);
  cluster.check("after", 70, all);
  SECTION("and set right again") {
    cluster.step(-step);
    cluster.check("twice", 10, cluster.recorded.size());
    cluster.check("between", 40, 80);
  }
  SECTION("and started again") {
    cluster.daemon.reset();
    cluster.start();
    cluster.check("restarted", 10, all);
  }
  SECTION("and set while the daemon was down") {
    cluster.daemon.reset();
    cluster.clock.step(-step / 2);
    cluster.start();
    cluster.check("earlier", 10, all);
    const size_t later = cluster.recorded.size();
    cluster.packets(30);
    cluster.check("later", later + 5, cluster.recorded.size());
  }
}

TEST_CASE("what a clock showed twice is asked for by the time that it was") {
  Cluster cluster(0);
  cluster.packets(1100);
  const size_t before = cluster.recorded.size();
  cluster.step(-20 * kNsPerSecond);
  cluster.packets(120);
  // The same stamps stand on both sides of the step.
  const auto& recorded = cluster.recorded;
  REQUIRE(recorded[before + 70].stamp_ns > recorded[0].stamp_ns);
  REQUIRE(recorded[before + 170].stamp_ns < recorded[before - 400].stamp_ns);
  const auto later_in = [&](int64_t ns) {
    return static_cast<size_t>(std::find_if(recorded.begin(), recorded.end(),
                                            [&](const Recorded& one) {
                                              return one.stamp_ns > recorded[0].stamp_ns + ns;
                                            }) -
                               recorded.begin());
  };
  // The first time.
  const int64_t shown_ns = recorded[before + 90].stamp_ns - recorded[0].stamp_ns;
  cluster.check("earlier", later_in(shown_ns), later_in(shown_ns) + 50);
  // The second time.
  cluster.check("later", before + 75, before + 170);
}
