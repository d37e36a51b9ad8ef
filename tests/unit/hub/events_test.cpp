// Members of OS events: their names are the hub's, and what is in them is what was announced.
#include <catch2/catch.hpp>
#include <set>

#include "lookback/archive/reader.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/fd.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub::test;

namespace {

archive::MemberContent lines_member(const std::string& lines) {
  archive::MemberContent member;
  archive::FrameEncoder encoder;
  const auto bytes = as_bytes(lines);
  const auto compressed = encoder.encode(bytes, member.compressed);
  member.size = bytes.size();
  member.sha256 = sha256_hex(bytes);
  member.frames.push_back({compressed, bytes.size(), 5, 6, 0, {}});
  return member;
}

/// Announces the members from `first` on as events, with indexes as a node gives them.
void announce_events(Json& answer, size_t first) {
  for (size_t i = first; i < answer["members"].size(); ++i) answer["members"][i]["kind"] = "os-events";
  answer["layers"] = {{"os_events", {{"state", "degraded"}, {"reason", "no cgroups"}}}};
}

}  // namespace

TEST_CASE("events are kept beside packets, counted from 0") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("n1");
  node.add_member(make_member("n1", Clock::system().realtime_ns() - 5'000'000'000, 50));
  node.add_member(lines_member("{\"kind\":\"checkpoint\",\"time\":5}\n"));
  node.add_member(lines_member("{\"kind\":\"checkpoint\",\"time\":6}\n"));
  node.change_freeze = [](Json& answer) { announce_events(answer, 1); };
  node.start();
  CHECK(client.beat(node).status == 200);
  REQUIRE(client.create("x", Json::object()).status == 202);
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("complete") == true);
  CHECK(done.at("packets") == 50);
  REQUIRE(archive::verify_archive(hub.archive("x")));
  const auto reader = archive::ArchiveReader::open(hub.archive("x"));
  REQUIRE(reader);
  const archive::Manifest& manifest = (*reader)->manifest();
  std::set<std::string> names;
  for (const auto& member : manifest.members) names.insert(member.name);
  CHECK(names == std::set<std::string>{"nodes/n1/packets/00000000.pcapng",
                                       "nodes/n1/os-events/00000000.ndjson",
                                       "nodes/n1/os-events/00000001.ndjson"});
  CHECK(manifest.nodes.at(0).layers ==
        std::vector<archive::LayerEntry>{{"os_events", "degraded", "no cgroups"}});
}

TEST_CASE("events that hold packets are left out") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode node("n1");
  node.add_member(make_member("n1", Clock::system().realtime_ns() - 5'000'000'000, 50));
  node.add_member(make_member("n1", Clock::system().realtime_ns() - 5'000'000'000, 50));
  node.change_freeze = [](Json& answer) { announce_events(answer, 1); };
  node.start();
  CHECK(client.beat(node).status == 200);
  REQUIRE(client.create("x", Json::object()).status == 202);
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("complete") == false);
  CHECK(done.at("nodes").at(0).at("reason").get<std::string>().find("said to have packets") !=
        std::string::npos);
  CHECK(done.at("packets") == 50);
}

TEST_CASE("a kind of member that the hub does not know, and layers that make no sense") {
  for (const bool layers : {false, true}) {
    HubFixture hub;
    auto client = hub.client();
    FakeNode node("n1");
    node.add_member(lines_member("{}\n"));
    node.change_freeze = [&](Json& answer) {
      if (layers)
        answer["layers"] = {{"os_events", "fine"}};
      else
        answer["members"][0]["kind"] = "../../etc";
    };
    node.start();
    CHECK(client.beat(node).status == 200);
    const Answer refused = client.create("x", Json::object());
    INFO(refused.json.dump(2));
    CHECK(refused.status == 503);
    CHECK(refused.json.dump().find(layers ? "JSON object" : "a member of kind") != std::string::npos);
  }
}
