#include "node/heartbeat.hpp"

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "lookback/base/json.hpp"
#include "lookback/http/server.hpp"
#include "lookback/node/capture_daemon.hpp"
#include "unit/node/support/fake_ring.hpp"
#include "unit/node/support/fixtures.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::node {
namespace {

using test::value_of;

constexpr int64_t kMs = 1'000'000;

/// The hub's end of the heartbeat, with the machine's clock.
class TinyHub {
 public:
  TinyHub() : server_(value_of(http::Server::create({.listen = "127.0.0.1:0", .tls = {}, .token = {}}))) {
    server_->add("POST", "/api/v1/nodes/{name}/heartbeat", [this](http::Request& request) {
      const int64_t received = Clock::system().realtime_ns();
      const std::lock_guard lock(mutex_);
      if (refuse_) return http::Response::problem({ErrorKind::conflict, "another node is called so"});
      messages_.push_back(value_of(parse_json(request.body, "heartbeat")));
      return http::Response::json(Json{{"received_ns", received},
                                       {"replied_ns", Clock::system().realtime_ns()},
                                       {"interval_ns", 50 * kMs},
                                       {"hub_ports", {7400}},
                                       {"node_ports", {7401, 7402}},
                                       {"hub_id", "test"}}
                                      .dump());
    });
    REQUIRE(server_->start());
  }
  ~TinyHub() { server_->stop(); }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }
  [[nodiscard]] std::vector<Json> messages() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  void refuse(bool on) {
    const std::lock_guard lock(mutex_);
    refuse_ = on;
  }

 private:
  std::mutex mutex_;
  std::vector<Json> messages_;
  bool refuse_ = false;
  std::unique_ptr<http::Server> server_;
};

template <class Condition>
void wait_until(const Condition& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(condition());
}

struct ShiftedNode {
  test::TemporaryDirectory directory;
  test::ShiftedClock clock;
  test::FakeRing* ring = nullptr;
  std::unique_ptr<CaptureDaemon> daemon;

  ShiftedNode(const std::string& hub_url, int64_t shift_ns) : clock(shift_ns) {
    CaptureOptions options;
    options.node = "shifted";
    options.hub_url = hub_url;
    options.listen = "127.0.0.1:0";
    options.data_dir = directory.path();
    options.storage_bytes = 64ULL << 20;
    daemon = value_of(CaptureDaemon::start(
        options, clock, [&](const capture::RingOptions& given) -> Result<std::unique_ptr<capture::Ring>> {
          auto made = std::make_unique<test::FakeRing>(given.block_reserve);
          ring = made.get();
          return made;
        }));
  }
  Json status() const { return value_of(parse_json(daemon->status_json(), "status")); }
};

}  // namespace

TEST_CASE("a node with a wrong clock finds its offset within the error it claims") {
  TinyHub hub;
  ShiftedNode node(hub.url(), 2500 * kMs);
  wait_until([&] { return hub.messages().size() >= 5; });
  const auto clock = hub.messages().back()["clock"];
  REQUIRE(clock.is_object());
  const auto offset = clock["offset_ns"].get<int64_t>(), error = clock["error_ns"].get<int64_t>();
  CHECK(error > 0);
  CHECK(error < 1000 * kMs);
  CHECK(std::abs(offset - 2500 * kMs) <= error);
  CHECK(hub.messages().front()["clock"].is_null());

  const auto status = node.status();
  CHECK(status["hub"]["registered"] == true);
  CHECK(std::abs(status["clock"]["offset_ns"].get<int64_t>() - 2500 * kMs) <=
        status["clock"]["error_ns"].get<int64_t>());

  // A step of an hour is seen by the next exchange, not blurred into it.
  node.clock.step(3600 * kNsPerSecond);
  const size_t seen = hub.messages().size();
  wait_until([&] { return hub.messages().size() >= seen + 4; });
  const auto stepped = hub.messages().back()["clock"];
  CHECK(std::abs(stepped["offset_ns"].get<int64_t>() - 2500 * kMs - 3600 * kNsPerSecond) <=
        stepped["error_ns"].get<int64_t>());
}

TEST_CASE("heartbeats say who, where and how full, and the hub's traffic is left out") {
  TinyHub hub;
  ShiftedNode node(hub.url(), 0);
  wait_until([&] { return hub.messages().size() >= 2; });
  const auto message = hub.messages()[1];
  CHECK(message["port"] == node.daemon->port());
  CHECK(message["tls"] == false);
  CHECK(message["url"] == "");
  CHECK(message["incarnation"] == hub.messages()[0]["incarnation"]);
  CHECK(message["status"]["quota_bytes"] == 64ULL << 20);
  CHECK(message["status"].contains("oldest"));
  wait_until([&] { return !node.ring->excluded().empty(); });
  wait_until([&] {
    for (const auto& peer : node.ring->excluded())
      if (peer.address == "127.0.0.1")
        return std::find(peer.ports.begin(), peer.ports.end(), 7402) != peer.ports.end() &&
               std::find(peer.ports.begin(), peer.ports.end(), node.daemon->port()) != peer.ports.end();
    return false;
  });
}

TEST_CASE("a refusing or absent hub is reported, and tried again") {
  TinyHub hub;
  hub.refuse(true);
  ShiftedNode node(hub.url(), 0);
  wait_until([&] { return node.status()["hub"]["error"] != ""; });
  CHECK(node.status()["hub"]["registered"] == false);
  CHECK(node.status()["hub"]["error"].get<std::string>().find("another node is called so") != std::string::npos);
  hub.refuse(false);
  wait_until([&] { return node.status()["hub"]["registered"] == true; });
  CHECK(node.status()["hub"]["error"] == "");
}

TEST_CASE("the exchange with the shortest way decides, and ages") {
  ClockOffsetEstimator estimator;
  CHECK_FALSE(estimator.best(0));
  // The node is 1000 ahead; 50 there, 20 at the hub, 30 back.
  REQUIRE(estimator.add({.sent_ns = 1000, .arrived_ns = 1100, .received_ns = 50, .replied_ns = 70, .monotonic_ns = 0}));
  CHECK(estimator.best(0)->offset_ns == 990);
  CHECK(estimator.best(0)->error_ns == 40);
  // A slower one changes nothing.
  REQUIRE(estimator.add({.sent_ns = 2000, .arrived_ns = 2900, .received_ns = 1800, .replied_ns = 1810, .monotonic_ns = 1000}));
  CHECK(estimator.best(1000)->offset_ns == 990);
  // After a second the old one is known 15 µs less well.
  CHECK(estimator.best(1'000'000'000)->error_ns == 40 + 1000 * 15);
  estimator.shift(-500);
  CHECK(estimator.best(0)->offset_ns == 490);
  CHECK_FALSE(estimator.add({.sent_ns = 10, .arrived_ns = 5, .received_ns = 0, .replied_ns = 1}));
  CHECK_FALSE(estimator.add({.sent_ns = 10, .arrived_ns = 20, .received_ns = 0, .replied_ns = 100}));
  // Eight later, the first is forgotten.
  for (int i = 0; i < 8; ++i)
    REQUIRE(estimator.add({.sent_ns = 1000, .arrived_ns = 2000, .received_ns = 0, .replied_ns = 0, .monotonic_ns = 2000}));
  CHECK(estimator.best(2000)->error_ns == 500);
}

TEST_CASE("the hub's URL is taken apart") {
  const auto check = [](const std::string& url, const std::string& host, uint16_t port) {
    const auto hub = parse_hub_url(url);
    REQUIRE(hub);
    CHECK(hub->host == host);
    CHECK(hub->port == port);
  };
  check("http://127.0.0.1:7400", "127.0.0.1", 7400);
  check("https://hub.example", "hub.example", 443);
  check("http://hub/", "hub", 80);
  check("http://[fd00::1]:7400/x", "fd00::1", 7400);
  for (const char* wrong : {"hub:7400", "http://", "http://a:0", "http://a:x", "http://a:70000", "http://[::1"})
    CHECK_FALSE(parse_hub_url(wrong));
}

}  // namespace lookback::node
