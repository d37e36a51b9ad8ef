// Peers that want more of the hub than it has: memory, slots, somebody else's files.
#include <algorithm>
#include <catch2/catch.hpp>
#include <future>

#include "support/hub_fixture.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"

using namespace lookback;
using namespace lookback::hub::test;
using lookback::test::run_shell;
using lookback::test::slurp;
using lookback::test::spill;

namespace {

int64_t now_ns() {
  return Clock::system().realtime_ns();
}

std::string repeated(const std::string& part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

/// The status that curl gets.
std::string status_of(HubFixture& hub, const std::string& arguments, const std::string& path) {
  return run_shell("/", fmt::format("curl -sS -m 60 -o /dev/null -w '%{{http_code}}' {} http://127.0.0.1:{}{}", arguments,
                                    hub.daemon().port(), path))
      .output;
}

/// Publishes a snapshot called "x" of one member.
void publish(HubClient& client, FakeNode& node) {
  node.add_member(make_member("web-1", now_ns() - 5 * kNsPerSecond, 50));
  node.start();
  client.beat(node);
  REQUIRE(client.create("x").status == 202);
  REQUIRE(client.wait("x").at("complete") == true);
}

}  // namespace

TEST_CASE("every route of the hub refuses pages of other sites and names that are not its own") {
  HubFixture hub;
  const std::vector<std::pair<std::string, std::string>> routes{
      {"GET", "/api/v1/nodes"},          {"GET", "/api/v1/boundaries"},         {"POST", "/api/v1/nodes/n/heartbeat"},
      {"DELETE", "/api/v1/nodes/n"},     {"GET", "/api/v1/snapshots"},          {"POST", "/api/v1/snapshots"},
      {"GET", "/api/v1/snapshots/x"},    {"POST", "/api/v1/snapshots/x/cancel"}, {"DELETE", "/api/v1/snapshots/x"},
      {"GET", "/api/v1/snapshots/x/archive"}, {"POST", "/api/v1/snapshots/x/import"}, {"GET", "/api/v1/snapshots/x/pcap"},
      {"GET", "/api/v1/snapshots/x/flows"}, {"POST", "/api/v1/snapshots/x/verify"}, {"GET", "/api/v1/jobs/1"},
      {"GET", "/api/v1/exports/1"},      {"GET", "/api/v1/events"},             {"GET", "/api/v1/status"},
      {"GET", "/metrics"}};
  for (const auto& [method, path] : routes) {
    INFO(method << " " << path);
    CHECK(status_of(hub, "-X " + method + " -H 'Origin: http://evil.example'", path) == "403");
    CHECK(status_of(hub, "-X " + method + " -H 'Host: evil.example'", path) == "421");
    if (method == "POST" && path.find("verify") == std::string::npos)
      CHECK(status_of(hub, "-X POST -H 'Content-Type: text/plain' -d '{}'", path) == "415");
  }
}

TEST_CASE("documents of absurd size or width are refused, and the hub goes on") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("web-1");
  node.start();
  const TemporaryDirectory folder;
  const std::string json = "-H 'Content-Type: application/json' --data-binary @";
  const auto wide = spill(folder / "wide", "[" + repeated("{},", 200'000) + "{}]");  // 600 KB
  CHECK(status_of(hub, json + wide.string(), "/api/v1/nodes/web-1/heartbeat") == "413");
  CHECK(status_of(hub, "-H 'Transfer-Encoding: chunked' " + json + wide.string(), "/api/v1/nodes/web-1/heartbeat") == "413");
  CHECK(status_of(hub, json + wide.string(), "/api/v1/snapshots/x/cancel") == "413");
  CHECK(status_of(hub, json + wide.string(), "/api/v1/snapshots") == "400");
  const auto large = spill(folder / "large", std::string(3 << 20, ' '));
  CHECK(status_of(hub, json + large.string(), "/api/v1/snapshots") == "413");
  CHECK(client.beat(node).status == 200);
  // Figures at their very end.
  Json beat = *parse_json(node.heartbeat(), "heartbeat");
  beat["status"]["drops"] = {{"packets", UINT64_MAX}, {"disk_full_packets", 5}};
  CHECK(client.call("POST", "/api/v1/nodes/web-1/heartbeat", beat).status == 200);
  CHECK(client.get("/api/v1/nodes").json.at("nodes")[0].at("dropped") == UINT64_MAX);
}

TEST_CASE("a node's freeze of millions of values costs the hub nothing") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode liar("liar"), honest("honest");
  liar.add_member(make_member("liar", now_ns() - 5 * kNsPerSecond, 50));
  honest.add_member(make_member("honest", now_ns() - 5 * kNsPerSecond, 50));
  std::string expected;
  SECTION("in a field") {
    liar.change_freeze = [](Json& freeze) { freeze["gaps"] = std::vector<Json>(2'100'000, Json::array()); };
    expected = "'gaps'";
  }
  SECTION("as members") {
    liar.change_freeze = [](Json& freeze) { freeze["members"] = std::vector<Json>(2'100'000, Json::array()); };
    expected = "index";
  }
  SECTION("as text") {
    liar.change_freeze = [](Json& freeze) { freeze["owner"] = std::string(70 << 20, 'x'); };
    expected = "larger";
  }
  liar.start();
  honest.start();
  client.beat(liar);
  client.beat(honest);
  // The patience is not what is tried: a sanitizer takes its time over millions of values.
  REQUIRE(client.create("x", {{"deadline_ns", 900 * kNsPerSecond}}).status == 202);
  const Json done = client.wait("x", 300);
  for (const Json& node : done.at("nodes")) {
    INFO(node.dump());
    CHECK(node.at("status") == (node.at("name") == "honest" ? "complete" : "failed"));
    if (node.at("name") == "liar") CHECK(node.at("reason").get<std::string>().find(expected) != std::string::npos);
  }
}

TEST_CASE("an import of the largest length there is does not fit") {
  HubFixture hub;
  auto client = hub.client();
  const std::string type = "-X POST -H 'Content-Type: application/octet-stream' ";
  for (const char* length : {"18446744073709551615", "18446744073709551614", "18446744073642442752", "9223372036854775808"}) {
    INFO(length);
    CHECK(status_of(hub, type + "-H 'Content-Length: " + length + "' -d x", "/api/v1/snapshots/x/import") == "507");
  }
  CHECK(client.get("/api/v1/status").json.at("disk").at("used_bytes") == 0);
}

TEST_CASE("a busy but slow node is given up in time, and holds up nobody") {
  HubFixture hub;
  auto client = hub.client();
  std::atomic<bool> over{false};  // outlives the nodes that look at it
  FakeNode slow("slow"), other("slow-too"), honest("honest");
  const auto trickle = [&](uint32_t) -> std::optional<http::Response> {
    http::Response response;
    response.content_length = 8 << 20;
    response.stream = [&](const http::BodyWriter& write) -> Result<> {
      const std::vector<std::byte> drop(512);
      while (!over) {
        TRY(write(drop));
        ::usleep(100'000);
      }
      return {};
    };
    return response;
  };
  for (FakeNode* node : {&slow, &other}) {
    for (int i = 0; i < 8; ++i) node->add_wire(std::vector<std::byte>(16), 8 << 20);
    node->hook = trickle;
    node->start();
    client.beat(*node);
  }
  for (int i = 0; i < 4; ++i) honest.add_member(make_member("honest", now_ns() - 5 * kNsPerSecond, 50));
  honest.start();
  client.beat(honest);
  // A snapshot of the slow ones, as patient as it gets, does not keep the honest one's waiting.
  REQUIRE(client.create("patient", {{"deadline_ns", 3600 * kNsPerSecond}, {"nodes", Json::array({"slow", "slow-too"})}}).status == 202);
  REQUIRE(eventually([&] { return !slow.gets().empty() && !other.gets().empty(); }));
  REQUIRE(client.create("mine", {{"nodes", Json::array({"honest"})}}).status == 202);
  CHECK(client.wait("mine").at("complete") == true);
  CHECK(client.get("/api/v1/snapshots/patient").json.at("state") == "in_progress");
  // With little patience the slow ones are given up, though they send all the time.
  REQUIRE(client.create("hasty", {{"deadline_ns", 6 * kNsPerSecond}, {"nodes", Json::array({"slow", "honest"})}}).status == 202);
  const Json done = client.wait("hasty", 120);
  INFO(done.dump(2));
  for (const Json& node : done.at("nodes")) CHECK(node.at("status") == (node.at("name") == "honest" ? "complete" : "failed"));
  CHECK(client.call("POST", "/api/v1/snapshots/patient/cancel").status == 204);
  over = true;
}

TEST_CASE("a list comes in pages that end") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("web-1");
  publish(client, node);
  const std::string file = slurp(hub.archive("x"));
  hub.stop();
  for (int i = 0; i < 9; ++i) spill(hub.archive(fmt::format("copy-{}", i)), file);
  hub.start();
  auto again = hub.client();
  for (size_t limit = 1; limit <= 11; ++limit) {
    INFO(limit);
    std::vector<std::string> names;
    std::string cursor;
    size_t pages = 0;
    for (;; ++pages) {
      REQUIRE(pages < 12);
      const Json page = again.get(fmt::format("/api/v1/snapshots?limit={}&cursor={}", limit, cursor)).json;
      CHECK(page.at("snapshots").size() <= limit);
      for (const Json& one : page.at("snapshots")) names.push_back(one.at("name"));
      if (page.at("next").is_null()) break;
      cursor = page.at("next");
    }
    CHECK(names.size() == 10);
    CHECK(std::is_sorted(names.begin(), names.end()));
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  }
  for (const char* limit : {"0", "x", "-1", "1x", "", "99999999999999999999"})
    CHECK(again.get(std::string("/api/v1/snapshots?limit=") + limit).status == 400);
  CHECK(again.get("/api/v1/snapshots").json.at("next").is_null());
}

TEST_CASE("neither links nor damaged archives are handed out") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("web-1");
  publish(client, node);
  const std::string file = slurp(hub.archive("x"));
  hub.stop();
  const TemporaryDirectory elsewhere;
  const auto secret = spill(elsewhere / "secret", "nobody's business");
  const auto foreign = spill(elsewhere / "foreign.tar.zst", file);
  std::filesystem::create_symlink(secret, hub.archive("link"));
  std::filesystem::create_symlink(foreign, hub.archive("archive-link"));
  std::filesystem::create_symlink("x.tar.zst", hub.archive("inner-link"));
  std::filesystem::create_symlink(elsewhere / "nothing", hub.archive("dangling"));
  REQUIRE(run_shell(elsewhere.path(), "mkfifo " + hub.archive("pipe").string()).status == 0);
  spill(hub.archive("cut"), file.substr(0, file.size() / 2));
  hub.start();
  auto again = hub.client();
  for (const char* name : {"link", "archive-link", "inner-link", "dangling", "pipe"}) {
    INFO(name);
    const std::string path = std::string("/api/v1/snapshots/") + name;
    CHECK(again.get(path).json.at("state") == "failed");
    for (const char* query : {"/archive", "/archive?damaged=1", "/pcap", "/flows"}) {
      const Answer answer = again.get(path + query);
      CHECK(answer.status >= 400);
      CHECK(answer.text.find("business") == std::string::npos);
    }
    const Json job = again.call("POST", path + "/verify").json;
    Json verified;
    CHECK(eventually([&] {
      verified = again.get("/api/v1/jobs/" + job.at("id").get<std::string>()).json;
      return verified.at("state") != "running" && verified.at("state") != "pending";
    }));
    CHECK(verified.at("state") == "failed");
    CHECK(again.call("DELETE", path).status == 204);
    CHECK_FALSE(std::filesystem::exists(std::filesystem::symlink_status(hub.archive(name))));
  }
  CHECK(slurp(secret) == "nobody's business");
  CHECK(slurp(foreign) == file);
  const Answer cut = again.get("/api/v1/snapshots/cut/archive");
  CHECK(cut.status == 422);
  CHECK(cut.json.at("detail").get<std::string>().find("--damaged") != std::string::npos);
  CHECK(again.get("/api/v1/snapshots/cut/archive?damaged=0").status == 422);
  CHECK(again.get("/api/v1/snapshots/cut/archive?damaged=1").text == file.substr(0, file.size() / 2));
}

TEST_CASE("two hundred readers of events keep no order out") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("web-1");
  node.add_member(make_member("web-1", now_ns() - 5 * kNsPerSecond, 50));
  node.start();
  client.beat(node);
  std::atomic<bool> over{false};
  std::atomic<int> refused{0};
  std::vector<std::future<void>> readers;
  for (int i = 0; i < 200; ++i) {
    readers.push_back(std::async(std::launch::async, [&] {
      auto reader = hub.client();
      const auto ended = reader.http().download(
          "/api/v1/events", [](std::span<const std::byte>) -> Result<> { return {}; }, &over);
      if (!ended && !over) ++refused;
    }));
  }
  CHECK(eventually([&] { return refused > 0; }));  // the pool is full
  CHECK(client.create("x").status == 202);
  CHECK(client.wait("x").at("complete") == true);
  over = true;
}
