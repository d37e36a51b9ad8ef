#include <catch2/catch.hpp>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/json.hpp"

using namespace lookback;
using namespace lookback::archive;
using Catch::Contains;

namespace {

const std::string kHash(64, 'a');

Manifest example() {
  Manifest manifest;
  manifest.name = "incident-1";
  manifest.id = "0123456789abcdef";
  manifest.created_by = "lookback 0.1.0";
  manifest.created_ns = 1'772'366'700'000'000'001;
  manifest.window = {1'772'366'400'000'000'000, 1'772'366'700'000'000'000};
  manifest.ip_filter = {"10.0.0.0/8", "fd00::/8"};
  manifest.tags = {{"ticket", "OPS-\"1\""}, {"empty", ""}};
  manifest.complete = false;
  NodeEntry web;
  web.name = "web-1";
  web.version = "0.1.0";
  web.status = "partial";
  web.reason = "recycled: grün";
  web.coverage = TimeWindow{1'772'366'500'000'000'000, 1'772'366'700'000'000'000};
  web.packets = 20;
  web.bytes = 5000;
  web.gaps = {{1'772'366'510'000'000'000, 1'772'366'511'000'000'000, 12, "kernel ring full"}, {1, 2, 0, "not running"}};
  web.clock = {{1'772'366'500'000'000'000, -1'500'000, 200'000, 0}, {1'772'366'600'000'000'000, 5, 200'000, -3'600'000'000'000}};
  web.interfaces = {{"eth0", 1, "02:42:ac:11:00:02"}, {"wg0", 101, ""}};
  web.excluded = {{"tcp 10.0.0.7:7401 10.0.0.1:*", 1'772'366'500'000'000'000, 1'772'366'700'000'000'000}};
  web.layers = {{"os_events", "degraded", "no \"BTF\""}, {"tls", "recording", ""}};
  NodeEntry db;
  db.name = "db";
  db.version = "";
  db.status = "failed";
  db.reason = "unreachable";
  manifest.nodes = {web, db};
  manifest.members = {{"nodes/web-1/packets/00000000.pcapng", "web-1", 60, 512, 3000, kHash, 15, {{900, 2000, 7, 9, 10, "AQ=="}, {500, 1000, -1, 8, 5, ""}}},
                      {"nodes/web-1/packets/00000001.pcapng", "web-1", 1600, 4096, 2000, kHash, 5, {{900, 2000, 7, 9, 5, ""}}},
                      {"kubernetes/events.ndjson", "", 2700, 6656, 0, kHash, 0, {}}};
  return manifest;
}

std::string error_of(const std::string& text) {
  const auto manifest = Manifest::from_json(text);
  if (manifest) return "accepted";
  if (manifest.error().kind != ErrorKind::failed) REQUIRE(manifest.error().kind == ErrorKind::corrupt);
  return manifest.error().message;
}

}  // namespace

TEST_CASE("a manifest comes back as it was") {
  const Manifest manifest = example();
  const std::string text = manifest.to_json();
  const Manifest read = Manifest::from_json(text).value();
  REQUIRE(read.to_json() == text);
  REQUIRE(read.name == manifest.name);
  REQUIRE(read.window == manifest.window);
  REQUIRE(read.tags == manifest.tags);
  REQUIRE(read.ip_filter == manifest.ip_filter);
  REQUIRE(read.nodes == manifest.nodes);
  REQUIRE(read.members == manifest.members);
  REQUIRE_FALSE(read.complete);
  REQUIRE(read.find_node("db")->status == "failed");
  REQUIRE(read.find_node("nobody") == nullptr);
  REQUIRE_THAT(text, Contains("\"created\": \"2026-03-01T12:05:00.000000001Z\""));

  Manifest bare;
  bare.name = "x";
  REQUIRE(Manifest::from_json(bare.to_json()).value().to_json() == bare.to_json());
  bare.created_ns = -1;
  bare.window = {-1'000'000'000'000'000'001, 9'000'000'000'000'000'001};
  REQUIRE(Manifest::from_json(bare.to_json()).value().window == bare.window);
  bare.window = {INT64_MIN, INT64_MAX};  // what RFC 3339 readers do not take is brought near
  REQUIRE(Manifest::from_json(bare.to_json()).value().window.to_ns > 9'200'000'000'000'000'000);
  bare.created_by = "\xff\x01";  // not UTF-8: replaced, and the manifest stays readable
  REQUIRE(Manifest::from_json(bare.to_json()));
}

TEST_CASE("a member entry travels through a journal line") {
  for (const MemberEntry& member : example().members) {
    const std::string line = member_to_json(member);
    REQUIRE(line.find('\n') == std::string::npos);
    REQUIRE(member_from_json(line).value() == member);
    for (size_t length = 0; length < line.size(); ++length) REQUIRE_FALSE(member_from_json(line.substr(0, length)));
  }
}

TEST_CASE("version 1 stays readable") {
  // As the first release wrote it, with fields that a later minor version might add.
  const Manifest manifest = Manifest::from_json(R"json({
  "version": 1,
  "name": "incident-1",
  "id": "b9a1c2d3e4f50617",
  "created_by": "lookback 0.1.0",
  "created": "2026-03-01T12:05:02.123456789Z",
  "window": {"from": "2026-03-01T12:00:00.000000000Z", "to": "2026-03-01T12:05:00.000000000Z", "asked": "5m"},
  "ip_filter": [
    "10.0.0.0/8"
  ],
  "tags": {
    "ticket": "OPS-1"
  },
  "signature": {"by": [{"deep": [[[[[[[[[[1]]]]]]]]]]}]},
  "complete": false,
  "nodes": [
    {"name": "web-1", "version": "0.1.0", "status": "partial", "reason": "",
     "coverage": {"from": "2026-03-01T12:01:00.000000000Z", "to": "2026-03-01T12:05:00.000000000Z"}, "packets": 3, "bytes": 700,
     "gaps": [
       {"start": "2026-03-01T12:00:00.000000000Z", "end": "2026-03-01T12:01:00.000000000Z", "packets": 0, "reason": "recycled"}
     ],
     "clock": [
       {"time": "2026-03-01T12:01:00.000000000Z", "offset_ns": 1500000, "error_ns": 80000, "step_ns": 0}
     ],
     "interfaces": [
       {"name": "eth0", "link_type": 1, "mac": "02:42:ac:11:00:02", "mtu": 1500}
     ], "kernel": "6.1"}
  ],
  "members": [
    {"name": "nodes/web-1/packets/00000000.pcapng", "node": "web-1", "archive_offset": 96, "content_offset": 512, "size": 700, "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "packets": 3, "frames": [[300,600,1772366461000000000,1772366470000000000,2,"AQID"],[90,100,1772366471000000000,1772366471000000000,1,"",true]], "kind": "packets"}
  ]
}
)json")
                                .value();
  REQUIRE(manifest.created_ns == 1'772'366'702'123'456'789);
  REQUIRE(manifest.window == TimeWindow{1'772'366'400'000'000'000, 1'772'366'700'000'000'000});
  REQUIRE(manifest.ip_filter == std::vector<std::string>{"10.0.0.0/8"});
  REQUIRE(manifest.nodes.at(0).gaps.at(0).reason == "recycled");
  REQUIRE(manifest.nodes.at(0).clock.at(0).offset_ns == 1'500'000);
  REQUIRE(manifest.members.at(0).frames.at(0).last_ns == 1'772'366'470'000'000'000);
  REQUIRE(manifest.members.at(0).frames.at(0).summary == "AQID");
  REQUIRE(manifest.members.at(0).frames.at(1).packets == 1);
}

TEST_CASE("another version is refused by its number") {
  Manifest manifest = example();
  manifest.version = 2;
  REQUIRE_THAT(error_of(manifest.to_json()), Contains("version 2") && Contains("newer"));
  REQUIRE_THAT(error_of(R"({"version": 2, "everything": "else"})"), Contains("version 2"));
}

TEST_CASE("manifests that lie are refused") {
  const auto refused = [](auto change) {
    Manifest manifest = example();
    change(manifest);
    return error_of(manifest.to_json());
  };
  REQUIRE(refused([](auto&) {}) == "accepted");
  REQUIRE_THAT(refused([](auto& m) { m.name = "../x"; }), Contains("name"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes[0].name = "a/b"; }), Contains("node 1"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes[1].name = "web-1"; }), Contains("twice"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes[1].status = "fine"; }), Contains("status"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes.erase(m.nodes.begin()); }), Contains("does not know"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes[0].clock[0].error_ns = -1; }), Contains("clock"));
  REQUIRE_THAT(refused([](auto& m) { m.nodes[0].clock[0].offset_ns = INT64_MIN; }), Contains("clock"));
  REQUIRE_THAT(refused([](auto& m) { std::swap(m.window.from_ns, m.window.to_ns); }), Contains("window"));
  for (const char* name : {"../../x", "/etc/passwd", "nodes/web-1/../x", "nodes/web-1//x", "manifest.json", ""})
    REQUIRE_THAT(refused([&](auto& m) { m.members[2].name = name; }), Contains("member 3"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].name = "nodes/other/x"; }), Contains("folder"));
  REQUIRE_THAT(refused([](auto& m) { m.members[1].name = m.members[0].name; }), Contains("twice"));
  REQUIRE_THAT(refused([](auto& m) { m.members[1].archive_offset -= 241; }), Contains("overlaps"));
  REQUIRE_THAT(refused([](auto& m) { m.members[1].content_offset -= 512; }), Contains("overlaps"));
  REQUIRE_THAT(refused([](auto& m) { m.members[1].content_offset += 1; }), Contains("impossible"));
  REQUIRE_THAT(refused([](auto& m) { m.members[1].archive_offset = 1ULL << 60; }), Contains("impossible"));
  REQUIRE_THAT(refused([](auto& m) { std::swap(m.members[0], m.members[1]); }), Contains("overlaps"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].archive_offset = 0; }), Contains("overlaps"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].size += 1; }), Contains("add up"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].packets += 1; }), Contains("add up"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].sha256 = "abc"; }), Contains("SHA-256"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].frames[0].content_bytes = 1ULL << 40; }), Contains("frame"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].frames[0].compressed_bytes = 1ULL << 40; }), Contains("frame"));
  REQUIRE_THAT(refused([](auto& m) { m.members[0].frames[0].first_ns = 10; }), Contains("before"));
}

TEST_CASE("manifests that are none", "[single-threaded]") {
  const std::string text = example().to_json();
  for (const char* bad : {"", "[]", "1", "null", "{", "{}", "{}{}", "\"x\"", "[[[[[["})
    REQUIRE(error_of(bad) != "accepted");
  for (size_t length = 0; length + 2 < text.size(); length += 7) REQUIRE(error_of(text.substr(0, length)) != "accepted");
  for (const char* field : {"version", "name", "id", "created_by", "created", "window", "ip_filter", "tags", "complete", "nodes", "members"}) {
    CAPTURE(field);
    Json without = Json::parse(text);
    without.erase(field);
    REQUIRE_THAT(error_of(without.dump()), Contains(field) && Contains("missing"));
    for (const Json& wrong : {Json(nullptr), Json(-1), Json("x\n"), Json::array({1}), Json{{"from", "x"}}}) {
      Json changed = Json::parse(text);
      if (changed[field].type() == wrong.type() && std::string_view(field) != "window") continue;
      changed[field] = wrong;
      REQUIRE(error_of(changed.dump()) != "accepted");
    }
  }
  std::string twice = text;
  twice.insert(1, "\"name\": \"x\",");
  REQUIRE_THAT(error_of(twice), Contains("twice"));
  // Claims of size cost nothing before they are refused.
  REQUIRE_THAT(error_of("{\"tags\": " + std::string(1'000'000, '[')), Contains("deep"));
  REQUIRE_THAT(error_of("{\"unknown\": " + std::string(1'000'000, '[')), Contains("JSON"));
  std::string wide = "{\"tags\": [";
  for (int i = 0; i < 4'100'000; ++i) wide += "0,";
  REQUIRE_THAT(error_of(wide), Contains("too large"));
}

TEST_CASE("clock corrections") {
  const std::vector<ClockSample> samples{{100, 50, 10, 0}, {200, -5, 10, 0}, {300, -70, 10, 0}};
  REQUIRE(clock_offset_at({}, 5) == 0);
  REQUIRE(clock_error_at({}, 5) == 0);
  REQUIRE(clock_offset_at(samples, 0) == 50);  // before the first: the first
  REQUIRE(clock_offset_at(samples, 100) == 50);
  REQUIRE(clock_offset_at(samples, 199) == 50);
  REQUIRE(clock_offset_at(samples, 200) == 0);  // within its error
  REQUIRE(clock_offset_at(samples, 300) == -70);
  REQUIRE(clock_offset_at(samples, INT64_MAX) == -70);
  REQUIRE(clock_error_at(samples, 0) == 10);
  // After a step back the newer sample counts where both could.
  const std::vector<ClockSample> stepped{{1000, 900, 1, 0}, {100, 0, 1, -900}, {200, 30, 1, 0}};
  REQUIRE(clock_offset_at(stepped, 250) == 30);
  REQUIRE(clock_offset_at(stepped, 150) == 0);
  REQUIRE(clock_offset_at({{0, 10, 10, 0}}, 0) == 0);
  REQUIRE(clock_offset_at({{0, 11, 10, 0}}, 0) == 11);
  REQUIRE(clock_offset_at({{0, -10, 10, 0}}, 0) == 0);
}
