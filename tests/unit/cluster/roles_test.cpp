// Tokens of nodes and clients between real daemons.
#include <catch2/catch.hpp>

#include "lookback/http/client.hpp"
#include "lookback/http/roles.hpp"
#include "lookback/node/capture_daemon.hpp"
#include "unit/hub/support/hub_fixture.hpp"
#include "unit/node/support/fake_ring.hpp"

using namespace lookback;
using namespace lookback::hub::test;
using test::FakeRing;

namespace {

const std::string kToken = "a-token-of-some-length";

hub::HubOptions with_token() {
  hub::HubOptions options;
  options.token = kToken;
  return options;
}

struct Asker {
  uint16_t port;
  std::string token;
  [[nodiscard]] http::ClientResponse operator()(const std::string& method, const std::string& path, const std::string& body = {}) const {
    http::ClientOptions options;
    options.base_url = fmt::format("http://127.0.0.1:{}", port);
    options.token = token;
    auto client = http::Client::create(options);
    REQUIRE(client);
    auto response = client->request(method, path, body);
    REQUIRE(response);
    return std::move(*response);
  }
};

std::unique_ptr<node::CaptureDaemon> start_node(HubFixture& hub, const std::string& name, const std::string& token, FakeRing*& ring) {
  node::CaptureOptions options;
  options.node = name;
  options.token = token;
  options.listen = "127.0.0.1:0";
  options.hub_url = fmt::format("http://127.0.0.1:{}", hub.daemon().port());
  options.data_dir = hub.directory().parent_path() / name;
  options.storage_bytes = 128ULL << 20;
  options.ring_bytes = 16ULL << 20;
  auto started = node::CaptureDaemon::start(options, Clock::system(),
                                            [&](const capture::RingOptions& given) -> Result<std::unique_ptr<capture::Ring>> {
                                              auto made = std::make_unique<FakeRing>(given.block_reserve);
                                              ring = made.get();
                                              return made;
                                            });
  if (!started) FAIL(started.error().message);
  return std::move(*started);
}

}  // namespace

TEST_CASE("a node's token speaks for that node only, and a client's for none") {
  HubFixture hub(with_token());
  const uint16_t port = hub.daemon().port();
  const std::string n1 = http::node_token(kToken, "n1"), n2 = http::node_token(kToken, "n2"), ops = http::client_token(kToken);
  FakeRing *ring = nullptr, *other_ring = nullptr;
  const auto daemon = start_node(hub, "n1", n1, ring);
  const Asker client{port, ops};
  REQUIRE(eventually([&] { return client("GET", "/api/v1/nodes").body.find("\"up\"") != std::string::npos; }));

  const int64_t now = Clock::system().realtime_ns();
  ring->give({{now - kNsPerSecond, "a packet"}});
  CHECK(client("POST", "/api/v1/snapshots", R"({"name":"x","last_ns":60000000000})").status == 202);
  REQUIRE(eventually([&] { return client("GET", "/api/v1/snapshots/x").body.find("\"completed\"") != std::string::npos; }));
  const auto snapshot = parse_json(client("GET", "/api/v1/snapshots/x").body, "snapshot");
  REQUIRE(snapshot);
  CHECK(snapshot->at("nodes")[0].at("packets") == 1);

  const std::string heartbeat = "/api/v1/nodes/n1/heartbeat";
  CHECK(client("POST", heartbeat, "[").status == 403);
  CHECK(Asker{port, n2}("POST", heartbeat, "[").status == 401);
  CHECK(Asker{port, n1}("POST", heartbeat, "[").status == 400);  // heard, but it says nothing
  CHECK(Asker{port, kToken}("POST", heartbeat, "[").status == 400);
  for (const auto& [method, path] : {std::pair("GET", "/api/v1/snapshots"), std::pair("GET", "/api/v1/snapshots/x/archive"),
                                     std::pair("DELETE", "/api/v1/snapshots/x"), std::pair("DELETE", "/api/v1/nodes/n1"),
                                     std::pair("GET", "/api/v1/nodes/n1/heartbeat")}) {
    CAPTURE(method, path);
    CHECK(Asker{port, n1}(method, path).status == 401);
  }
  // The node's own API: the hub's token is not for it to know.
  CHECK(Asker{daemon->port(), n1}("GET", "/api/v1/status").status == 200);
  for (const std::string& token : {kToken, n2, ops, std::string()}) CHECK(Asker{daemon->port(), token}("GET", "/api/v1/status").status == 401);

  // A token of another name registers nobody.
  const auto thief = start_node(hub, "n1-again", n2, other_ring);
  REQUIRE(eventually([&] { return thief->status_json().find("valid token") != std::string::npos; }));
  CHECK(client("GET", "/api/v1/nodes").body.find("n1-again") == std::string::npos);
}

TEST_CASE("a node with the hub's token is called with its own") {
  HubFixture hub(with_token());
  FakeRing* ring = nullptr;
  const auto daemon = start_node(hub, "n1", kToken, ring);
  const Asker admin{hub.daemon().port(), kToken};
  REQUIRE(eventually([&] { return admin("GET", "/api/v1/nodes").body.find("\"up\"") != std::string::npos; }));
  ring->give({{Clock::system().realtime_ns() - kNsPerSecond, "a packet"}});
  CHECK(admin("POST", "/api/v1/snapshots", R"({"name":"x","last_ns":60000000000})").status == 202);
  REQUIRE(eventually([&] { return admin("GET", "/api/v1/snapshots/x").body.find("\"completed\"") != std::string::npos; }));
  CHECK(parse_json(admin("GET", "/api/v1/snapshots/x").body, "snapshot")->at("nodes")[0].at("packets") == 1);
  for (const std::string& token : {kToken, http::node_token(kToken, "n1")})
    CHECK(Asker{daemon->port(), token}("GET", "/api/v1/status").status == 200);
}
