#include "lookback/archive/snapshot.hpp"

#include "lookback/base/enum_names.hpp"
#include "lookback/base/json_list.hpp"
#include "lookback/base/json_time.hpp"
#include "lookback/base/saturating.hpp"

namespace lookback::archive {

namespace {

constexpr EnumNames<SnapshotState, 6> kStates{{"pending", "in_progress", "completed", "failed", "cancelled", "other"}};
constexpr EnumNames<Location, 3> kLocations{{"local", "file", "other"}};

/// null where it is not known.
Json known_time(int64_t time_ns) {
  return time_ns == 0 ? Json(nullptr) : time_to_json(time_ns);
}

Json node_json(const SnapshotNode& node, NodeDetail detail) {
  Json json = node_to_json(node.entry, detail);
  json["members_total"] = node.members_total;
  json["members_done"] = node.members_done;
  return json;
}

Result<SnapshotNode> snapshot_node(const Json& json) {
  SnapshotNode node;
  TRY_ASSIGN(node.entry, node_from_json(json));
  TRY_ASSIGN(node.members_total, json_get_or<uint64_t>(json, "members_total", 0));
  TRY_ASSIGN(node.members_done, json_get_or<uint64_t>(json, "members_done", 0));
  return node;
}

Result<SnapshotProgress> progress_from_json(const Json& object) {
  SnapshotProgress progress;
  const auto json = object.find("progress");
  if (json == object.end() || json->is_null()) return progress;
  TRY_ASSIGN(progress.members_total, json_get_or<uint64_t>(*json, "members_total", 0));
  TRY_ASSIGN(progress.members_done, json_get_or<uint64_t>(*json, "members_done", 0));
  TRY_ASSIGN(progress.bytes_total, json_get_or<uint64_t>(*json, "bytes_total", 0));
  TRY_ASSIGN(progress.bytes_done, json_get_or<uint64_t>(*json, "bytes_done", 0));
  TRY_ASSIGN(progress.bytes_per_second, json_get_or<double>(*json, "bytes_per_second", 0));
  return progress;
}

Result<std::string> text_from_json(const Json& json) {
  if (!json.is_string()) return fail(ErrorKind::corrupt, "not a text");
  return json.get<std::string>();
}

}  // namespace

std::string_view name_of(SnapshotState state) {
  return kStates.of(state);
}

SnapshotState snapshot_state(std::string_view name) {
  return kStates.find(name).value_or(SnapshotState::other);
}

std::string_view name_of(Location location) {
  return kLocations.of(location);
}

Location location_of(std::string_view name) {
  return kLocations.find(name).value_or(Location::other);
}

Snapshot snapshot_of(const Manifest& manifest, NodeDetail detail) {
  Snapshot snapshot;
  snapshot.name = manifest.name;
  snapshot.id = manifest.id;
  snapshot.created_by = manifest.created_by;
  snapshot.state = SnapshotState::completed;
  snapshot.complete = manifest.complete;
  snapshot.window = manifest.window;
  snapshot.created_ns = manifest.created_ns;
  snapshot.tags = manifest.tags;
  snapshot.networks = manifest.ip_filter;
  std::map<std::string, uint64_t> members;
  for (const MemberEntry& member : manifest.members) {
    saturate(snapshot.content_bytes, member.size);
    saturate(snapshot.packets, member.packets);
    ++members[member.node];
  }
  for (const NodeEntry& node : manifest.nodes) {
    if (node.status != "complete" && snapshot.reason.empty())
      snapshot.reason = fmt::format("node {} is {}: {}", node.name, node.status, node.reason);
    SnapshotNode& one = snapshot.nodes.emplace_back();
    one.members_total = one.members_done = members[node.name];
    if (detail == NodeDetail::full) {
      one.entry = node;
      continue;
    }
    one.entry.name = node.name;
    one.entry.version = node.version;
    one.entry.status = node.status;
    one.entry.reason = node.reason;
    one.entry.coverage = node.coverage;
    one.entry.packets = node.packets;
    one.entry.bytes = node.bytes;
    one.entry.layers = node.layers;
    one.entry.losses_counted = node.losses_counted;
  }
  snapshot.progress.members_total = snapshot.progress.members_done = manifest.members.size();
  snapshot.progress.bytes_total = snapshot.progress.bytes_done = snapshot.content_bytes;
  return snapshot;
}

Json snapshot_facts_to_json(const Snapshot& snapshot) {
  const SnapshotProgress& progress = snapshot.progress;
  const bool window_known = !snapshot.window.empty();
  return {{"name", snapshot.name},
          {"id", snapshot.id},
          {"created_by", snapshot.created_by},
          {"state", name_of(snapshot.state)},
          {"complete", snapshot.complete},
          {"reason", snapshot.reason},
          {"from", window_known ? time_to_json(snapshot.window.from_ns) : Json(nullptr)},
          {"to", window_known ? time_to_json(snapshot.window.to_ns) : Json(nullptr)},
          {"created", known_time(snapshot.created_ns)},
          {"finished", known_time(snapshot.finished_ns)},
          {"size_bytes", snapshot.size_bytes},
          {"content_bytes", snapshot.content_bytes},
          {"packets", snapshot.packets},
          {"tags", snapshot.tags},
          {"networks", snapshot.networks},
          {"location", name_of(snapshot.location)},
          {"progress",
           {{"members_total", progress.members_total},
            {"members_done", progress.members_done},
            {"bytes_total", progress.bytes_total},
            {"bytes_done", progress.bytes_done},
            {"bytes_per_second", progress.bytes_per_second}}}};
}

Json snapshot_to_json(const Snapshot& snapshot, NodeDetail detail) {
  Json json = snapshot_facts_to_json(snapshot);
  Json& nodes = json["nodes"] = Json::array();
  for (const SnapshotNode& node : snapshot.nodes) nodes.push_back(node_json(node, detail));
  return json;
}

std::string snapshot_to_text(const Snapshot& snapshot, NodeDetail detail) {
  std::string text = dump_json(snapshot_facts_to_json(snapshot));
  text.back() = ',';  // for the closing bracket
  text += "\"nodes\":[";
  for (const SnapshotNode& node : snapshot.nodes) {
    if (text.back() != '[') text += ',';
    text += dump_json(node_json(node, detail));
  }
  text += "]}\n";
  return text;
}

Result<Snapshot> snapshot_from_json(const Json& json) {
  Snapshot snapshot;
  TRY_ASSIGN(snapshot.name, json_get<std::string>(json, "name"));
  TRY_ASSIGN(snapshot.id, json_get_or<std::string>(json, "id", ""));
  TRY_ASSIGN(snapshot.created_by, json_get_or<std::string>(json, "created_by", ""));
  TRY_ASSIGN(const std::string state, json_get_or<std::string>(json, "state", ""));
  snapshot.state = snapshot_state(state);
  TRY_ASSIGN(snapshot.complete, json_get_or<bool>(json, "complete", true));
  TRY_ASSIGN(snapshot.reason, json_get_or<std::string>(json, "reason", ""));
  TRY_ASSIGN(const auto from, json_time_or_none(json, "from"));
  TRY_ASSIGN(const auto to, json_time_or_none(json, "to"));
  snapshot.window = {from.value_or(0), to.value_or(0)};
  TRY_ASSIGN(const auto created, json_time_or_none(json, "created"));
  TRY_ASSIGN(const auto finished, json_time_or_none(json, "finished"));
  snapshot.created_ns = created.value_or(0);
  snapshot.finished_ns = finished.value_or(0);
  TRY_ASSIGN(snapshot.size_bytes, json_get_or<uint64_t>(json, "size_bytes", 0));
  TRY_ASSIGN(snapshot.content_bytes, json_get_or<uint64_t>(json, "content_bytes", 0));
  TRY_ASSIGN(snapshot.packets, json_get_or<uint64_t>(json, "packets", 0));
  TRY_ASSIGN(snapshot.networks, list_from_json(json, "networks", kMaxNetworks, text_from_json));
  if (const auto tags = json.find("tags"); tags != json.end() && tags->is_object()) {
    for (const auto& [key, value] : tags->items()) {
      TRY_ASSIGN(snapshot.tags[key], text_from_json(value));
    }
  }
  TRY_ASSIGN(const std::string location, json_get_or<std::string>(json, "location", ""));
  snapshot.location = location_of(location);
  TRY_ASSIGN(snapshot.progress, progress_from_json(json));
  TRY_ASSIGN(snapshot.nodes, list_from_json(json, "nodes", kMaxNodes, snapshot_node));
  return snapshot;
}

}  // namespace lookback::archive
