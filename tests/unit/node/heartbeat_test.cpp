#include "node/heartbeat.hpp"

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

#include "lookback/base/json.hpp"
#include "lookback/base/time.hpp"
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
    server_->add({"POST", "/api/v1/nodes/{name}/heartbeat"}, [this](http::Request& request) {
      const int64_t received = Clock::system().realtime_ns();
      const std::lock_guard lock(mutex_);
      if (refuse_) return http::Response::problem({ErrorKind::conflict, "another node is called so"});
      messages_.push_back(value_of(parse_json(request.body, "heartbeat")));
      Json reply{{"received_ns", received},
                 {"replied_ns", Clock::system().realtime_ns()},
                 {"interval_ns", 50 * kMs},
                 {"hub_ports", {7400}},
                 {"node_ports", {4444}},
                 {"hub_id", "test"}};
      if (!live_.is_null()) reply["live_freezes"] = live_;
      return http::Response::json(reply.dump());
    });
    REQUIRE(server_->start());
  }
  ~TinyHub() { server_->stop(); }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }
  [[nodiscard]] std::vector<Json> messages() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  /// What is said of live freezes: nothing, a list, or nonsense.
  void say_live(Json live) {
    const std::lock_guard lock(mutex_);
    live_ = std::move(live);
  }
  /// Until the node has acted on an answer that was given after this call.
  void wait_for_answers();
  void refuse(bool on) {
    const std::lock_guard lock(mutex_);
    refuse_ = on;
  }

 private:
  std::mutex mutex_;
  std::vector<Json> messages_;
  bool refuse_ = false;
  Json live_;
  std::unique_ptr<http::Server> server_;
};

template <class Condition>
void wait_until(const Condition& condition) {
  for (int i = 0; i < 10'000 && !condition(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(condition());
}

void TinyHub::wait_for_answers() {
  const size_t seen = messages().size();
  wait_until([&] { return messages().size() >= seen + 3; });
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
          REQUIRE(ring->set_excluded(given.exclude));
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
  // Between the hub as the node was told of it and the node's own API, and nothing that any peer says.
  const uint16_t hub_port = value_of(http::parse_url(hub.url(), "hub")).port, own_port = node.daemon->port();
  const std::vector<capture::ExcludedConnection> expected{{"127.0.0.1", 0, "127.0.0.1", hub_port},
                                                          {"127.0.0.1", own_port, "127.0.0.1", 0}};
  wait_until([&] { return !node.ring->excluded().empty(); });
  hub.wait_for_answers();
  CHECK(node.ring->excluded() == expected);
  CHECK(node.status()["excluded"] == Json{fmt::format("tcp 127.0.0.1:* 127.0.0.1:{}", hub_port),
                                          fmt::format("tcp 127.0.0.1:{} 127.0.0.1:*", own_port)});
}

TEST_CASE("what the hub does not know as live is released, of its own freezes only") {
  TinyHub hub;
  ShiftedNode node(hub.url(), 0);
  auto client = value_of(http::Client::create({.base_url = fmt::format("http://127.0.0.1:{}", node.daemon->port()),
                                               .token = {}, .ca_file = {}}));
  const auto freeze = [&](const std::string& id, const std::string& owner_hub) {
    const int64_t now = Clock::system().realtime_ns();
    Json order{{"id", id}, {"owner", "a test"}, {"from", format_time_ns(now - kNsPerSecond)}, {"to", format_time_ns(now)}};
    if (!owner_hub.empty()) order["hub"] = owner_hub;
    REQUIRE(value_of(client.request("POST", "/api/v1/freezes", order.dump())).status == 201);
  };
  const auto held = [&] {
    std::set<std::string> ids;
    const Json list = value_of(parse_json(value_of(client.request("GET", "/api/v1/freezes")).body, "freezes"));
    for (const Json& one : list["freezes"]) ids.insert(one["id"].get<std::string>());
    return ids;
  };
  freeze("live", "test");
  freeze("over", "test");
  freeze("of-another-hub", "other");
  freeze("by-hand", "");
  const std::set<std::string> all = held();
  CHECK(all.size() == 4);
  // A hub that does not speak of freezes, or cannot be understood, releases none.
  for (const Json& said : {Json(nullptr), Json("live"), Json{1, 2}}) {
    hub.say_live(said);
    hub.wait_for_answers();
    CHECK(held() == all);
  }
  hub.say_live({"live", "one-that-is-not-here"});
  wait_until([&] { return held() == std::set<std::string>{"live", "of-another-hub", "by-hand"}; });
  hub.wait_for_answers();
  CHECK(held() == std::set<std::string>{"live", "of-another-hub", "by-hand"});
  hub.say_live(Json::array());
  wait_until([&] { return held() == std::set<std::string>{"of-another-hub", "by-hand"}; });
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

}  // namespace lookback::node
