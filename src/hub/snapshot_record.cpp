#include "snapshot_record.hpp"

#include "json_text.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/archive/node_json.hpp"
#include "lookback/base/json_fields.hpp"
#include "lookback/base/json_list.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback::hub {

namespace {

constexpr size_t kMaxMembers = 1'000'000;
/// Of a node in our own job.json: so many members, with all that is told of each.
constexpr size_t kMaxNodeValues = 8 * kMaxMembers;

Json member_to_json(const FrozenMember& member) {
  Json json = {{"index", member.index},
               {"kind", archive::info_of(member.kind).name},
               {"packets", member.packets},
               {"content_bytes", member.content_bytes},
               {"state", member.given_up ? "given_up" : "available"}};
  if (member.stamps) {
    json["first"] = time_to_json(member.stamps->from_ns);
    json["last"] = time_to_json(member.stamps->to_ns - 1);
  }
  return json;
}

Json record_to_json(const NodeRecord& node) {
  Json json = archive::node_to_json(node.entry);
  json["url"] = node.place.url;
  json["address"] = node.place.address;
  json["frozen"] = node.frozen;
  json["window"] = window_to_json(node.window);
  json["covers_window"] = node.covers_window;
  json["content_bytes"] = node.content_bytes;
  json["compressed_bytes"] = node.compressed_bytes;
  json["members"] = list_to_json(node.members, member_to_json);
  return json;
}

Result<NodeRecord> record_from_json(const Json& json) {
  NodeRecord node;
  TRY_ASSIGN(node.entry, archive::node_from_json(json));
  TRY_ASSIGN(node.place.url, json_get<std::string>(json, "url"));
  TRY_ASSIGN(node.place.address, json_get_or<std::string>(json, "address", ""));
  TRY_ASSIGN(node.frozen, json_get<bool>(json, "frozen"));
  TRY_ASSIGN(node.covers_window, json_get<bool>(json, "covers_window"));
  TRY_ASSIGN(const auto window, json_window_or_none(json, "window"));
  node.window = window.value_or(TimeWindow{});
  TRY_ASSIGN(node.content_bytes, json_get<uint64_t>(json, "content_bytes"));
  TRY_ASSIGN(node.compressed_bytes, json_get<uint64_t>(json, "compressed_bytes"));
  TRY_ASSIGN(node.members, members_from_json(json));
  return node;
}

}  // namespace

Result<> add_member(const Json& json, std::vector<FrozenMember>& members) {
  FrozenMember member;
  TRY_ASSIGN(member.index, json_get<uint32_t>(json, "index"));
  TRY_ASSIGN(member.packets, json_get_or<uint64_t>(json, "packets", 0));
  TRY_ASSIGN(member.content_bytes, json_get<uint64_t>(json, "content_bytes"));
  TRY_ASSIGN(const std::string state, json_get_or<std::string>(json, "state", "available"));
  if (state != "available" && state != "given_up")
    return fail(ErrorKind::corrupt, "a member of state '{}'", state.substr(0, 32));
  member.given_up = state == "given_up";
  TRY_ASSIGN(const std::string kind, json_get_or<std::string>(json, "kind", "packets"));
  const auto known = archive::member_kind(kind);
  if (!known) return fail(ErrorKind::corrupt, "a member of kind '{}'", kind.substr(0, 32));
  member.kind = *known;
  TRY_ASSIGN(const auto first, json_time_or_none(json, "first"));
  TRY_ASSIGN(const auto last, json_time_or_none(json, "last"));
  if (first && last && *last < INT64_MAX) member.stamps = TimeWindow{*first, *last + 1};
  if (member.index > archive::kMaxMemberIndex)
    return fail(ErrorKind::corrupt, "member {} is beyond {}", member.index, archive::kMaxMemberIndex);
  if (member.content_bytes > archive::kMaxMemberContent)
    return fail(ErrorKind::corrupt, "member {} has {} bytes, {} are allowed", member.index,
                member.content_bytes, archive::kMaxMemberContent);
  if (members.size() == kMaxMembers)
    return fail(ErrorKind::corrupt, "'members' has more than {} elements", kMaxMembers);
  if (!members.empty() && member.index <= members.back().index)
    return fail(ErrorKind::corrupt, "the members are not in order");
  members.push_back(member);
  return {};
}

Result<std::vector<FrozenMember>> members_from_json(const Json& object) {
  std::vector<FrozenMember> members;
  const auto it = object.find("members");
  if (it == object.end() || it->is_null()) return members;
  if (!it->is_array()) return fail(ErrorKind::corrupt, "'members' is not an array");
  for (const Json& one : *it) TRY(add_member(one, members));
  return members;
}

Result<> check_node_entry(const archive::NodeEntry& entry) {
  archive::Manifest manifest;
  manifest.name = "check";
  manifest.id = "check";
  manifest.window = {0, 1};
  manifest.nodes.push_back(entry);
  if (manifest.nodes[0].status.empty()) manifest.nodes[0].status = "complete";
  if (auto read = archive::Manifest::from_json(manifest.to_json()); !read)
    return fail(ErrorKind::corrupt, "{}", read.error().message);
  return {};
}

std::string SnapshotRecord::to_json() const {
  Json list = Json::array();
  for (const NodeRecord& node : nodes) list.push_back(record_to_json(node));
  return to_text({{"version", 1},
                  {"name", name},
                  {"id", id},
                  {"state", archive::name_of(state)},
                  {"reason", reason},
                  {"from", time_to_json(window.from_ns)},
                  {"to", time_to_json(window.to_ns)},
                  {"created", time_to_json(created_ns)},
                  {"finished", finished_ns == 0 ? Json(nullptr) : time_to_json(finished_ns)},
                  {"deadline_ns", deadline_ns},
                  {"networks", networks},
                  {"tags", tags},
                  {"nodes", std::move(list)}});
}

Result<SnapshotRecord> SnapshotRecord::from_json(std::string_view text) {
  SnapshotRecord record;
  Json json = Json::object();
  FieldHandlers handlers;
  handlers.max_values = kMaxNodeValues;
  handlers.field = [&](const std::string& key, Json&& value) -> Result<> {
    json[key] = std::move(value);
    return {};
  };
  handlers.is_streamed = [](const std::string& key) { return key == "nodes"; };
  handlers.element = [&](const std::string&, Json&& element) -> Result<> {
    TRY_ASSIGN(NodeRecord node, record_from_json(element));
    record.nodes.push_back(std::move(node));
    return {};
  };
  handlers.is_unknown = [](const std::string&) { return false; };
  TRY(read_json_fields(text, handlers));
  TRY_ASSIGN(const int version, json_get<int>(json, "version"));
  if (version != 1)
    return fail(ErrorKind::failed,
                "the job is of version {}, this lookback knows version 1: use a newer one",
                version);
  TRY_ASSIGN(record.name, json_get<std::string>(json, "name"));
  TRY_ASSIGN(record.id, json_get<std::string>(json, "id"));
  TRY_ASSIGN(const std::string state, json_get<std::string>(json, "state"));
  record.state = archive::snapshot_state(state);
  TRY_ASSIGN(record.reason, json_get<std::string>(json, "reason"));
  TRY_ASSIGN(record.window.from_ns, json_time(json, "from"));
  TRY_ASSIGN(record.window.to_ns, json_time(json, "to"));
  TRY_ASSIGN(record.created_ns, json_time(json, "created"));
  TRY_ASSIGN(const std::optional<int64_t> finished, json_time_or_none(json, "finished"));
  record.finished_ns = finished.value_or(0);
  TRY_ASSIGN(record.deadline_ns, json_get<int64_t>(json, "deadline_ns"));
  const auto networks = json.find("networks"), tags = json.find("tags");
  if (networks == json.end() || !networks->is_array() || tags == json.end() || !tags->is_object())
    return fail(ErrorKind::corrupt, "'networks' or 'tags' is missing");
  for (const Json& one : *networks) {
    if (!one.is_string())
      return fail(ErrorKind::corrupt, "'networks' holds something else than texts");
    record.networks.push_back(one.get<std::string>());
  }
  for (const auto& [key, value] : tags->items()) {
    if (!value.is_string())
      return fail(ErrorKind::corrupt, "'tags' holds something else than texts");
    record.tags[key] = value.get<std::string>();
  }
  return record;
}

}  // namespace lookback::hub
