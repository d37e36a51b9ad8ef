#include "lookback/archive/snapshot.hpp"

#include <catch2/catch.hpp>

#include "lookback/base/json.hpp"

namespace lookback::archive {

namespace {

NodeEntry node_entry() {
  NodeEntry node;
  node.name = "web-1";
  node.version = "0.1.0";
  node.status = "partial";
  node.reason = "recycled";
  node.coverage = TimeWindow{1'700'000'000'000'000'000, 1'700'000'060'000'000'001};
  node.packets = 12;
  node.bytes = 3456;
  node.gaps = {{5, 7, 2, "recycled"}};
  node.clock = {{9, -3, 1, 2}};
  node.interfaces = {{"eth0", 1, "02:00:00:00:00:01"}, {"any", 276, "", 1, "an interface", "tcp", "Linux", "0c00", 7}};
  node.layers = {{"os_events", "degraded", "no BTF"}};
  node.origin = "tcpdump";
  node.losses_counted = false;
  node.excluded = {{"tcp 10.0.0.7:7401 10.0.0.1:*", 1, 2}};
  return node;
}

Snapshot whole() {
  Snapshot snapshot;
  snapshot.name = "incident-1";
  snapshot.id = "0123";
  snapshot.created_by = "lookback 0.1.0";
  snapshot.state = SnapshotState::in_progress;
  snapshot.reason = "node web-1 is partial: recycled";
  snapshot.window = {1'700'000'000'000'000'000, 1'700'000'060'000'000'000};
  snapshot.created_ns = 1'700'000'061'000'000'000;
  snapshot.finished_ns = 1'700'000'062'000'000'000;
  snapshot.size_bytes = 1;
  snapshot.content_bytes = 2;
  snapshot.packets = 3;
  snapshot.tags = {{"team", "net"}, {"a", ""}};
  snapshot.networks = {"10.0.0.0/8"};
  snapshot.progress = {8, 4, 1000, 500, 12.5};
  snapshot.nodes = {{node_entry(), 8, 4}};
  return snapshot;
}

}  // namespace

TEST_CASE("a snapshot is what it was after JSON") {
  const Snapshot snapshot = whole();
  const Json json = snapshot_to_json(snapshot, NodeDetail::full);
  const auto read = snapshot_from_json(json);
  REQUIRE(read);
  CHECK(*read == snapshot);
  const std::string text = snapshot_to_text(snapshot, NodeDetail::full);
  CHECK(text.back() == '\n');
  CHECK(Json::parse(text) == json);
}

TEST_CASE("lists leave out what a node tells at length") {
  const Json json = snapshot_to_json(whole(), NodeDetail::brief);
  const Json& node = json.at("nodes").at(0);
  for (const char* key : {"gaps", "clock", "interfaces", "excluded", "origin"}) CHECK_FALSE(node.contains(key));
  CHECK(node.at("layers").at("os_events").at("reason") == "no BTF");
  CHECK_FALSE(snapshot_facts_to_json(whole()).contains("nodes"));
}

TEST_CASE("a snapshot of a manifest tells all of its nodes") {
  Manifest manifest;
  manifest.name = "incident-1";
  manifest.id = "0123";
  manifest.window = {1, 2};
  manifest.complete = false;
  manifest.nodes = {node_entry()};
  MemberEntry member;
  member.name = "nodes/web-1/packets/00000000.pcapng";
  member.node = "web-1";
  member.size = 100;
  member.packets = 12;
  manifest.members = {member};
  const Snapshot snapshot = snapshot_of(manifest, NodeDetail::full);
  CHECK(snapshot.state == SnapshotState::completed);
  CHECK(snapshot.reason == "node web-1 is partial: recycled");
  CHECK(snapshot.content_bytes == 100);
  CHECK(snapshot.packets == 12);
  REQUIRE(snapshot.nodes.size() == 1);
  CHECK(snapshot.nodes[0].entry == node_entry());
  CHECK(snapshot.nodes[0].members_done == 1);
  const Snapshot brief = snapshot_of(manifest, NodeDetail::brief);
  CHECK(snapshot_to_json(brief, NodeDetail::brief) == snapshot_to_json(snapshot, NodeDetail::brief));
  CHECK(brief.nodes[0].entry.gaps.empty());
}

TEST_CASE("answers of other versions are read as far as they go") {
  const auto read = snapshot_from_json(Json{{"name", "x"}});
  REQUIRE(read);
  CHECK(read->state == SnapshotState::other);
  CHECK(read->window.empty());
  CHECK(read->nodes.empty());
  CHECK(snapshot_from_json(Json{{"name", "x"}, {"state", "dissolving"}, {"news", 7}})->state == SnapshotState::other);
  for (const char* wrong : {"[]", "7", "{}", R"({"name":7})", R"({"name":"x","packets":-1})", R"({"name":"x","from":"yesterday"})",
                            R"({"name":"x","nodes":{}})", R"({"name":"x","nodes":[7]})", R"({"name":"x","networks":[7]})"})
    CHECK_FALSE(snapshot_from_json(Json::parse(wrong)));
}

TEST_CASE("every state has a name of its own") {
  for (const auto state : {SnapshotState::pending, SnapshotState::in_progress, SnapshotState::completed, SnapshotState::failed,
                           SnapshotState::cancelled, SnapshotState::other})
    CHECK(snapshot_state(name_of(state)) == state);
}

}  // namespace lookback::archive
