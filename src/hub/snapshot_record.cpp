#include "snapshot_record.hpp"

#include "json_text.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/base/json_fields.hpp"

namespace lookback::hub {

namespace {

using archive::kMaxText;
constexpr size_t kMaxInterfaces = 10'000, kMaxExcluded = archive::kMaxNodeExcluded;
constexpr size_t kMaxMembers = 1'000'000;
/// Of a node in our own job.json: so many members, with all that is told of each.
constexpr size_t kMaxNodeValues = 8 * kMaxMembers;
constexpr uint32_t kMaxMemberIndex = 99'999'999;  // eight digits in the archive

/// Reads an array of at most `limit` elements; a missing or null one is empty.
template <class T, class Read>
Result<std::vector<T>> read_array(const Json& object, const char* key, size_t limit, Read read) {
  std::vector<T> out;
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return out;
  if (!it->is_array()) return fail(ErrorKind::corrupt, "'{}' is not an array", key);
  if (it->size() > limit)
    return fail(ErrorKind::corrupt, "'{}' has {} elements, {} are allowed", key, it->size(), limit);
  out.reserve(it->size());
  for (const Json& one : *it) {
    Result<T> value = read(one);
    if (!value) return tl::make_unexpected(value.error().in(key));
    out.push_back(std::move(*value));
  }
  return out;
}

Result<std::string> text_of(const Json& object, std::string_view key) {
  TRY_ASSIGN(std::string text, json_get_or<std::string>(object, key, ""));
  if (text.size() > kMaxText)
    return fail(ErrorKind::corrupt, "'{}' is longer than {} characters", key, kMaxText);
  return text;
}

Json node_to_json(const NodeRecord& node) {
  Json interfaces = Json::array();
  for (const archive::InterfaceEntry& one : node.entry.interfaces)
    interfaces.push_back({{"name", one.name}, {"link_type", one.link_type}, {"mac", one.mac}});
  Json members = Json::array();
  for (const FrozenMember& one : node.members) {
    Json member = {{"index", one.index},
                       {"kind", one.os_events ? "os-events" : "packets"},
                       {"packets", one.packets},
                       {"content_bytes", one.content_bytes},
                       {"state", one.given_up ? "given_up" : "available"}};
    if (one.stamps) {
      member["first"] = time_json(one.stamps->from_ns);
      member["last"] = time_json(one.stamps->to_ns - 1);
    }
    members.push_back(std::move(member));
  }
  return {{"name", node.entry.name},
          {"version", node.entry.version},
          {"status", node.entry.status},
          {"reason", node.entry.reason},
          {"coverage", coverage_json(node.entry.coverage)},
          {"gaps", gaps_json(node.entry.gaps)},
          {"clock", clock_samples_json(node.entry.clock)},
          {"interfaces", std::move(interfaces)},
          {"layers", layers_json(node.entry.layers)},
          {"excluded", excluded_json(node.entry.excluded)},
          {"url", node.place.url},
          {"address", node.place.address},
          {"frozen", node.frozen},
          {"window", coverage_json(node.window)},
          {"covers_window", node.covers_window},
          {"content_bytes", node.content_bytes},
          {"compressed_bytes", node.compressed_bytes},
          {"members", std::move(members)}};
}

Result<NodeRecord> node_from_json(const Json& json) {
  NodeRecord node;
  TRY_ASSIGN(node.entry.name, json_get<std::string>(json, "name"));
  TRY_ASSIGN(node.entry.version, json_get<std::string>(json, "version"));
  TRY_ASSIGN(node.entry.status, json_get<std::string>(json, "status"));
  TRY_ASSIGN(node.entry.reason, json_get<std::string>(json, "reason"));
  if (const auto coverage = json.find("coverage");
      coverage != json.end() && coverage->is_object()) {
    TimeWindow window;
    TRY_ASSIGN(window.from_ns, json_time(*coverage, "from"));
    TRY_ASSIGN(window.to_ns, json_time(*coverage, "to"));
    node.entry.coverage = window;
  }
  TRY_ASSIGN(node.entry.gaps, gaps_from_json(json));
  TRY_ASSIGN(node.entry.clock, clock_samples_from_json(json));
  TRY_ASSIGN(node.entry.interfaces, interfaces_from_json(json));
  TRY_ASSIGN(node.entry.layers, layers_from_json(json));
  TRY_ASSIGN(node.entry.excluded, excluded_from_json(json));
  TRY_ASSIGN(node.place.url, json_get<std::string>(json, "url"));
  TRY_ASSIGN(node.place.address, json_get_or<std::string>(json, "address", ""));
  TRY_ASSIGN(node.frozen, json_get<bool>(json, "frozen"));
  TRY_ASSIGN(node.covers_window, json_get<bool>(json, "covers_window"));
  if (const auto window = json.find("window"); window != json.end() && window->is_object()) {
    TRY_ASSIGN(node.window.from_ns, json_time(*window, "from"));
    TRY_ASSIGN(node.window.to_ns, json_time(*window, "to"));
  }
  TRY_ASSIGN(node.content_bytes, json_get<uint64_t>(json, "content_bytes"));
  TRY_ASSIGN(node.compressed_bytes, json_get<uint64_t>(json, "compressed_bytes"));
  TRY_ASSIGN(node.members, members_from_json(json));
  return node;
}

}  // namespace

Json gaps_json(const std::vector<archive::Gap>& gaps) {
  Json list = Json::array();
  for (const archive::Gap& gap : gaps)
    list.push_back({{"start", time_json(gap.start_ns)},
                    {"end", time_json(gap.end_ns)},
                    {"packets", gap.packets},
                    {"reason", gap.reason}});
  return list;
}

Json clock_samples_json(const std::vector<archive::ClockSample>& samples) {
  Json list = Json::array();
  for (const archive::ClockSample& one : samples)
    list.push_back({{"time", time_json(one.time_ns)},
                    {"offset_ns", one.offset_ns},
                    {"error_ns", one.error_ns},
                    {"step_ns", one.step_ns}});
  return list;
}

Json coverage_json(const std::optional<TimeWindow>& coverage) {
  if (!coverage) return nullptr;
  return {{"from", time_json(coverage->from_ns)}, {"to", time_json(coverage->to_ns)}};
}

Result<std::vector<archive::Gap>> gaps_from_json(const Json& object) {
  return read_array<archive::Gap>(
      object, "gaps", kMaxGaps, [](const Json& json) -> Result<archive::Gap> {
        archive::Gap gap;
        TRY_ASSIGN(gap.start_ns, json_time(json, "start"));
        TRY_ASSIGN(gap.end_ns, json_time(json, "end"));
        TRY_ASSIGN(gap.packets, json_get_or<uint64_t>(json, "packets", 0));
        TRY_ASSIGN(gap.reason, text_of(json, "reason"));
        return gap;
      });
}

Result<std::vector<archive::ClockSample>> clock_samples_from_json(const Json& object) {
  return read_array<archive::ClockSample>(
      object, "clock", archive::kMaxNodeClock, [](const Json& json) -> Result<archive::ClockSample> {
        archive::ClockSample sample;
        TRY_ASSIGN(sample.time_ns, json_time(json, "time"));
        TRY_ASSIGN(sample.offset_ns, json_get<int64_t>(json, "offset_ns"));
        TRY_ASSIGN(sample.error_ns, json_get<int64_t>(json, "error_ns"));
        TRY_ASSIGN(sample.step_ns, json_get_or<int64_t>(json, "step_ns", 0));
        return sample;
      });
}

Result<std::vector<archive::InterfaceEntry>> interfaces_from_json(const Json& object) {
  return read_array<archive::InterfaceEntry>(
      object, "interfaces", kMaxInterfaces,
      [](const Json& json) -> Result<archive::InterfaceEntry> {
        archive::InterfaceEntry interface;
        TRY_ASSIGN(interface.name, text_of(json, "name"));
        TRY_ASSIGN(interface.link_type, json_get<uint16_t>(json, "link_type"));
        TRY_ASSIGN(interface.mac, text_of(json, "mac"));
        return interface;
      });
}

Json excluded_json(const std::vector<archive::ExcludedEntry>& excluded) {
  Json list = Json::array();
  for (const archive::ExcludedEntry& one : excluded)
    list.push_back({{"connection", one.connection},
                    {"from", time_json(one.from_ns)},
                    {"to", time_json(one.to_ns)}});
  return list;
}

Result<std::vector<archive::ExcludedEntry>> excluded_from_json(const Json& object) {
  return read_array<archive::ExcludedEntry>(
      object, "excluded", kMaxExcluded, [](const Json& json) -> Result<archive::ExcludedEntry> {
        archive::ExcludedEntry excluded;
        TRY_ASSIGN(excluded.connection, text_of(json, "connection"));
        TRY_ASSIGN(excluded.from_ns, json_time(json, "from"));
        TRY_ASSIGN(excluded.to_ns, json_time(json, "to"));
        return excluded;
      });
}

Json layers_json(const std::vector<archive::LayerEntry>& layers) {
  Json object = Json::object();
  for (const archive::LayerEntry& one : layers)
    object[one.name] = {{"state", one.state}, {"reason", one.reason}};
  return object;
}

Result<std::vector<archive::LayerEntry>> layers_from_json(const Json& object) {
  std::vector<archive::LayerEntry> layers;
  const auto it = object.find("layers");
  if (it == object.end() || it->is_null()) return layers;
  if (!it->is_object() || it->size() > archive::kMaxNodeLayers)
    return fail(ErrorKind::corrupt, "'layers' is not an object of at most {} layers",
                archive::kMaxNodeLayers);
  for (const auto& [name, value] : it->items()) {
    archive::LayerEntry layer;
    layer.name = name;
    if (name.size() > kMaxText) return fail(ErrorKind::corrupt, "a layer's name is too long");
    TRY_ASSIGN(layer.state, text_of(value, "state"));
    TRY_ASSIGN(layer.reason, text_of(value, "reason"));
    layers.push_back(std::move(layer));
  }
  return layers;
}

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
  if (kind != "packets" && kind != "os-events")
    return fail(ErrorKind::corrupt, "a member of kind '{}'", kind.substr(0, 32));
  member.os_events = kind == "os-events";
  TRY_ASSIGN(const auto first, json_time_or_none(json, "first"));
  TRY_ASSIGN(const auto last, json_time_or_none(json, "last"));
  if (first && last && *last < INT64_MAX) member.stamps = TimeWindow{*first, *last + 1};
  if (member.index > kMaxMemberIndex)
    return fail(ErrorKind::corrupt, "member {} is beyond {}", member.index, kMaxMemberIndex);
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
  for (const NodeRecord& node : nodes) list.push_back(node_to_json(node));
  return to_text({{"version", 1},
                  {"name", name},
                  {"id", id},
                  {"state", state},
                  {"reason", reason},
                  {"from", time_json(window.from_ns)},
                  {"to", time_json(window.to_ns)},
                  {"created", time_json(created_ns)},
                  {"finished", finished_ns == 0 ? Json(nullptr) : time_json(finished_ns)},
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
    TRY_ASSIGN(NodeRecord node, node_from_json(element));
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
  TRY_ASSIGN(record.state, json_get<std::string>(json, "state"));
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
