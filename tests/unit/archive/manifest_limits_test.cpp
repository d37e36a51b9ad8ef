// Manifests that would cost their reader more than they are worth.
#include <catch2/catch.hpp>
#include <functional>

#include "archive/layout.hpp"
#include "lookback/archive/limits.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/json.hpp"

using namespace lookback;
using namespace lookback::archive;

namespace {

Manifest example() {
  Manifest manifest;
  manifest.name = "x";
  manifest.id = "0123";
  manifest.window = {0, kNsPerSecond};
  NodeEntry node;
  node.name = "n1";
  node.status = "complete";
  manifest.nodes = {node};
  return manifest;
}

/// The example with something changed in its JSON.
Result<Manifest> changed(const std::function<void(Json&)>& change) {
  Json json = *parse_json(example().to_json(), "example");
  change(json);
  return Manifest::from_json(json.dump());
}

}  // namespace

TEST_CASE("texts and lists of a manifest are bounded", "[single-threaded]") {
  REQUIRE(changed([](Json&) {}));
  const std::string longest(kMaxText, 'x'), too_long(kMaxText + 1, 'x'), book(1 << 20, 'x');
  for (const char* key : {"id", "created_by"}) {
    INFO(key);
    CHECK(changed([&](Json& json) { json[key] = longest; }));
    for (const std::string& text : {too_long, book}) CHECK(changed([&](Json& json) { json[key] = text; }).error().kind == ErrorKind::corrupt);
  }
  for (const char* key : {"version", "reason", "status", "name"})
    CHECK_FALSE(changed([&](Json& json) { json["nodes"][0][key] = book; }));
  CHECK_FALSE(changed([&](Json& json) { json["tags"] = {{"a", book}}; }));
  CHECK_FALSE(changed([&](Json& json) { json["tags"] = {{book, "a"}}; }));
  CHECK_FALSE(changed([&](Json& json) { json["ip_filter"] = {book}; }));
  const auto many = [](size_t count, const Json& one) { return Json(std::vector<Json>(count, one)); };
  const Json interface = {{"name", ""}, {"link_type", 1}};
  const Json gap = {{"start", "2025-01-01T00:00:00Z"}, {"end", "2025-01-01T00:00:00Z"}, {"packets", 0}, {"reason", ""}};
  const Json sample = {{"time", "2025-01-01T00:00:00Z"}, {"offset_ns", 0}, {"error_ns", 0}};
  struct List {
    const char* key;
    Json one;
    size_t limit;
  };
  for (const List& list : {List{"interfaces", interface, kMaxNodeInterfaces}, List{"gaps", gap, kMaxNodeGaps}, List{"clock", sample, kMaxNodeClock}}) {
    INFO(list.key);
    CHECK(changed([&](Json& json) { json["nodes"][0][list.key] = many(list.limit, list.one); }));
    CHECK_FALSE(changed([&](Json& json) { json["nodes"][0][list.key] = many(list.limit + 1, list.one); }));
  }
  CHECK_FALSE(changed([&](Json& json) { json["nodes"][0]["interfaces"] = many(1, {{"name", book}, {"link_type", 1}}); }));
  CHECK_FALSE(changed([&](Json& json) { json["nodes"][0]["interfaces"] = many(1, {{"name", ""}, {"link_type", 1}, {"mac", book}}); }));
  CHECK_FALSE(changed([&](Json& json) { json["ip_filter"] = many(kMaxNetworks + 1, ""); }));
  CHECK_FALSE(changed([&](Json& json) {
    for (size_t i = 0; i <= kMaxTags; ++i) json["tags"][std::to_string(i)] = "";
  }));
  CHECK_FALSE(changed([&](Json& json) {
    for (size_t i = 0; i <= kMaxNodeLayers; ++i) json["nodes"][0]["layers"][std::to_string(i)] = {{"state", "off"}, {"reason", ""}};
  }));
}

TEST_CASE("what is too long for a reader is cut short when it is written", "[single-threaded]") {
  Manifest manifest = example();
  NodeEntry& node = manifest.nodes[0];
  for (size_t i = 0; i < kMaxReason; ++i) node.reason += "ü";
  for (size_t i = 0; i < kMaxNodeGaps + 5; ++i) {
    const auto at = static_cast<int64_t>(i) * kNsPerSecond;
    node.gaps.push_back({at, at + 1, i < kMaxNodeGaps ? 1 : UINT64_MAX / 2, "lost"});
  }
  const auto read = Manifest::from_json(manifest.to_json());
  REQUIRE(read);
  const NodeEntry& back = read->nodes[0];
  CHECK(back.reason.size() == kMaxReason);
  CHECK(back.reason == node.reason.substr(0, kMaxReason));
  REQUIRE(back.gaps.size() == kMaxNodeGaps);
  CHECK(back.gaps[kMaxNodeGaps - 2] == node.gaps[kMaxNodeGaps - 2]);
  CHECK(back.gaps.back().start_ns == node.gaps[kMaxNodeGaps - 1].start_ns);
  CHECK(back.gaps.back().end_ns == node.gaps.back().end_ns);
  CHECK(back.gaps.back().packets == UINT64_MAX);
}

TEST_CASE("a small file cannot claim a large manifest") {
  CHECK(max_manifest_bytes(10'000) < (20ULL << 20));
  CHECK(max_manifest_bytes(1ULL << 20) > (100ULL << 20));
  CHECK(max_manifest_bytes(UINT64_MAX) == kMaxManifestBytes);
  CHECK(max_manifest_bytes(1ULL << 40) == kMaxManifestBytes);
}
