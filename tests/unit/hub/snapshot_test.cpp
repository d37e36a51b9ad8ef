// Snapshots of fake nodes, from the order to the archive.
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "lookback/archive/reader.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/time.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub;
using namespace lookback::hub::test;
using namespace std::chrono_literals;

namespace {

const Json& node_of(const Json& snapshot, const std::string& name) {
  for (const Json& node : snapshot.at("nodes")) {
    if (node.at("name") == name) return node;
  }
  FAIL("no node " << name);
  return snapshot;
}

int64_t now_ns() {
  return Clock::system().realtime_ns();
}

void fill(FakeNode& node, size_t members, size_t packets = 100) {
  for (size_t i = 0; i < members; ++i)
    node.add_member(make_member(
        node.name(), now_ns() - 30 * kNsPerSecond + static_cast<int64_t>(i) * kNsPerSecond,
        packets));
}

}  // namespace

TEST_CASE("a snapshot of two nodes becomes a whole archive") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1"), b("web-2");
  fill(a, 3);
  fill(b, 2);
  a.hook = [](uint32_t index) -> std::optional<http::Response> {
    if (index != 1) return std::nullopt;
    http::Response empty;
    empty.status = 204;
    return empty;
  };
  a.start();
  b.start();
  const Answer beat = client.beat(a);
  CHECK(beat.status == 200);
  CHECK(beat.json.at("interval_ns") == 5 * kNsPerSecond);
  CHECK(beat.json.at("received_ns").get<int64_t>() <= beat.json.at("replied_ns").get<int64_t>());
  CHECK(client.beat(b).status == 200);

  Json order = {{"tags", {{"why", "test"}}}, {"networks", {"10.0.0.0/8"}}};
  const Answer created = client.create("audit-%Y", order);
  REQUIRE(created.status == 202);
  const std::string name = created.json.at("name");
  CHECK(name.size() == 10);
  CHECK(a.last_freeze().at("networks") == Json::array({"10.0.0.0/8"}));
  CHECK(a.last_freeze().at("id") == created.json.at("id"));

  const Json done = client.wait(name);
  INFO(done.dump(2));
  CHECK(done.at("state") == "completed");
  CHECK(done.at("complete") == true);
  CHECK(done.at("reason") == "");
  CHECK(done.at("packets") == 400);
  CHECK(done.at("tags").at("why") == "test");
  CHECK(done.at("networks") == Json::array({"10.0.0.0/8"}));
  CHECK(done.at("location") == "local");
  CHECK(done.at("progress").at("members_total") == done.at("progress").at("members_done"));
  const Json& node = node_of(done, "web-1");
  CHECK(node.at("status") == "complete");
  CHECK(node.at("packets") == 200);
  CHECK(node.at("coverage").is_object());
  CHECK(node.at("clock").size() == 1);

  REQUIRE(archive::verify_archive(hub.archive(name)));
  const auto reader = archive::ArchiveReader::open(hub.archive(name));
  REQUIRE(reader);
  const archive::Manifest& manifest = (*reader)->manifest();
  CHECK(manifest.id == created.json.at("id"));
  CHECK(manifest.complete);
  CHECK(manifest.ip_filter == std::vector<std::string>{"10.0.0.0/8"});
  REQUIRE(manifest.members.size() == 4);
  std::set<std::string> names;
  for (const auto& member : manifest.members) names.insert(member.name);
  CHECK(names == std::set<std::string>{
                     "nodes/web-1/packets/00000000.pcapng", "nodes/web-1/packets/00000002.pcapng",
                     "nodes/web-2/packets/00000000.pcapng", "nodes/web-2/packets/00000001.pcapng"});
  CHECK(manifest.nodes.at(0).interfaces.at(0).name == "eth0");

  // Nothing is left behind, on the hub or on the nodes, and each member was sent once.
  CHECK(eventually([&] { return a.freezes() == 0 && b.freezes() == 0; }));
  CHECK(eventually([&] { return std::filesystem::is_empty(hub.directory() / "jobs"); }));
  CHECK(a.gets() == std::map<uint32_t, int>{{0, 1}, {1, 1}, {2, 1}});
  const Json list = client.get("/api/v1/snapshots").json;
  REQUIRE(list.at("snapshots").size() == 1);
  CHECK(list.at("snapshots")[0].at("name") == name);
  CHECK(list.at("snapshots")[0].at("nodes").size() == 2);
  CHECK_FALSE(list.at("snapshots")[0].at("nodes")[0].contains("gaps"));
}

TEST_CASE("orders that cannot be followed are refused with a reason") {
  HubFixture hub;
  auto client = hub.client();
  CHECK(client.create("x").status == 503);  // no node yet
  FakeNode a("web-1");
  fill(a, 1);
  a.start();
  client.beat(a);
  const auto refused = [&](const Json& more, const std::string& name = "x") {
    const Answer answer = client.create(name, more);
    CHECK(answer.json.at("status") == answer.status);
    CHECK(answer.headers.at("content-type") == "application/problem+json");
    return std::pair(answer.status, answer.json.at("detail").get<std::string>());
  };
  const auto window = [](int64_t from, int64_t to) -> Json {
    return {{"last_ns", nullptr}, {"from", format_time_ns(from)}, {"to", format_time_ns(to)}};
  };
  const int64_t now = now_ns();
  auto [status, detail] = refused(window(now, now + 60 * kNsPerSecond));
  CHECK(status == 400);
  CHECK(detail.find("in the future") != std::string::npos);
  std::tie(status, detail) = refused(window(now - 5, now - 5));
  CHECK(status == 400);
  CHECK(detail.find("empty window") != std::string::npos);
  CHECK(refused(window(now - 5, now - 10)).first == 400);
  CHECK(refused({{"last_ns", 0}}).first == 400);
  CHECK(refused({{"last_ns", -5}}).first == 400);
  CHECK(refused({{"last_ns", nullptr}}).first == 400);
  CHECK(refused({{"last_ns", "5m"}}).first == 400);
  CHECK(refused({{"from", format_time_ns(now)}}).first == 400);
  CHECK(refused({{"nodes", {"db-*"}}}).first == 400);
  CHECK(refused({{"nodes", {"db-1"}}}).first == 404);
  CHECK(refused({{"nodes", "web-1"}}).first == 400);
  CHECK(refused({{"nodes", Json::array()}}).first == 400);
  CHECK(refused({{"nodes", Json::array({""})}}).first == 400);
  CHECK(refused({{"networks", Json::array()}}).first == 400);
  CHECK(refused({{"networks", Json::array({""})}}).first == 400);
  CHECK(refused({{"networks", {"10.0.0.1/8"}}}).first == 400);
  CHECK(refused({{"deadline_ns", 0}}).first == 400);
  CHECK(refused({{"upload", true}}).first == 400);
  CHECK(refused({{"tags", {{"a", 5}}}}).first == 400);
  CHECK(refused(Json::object(), "../x").first == 400);
  CHECK(refused(Json::object(), ".x").first == 400);
  CHECK(client.call("POST", "/api/v1/snapshots", Json::array()).status == 400);
  CHECK(a.freezes() == 0);
  CHECK(std::filesystem::is_empty(hub.directory() / "jobs"));

  CHECK(client.create("x", {{"nodes", {"web-*"}}}).status == 202);
  CHECK(refused(Json::object()).first == 409);  // under way or done, the name is taken
  client.wait("x");
  CHECK(refused(Json::object()).first == 409);
  CHECK(client.call("DELETE", "/api/v1/snapshots/x").status == 204);
  CHECK(client.get("/api/v1/snapshots/x").status == 404);
  CHECK(client.call("DELETE", "/api/v1/snapshots/x").status == 404);
  CHECK(client.create("x").status == 202);
  client.wait("x");
}

TEST_CASE("every node is asked for the window in hub time, whatever its clock shows") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode ahead("ahead"), close("close"), unknown("unknown");
  for (FakeNode* node : {&ahead, &close, &unknown}) {
    fill(*node, 1);
    node->start();
  }
  client.beat(ahead, 3'600'000'000'000, 2'000'000);
  client.beat(close, 1'000'000, 2'000'000);
  client.beat(unknown);
  const int64_t to = now_ns() - kNsPerSecond, from = to - 10 * kNsPerSecond;
  REQUIRE(client
              .create("x", {{"last_ns", nullptr},
                            {"from", format_time_ns(from)},
                            {"to", format_time_ns(to)}})
              .status == 202);
  const auto asked = [](const FakeNode& node) {
    return std::pair(*parse_rfc3339(node.last_freeze().at("from").get<std::string>()),
                     *parse_rfc3339(node.last_freeze().at("to").get<std::string>()));
  };
  for (const FakeNode* node : {&ahead, &close, &unknown})
    CHECK(asked(*node) == std::pair(from, to));
  const Json done = client.wait("x");
  CHECK(done.at("from") == format_time_ns(from));
  CHECK(done.at("to") == format_time_ns(to));
}

TEST_CASE("a window that ends a moment ahead is waited for") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 1);
  a.start();
  client.beat(a);
  const int64_t now = now_ns();
  const Answer created = client.create("x", {{"last_ns", nullptr},
                                             {"from", format_time_ns(now - kNsPerSecond)},
                                             {"to", format_time_ns(now + 700'000'000)}});
  CHECK(created.status == 202);
  CHECK(now_ns() >= now + 700'000'000);
  client.wait("x");
}

TEST_CASE("nodes that refuse, are gone, or die in the middle are named, and the others stand") {
  HubFixture hub;
  auto client = hub.client();
  std::atomic<bool> died{false};  // like all that hooks use, it outlives the nodes
  FakeNode good("good"), refusing("refusing"), gone("gone"), dying("dying"), lacking("lacking"),
      giving("giving");
  for (FakeNode* node : {&good, &refusing, &gone, &dying, &lacking, &giving}) fill(*node, 4);
  refusing.refuses_freeze = true;
  lacking.covers_window = false;
  giving.given_up = {0, 1};
  giving.hook = [](uint32_t index) -> std::optional<http::Response> {
    if (index != 2) return std::nullopt;
    return http::Response::problem({ErrorKind::not_found, "given up"}, 410);
  };
  dying.hook = [&](uint32_t index) -> std::optional<http::Response> {
    if (index < 2) return std::nullopt;
    http::Response broken;  // half a body, then nothing ever again
    broken.content_length = 1'000'000;
    died = true;
    broken.stream = [](const http::BodyWriter& write) -> Result<> {
      TRY(write(std::vector<std::byte>(1000)));
      return fail(ErrorKind::failed, "died");
    };
    return broken;
  };
  for (FakeNode* node : {&good, &refusing, &gone, &dying, &lacking, &giving}) {
    node->start();
    client.beat(*node);
  }
  gone.stop();
  const Answer created = client.create("x", {{"deadline_ns", 3 * kNsPerSecond}});
  REQUIRE(created.status == 202);
  CHECK(node_of(created.json, "refusing").at("status") == "failed");
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("state") == "completed");
  CHECK(done.at("complete") == false);
  CHECK(done.at("reason") != "");
  const auto status = [&](const char* name) {
    return node_of(done, name).at("status").get<std::string>();
  };
  const auto reason = [&](const char* name) {
    return node_of(done, name).at("reason").get<std::string>();
  };
  CHECK(status("good") == "complete");
  CHECK(status("refusing") == "failed");
  CHECK(reason("refusing").find("no room for another freeze") != std::string::npos);
  CHECK(status("gone") == "failed");
  CHECK(status("dying") == "partial");
  CHECK(reason("dying").find("2 of 4 members were not transferred") != std::string::npos);
  CHECK(status("lacking") == "partial");
  CHECK(reason("lacking") == "7 packets were lost in the window");
  CHECK(node_of(done, "lacking").at("gaps").size() == 1);
  CHECK(status("giving") == "partial");
  CHECK(reason("giving").find("gave up 3 of 4") != std::string::npos);
  CHECK(died);
  REQUIRE(archive::verify_archive(hub.archive("x")));
  const auto reader = archive::ArchiveReader::open(hub.archive("x"));
  CHECK_FALSE((*reader)->manifest().complete);
  CHECK((*reader)->manifest().find_node("dying")->status == "partial");
}

TEST_CASE("when no node can freeze, the order fails and leaves nothing") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 1);
  a.refuses_freeze = true;
  a.start();
  client.beat(a);
  const Answer answer = client.create("x");
  CHECK(answer.status == 503);
  CHECK(answer.json.at("kind") == "unavailable");
  CHECK(answer.json.at("detail").get<std::string>().find("no room for another freeze") !=
        std::string::npos);
  CHECK(client.get("/api/v1/snapshots/x").status == 404);
  CHECK(std::filesystem::is_empty(hub.directory() / "jobs"));
}

TEST_CASE("a node that hangs does not hang the snapshot") {
  HubFixture hub;
  auto client = hub.client();
  std::atomic<bool> hung{false};
  FakeNode good("good"), frozen("frozen"), later("later");
  for (FakeNode* node : {&good, &frozen, &later}) {
    fill(*node, 3);
    node->start();
    client.beat(*node);
  }
  frozen.hangs = true;
  later.hook = [&](uint32_t index) -> std::optional<http::Response> {
    if (index != 2) return std::nullopt;
    if (!hung.exchange(true)) {
      // The others were sent: only then is it a part that is missing.
      while (later.whole().size() < 2) std::this_thread::sleep_for(5ms);
      later.hangs = true;
    }
    while (later.hangs) std::this_thread::sleep_for(5ms);
    return std::nullopt;
  };
  const auto started = std::chrono::steady_clock::now();
  const Answer created = client.create("x", {{"deadline_ns", 3'000'000'000}});
  REQUIRE(created.status == 202);
  const Json done = client.wait("x");
  CHECK(std::chrono::steady_clock::now() - started < 30s);
  INFO(done.dump(2));
  CHECK(done.at("complete") == false);
  CHECK(node_of(done, "good").at("status") == "complete");
  CHECK(node_of(done, "frozen").at("status") == "failed");
  CHECK(node_of(done, "frozen").at("reason") != "");
  CHECK(node_of(done, "later").at("status") == "partial");
  frozen.hangs = later.hangs = false;
}

TEST_CASE("a node that comes back within the deadline is complete") {
  HubFixture hub;
  auto client = hub.client();
  std::atomic<int> refused{0};
  FakeNode a("web-1");
  fill(a, 6);
  a.hook = [&](uint32_t index) -> std::optional<http::Response> {
    if (index != 3 || ++refused > 4) return std::nullopt;
    return http::Response::problem({ErrorKind::failed, "starting"}, 503);
  };
  a.start();
  client.beat(a);
  REQUIRE(client.create("x").status == 202);
  const Json done = client.wait("x");
  CHECK(done.at("complete") == true);
  CHECK(refused == 5);
}

TEST_CASE("cancelling leaves nothing; snapshots under way cannot be deleted") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 50);
  a.delay_ms = 200;
  a.start();
  client.beat(a);
  REQUIRE(client.create("x").status == 202);
  REQUIRE(eventually([&] { return !a.whole().empty(); }));
  const Answer running = client.get("/api/v1/snapshots/x");
  CHECK(running.json.at("state") == "in_progress");
  CHECK(running.json.at("complete") == false);
  CHECK(node_of(running.json, "web-1").at("status") == "transferring");
  CHECK(running.json.at("progress").at("members_total") == 50);
  CHECK(client.get("/api/v1/snapshots").json.at("snapshots").size() == 1);
  CHECK(client.call("DELETE", "/api/v1/snapshots/x").status == 409);
  CHECK(client.get("/api/v1/snapshots/x/archive").status == 409);
  CHECK(client.get("/api/v1/snapshots/x/pcap").status == 409);
  CHECK(client.call("POST", "/api/v1/snapshots/x/verify").status == 409);
  CHECK(client.call("POST", "/api/v1/snapshots/x/cancel").status == 204);
  CHECK(client.get("/api/v1/snapshots/x").status == 404);
  CHECK(a.freezes() == 0);
  CHECK(std::filesystem::is_empty(hub.directory() / "jobs"));
  CHECK(std::filesystem::is_empty(hub.directory() / "snapshots"));
  CHECK(client.call("POST", "/api/v1/snapshots/x/cancel").status == 404);
  // The name is free again; a finished one cannot be cancelled.
  a.delay_ms = 0;
  REQUIRE(client.create("x").status == 202);
  client.wait("x");
  CHECK(client.call("POST", "/api/v1/snapshots/x/cancel").status == 409);
}

TEST_CASE("a node that cannot be told of the end is named, and hears it with its next heartbeat") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1"), b("web-2");
  fill(a, 50);
  fill(b, 50);
  a.delay_ms = b.delay_ms = 200;
  b.loses_release = true;
  a.start();
  b.start();
  client.beat(a);
  client.beat(b);
  const auto live = [&] { return client.beat(b).json.at("live_freezes"); };
  CHECK(live().empty());
  const Answer created = client.create("x");
  REQUIRE(created.status == 202);
  CHECK(live() == Json::array({created.json.at("id")}));
  CHECK(b.last_freeze().at("hub") == client.get("/api/v1/status").json.at("hub_id"));
  CHECK(b.last_freeze().at("hub") == client.beat(b).json.at("hub_id"));
  const Answer cancelled = client.call("POST", "/api/v1/snapshots/x/cancel");
  REQUIRE(cancelled.status == 200);
  REQUIRE(cancelled.json.at("unreleased").size() == 1);
  CHECK(cancelled.json.at("unreleased")[0].at("node") == "web-2");
  CHECK_FALSE(cancelled.json.at("unreleased")[0].at("reason").get<std::string>().empty());
  CHECK(a.freezes() == 0);
  CHECK(live().empty());
}

TEST_CASE("what a restarted hub goes on with is live, and nothing else") {
  HubFixture hub;
  FakeNode a("web-1");
  fill(a, 50);
  a.delay_ms = 200;
  a.start();
  std::string id;
  {
    auto client = hub.client();
    client.beat(a);
    const Answer created = client.create("x");
    REQUIRE(created.status == 202);
    id = created.json.at("id");
  }
  hub.stop();
  CHECK(a.freezes() == 1);
  hub.start();
  auto client = hub.client();
  CHECK(client.beat(a).json.at("live_freezes") == Json{id});
  a.delay_ms = 0;
  client.wait("x");
  CHECK(client.beat(a).json.at("live_freezes").empty());
}

TEST_CASE("an order that still waits for a node can be cancelled") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode a("web-1");
  fill(a, 1);
  a.start();
  client.beat(a);
  a.hangs = true;
  auto order = std::async(std::launch::async, [client = hub.client()]() mutable {
    return client.create("x", {{"deadline_ns", 60 * kNsPerSecond}});
  });
  REQUIRE(eventually([&] { return client.get("/api/v1/snapshots/x").status == 200; }));
  CHECK(client.get("/api/v1/snapshots/x").json.at("state") == "pending");
  CHECK(client.call("POST", "/api/v1/snapshots/x/cancel").status == 204);
  const Answer created = order.get();
  a.hangs = false;
  CHECK(created.status == 500);
  CHECK(created.json.at("kind") == "cancelled");
  CHECK(client.get("/api/v1/snapshots/x").status == 404);
}

TEST_CASE("several snapshots are made at a time") {
  HubFixture hub;
  FakeNode a("web-1"), b("web-2");
  fill(a, 20);
  fill(b, 20);
  a.start();
  b.start();
  {
    auto client = hub.client();
    client.beat(a);
    client.beat(b);
  }
  std::vector<std::future<std::pair<int, bool>>> orders;
  for (int i = 0; i < 6; ++i) {
    // Three names for six orders: each name goes to one.
    orders.push_back(std::async(
        std::launch::async, [client = hub.client(), name = fmt::format("s{}", i % 3)]() mutable {
          const Answer answer = client.create(name);
          const bool whole = answer.status == 202 && client.wait(name).at("complete") == true;
          return std::pair(answer.status, whole);
        }));
  }
  int made = 0, refused = 0;
  for (auto& order : orders) {
    const auto [status, whole] = order.get();
    if (status == 409) ++refused;
    if (status == 202 && whole) ++made;
  }
  CHECK(made == 3);
  CHECK(refused == 3);
  for (const char* name : {"s0", "s1", "s2"}) CHECK(archive::verify_archive(hub.archive(name)));
}
