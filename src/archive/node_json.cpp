#include "lookback/archive/node_json.hpp"

#include <algorithm>
#include <utility>

#include "lookback/base/coverage_json.hpp"
#include "lookback/base/json_list.hpp"
#include "lookback/base/json_time.hpp"
#include "lookback/base/saturating.hpp"

namespace lookback::archive {

namespace {

/// At most as many bytes as a reason may have, never half a character.
std::string clipped(std::string_view text) {
  size_t length = std::min(text.size(), kMaxReason);
  if (length < text.size())
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  return std::string(text.substr(0, length));
}

/// All of them, or as many as a reader takes with the rest in one.
std::vector<Gap> bounded(const std::vector<Gap>& gaps) {
  std::vector<Gap> kept(gaps.begin(), gaps.begin() + static_cast<ptrdiff_t>(std::min(gaps.size(), kMaxNodeGaps)));
  for (size_t i = kMaxNodeGaps; i < gaps.size(); ++i) {
    Gap& last = kept.back();
    last.start_ns = std::min(last.start_ns, gaps[i].start_ns);
    last.end_ns = std::max(last.end_ns, gaps[i].end_ns);
    saturate(last.packets, gaps[i].packets);
    if (last.reason != gaps[i].reason) last.reason = to_string(GapReason::several);
  }
  return kept;
}

/// The texts of an interface that only capture files have.
constexpr std::pair<const char*, std::string InterfaceEntry::*> kInterfaceTexts[] = {{"description", &InterfaceEntry::description},
                                                                                     {"filter", &InterfaceEntry::filter},
                                                                                     {"os", &InterfaceEntry::os},
                                                                                     {"options", &InterfaceEntry::options}};

Json interface_to_json(const InterfaceEntry& interface) {
  Json json{{"name", interface.name}, {"link_type", interface.link_type}, {"mac", interface.mac}};
  if (interface.same_name != 0) json["same_name"] = interface.same_name;
  for (const auto& [key, text] : kInterfaceTexts)
    if (!(interface.*text).empty()) json[key] = interface.*text;
  if (interface.dropped) json["dropped"] = *interface.dropped;
  return json;
}

Result<InterfaceEntry> interface_from_json(const Json& json) {
  InterfaceEntry interface;
  TRY_ASSIGN(interface.name, json_text(json, "name", kMaxInterfaceName));
  TRY_ASSIGN(interface.link_type, json_get<uint16_t>(json, "link_type"));
  TRY_ASSIGN(interface.mac, json_text(json, "mac", kMaxText));
  TRY_ASSIGN(interface.same_name, json_get_or<uint32_t>(json, "same_name", 0));
  // Options are in hex.
  for (const auto& [key, text] : kInterfaceTexts) {
    TRY_ASSIGN(interface.*text, json_text(json, key, 2 * kMaxInterfaceText));
  }
  if (json.contains("dropped")) {
    TRY_ASSIGN(interface.dropped, json_get<uint64_t>(json, "dropped"));
  }
  return interface;
}

Json excluded_to_json(const ExcludedEntry& excluded) {
  return {{"connection", excluded.connection}, {"from", time_to_json(excluded.from_ns)}, {"to", time_to_json(excluded.to_ns)}};
}

Result<ExcludedEntry> excluded_from_json(const Json& json) {
  ExcludedEntry excluded;
  TRY_ASSIGN(excluded.connection, json_text(json, "connection", kMaxText));
  TRY_ASSIGN(excluded.from_ns, json_time(json, "from"));
  TRY_ASSIGN(excluded.to_ns, json_time(json, "to"));
  return excluded;
}

Json layers_to_json(const std::vector<LayerEntry>& layers) {
  Json object = Json::object();
  for (const LayerEntry& layer : layers) object[layer.name] = {{"state", layer.state}, {"reason", clipped(layer.reason)}};
  return object;
}

Result<std::vector<LayerEntry>> layers_from_json(const Json& object) {
  std::vector<LayerEntry> layers;
  const auto found = object.find("layers");
  if (found == object.end() || found->is_null()) return layers;
  if (!found->is_object() || found->size() > kMaxNodeLayers)
    return fail(ErrorKind::corrupt, "'layers' is not an object of at most {} layers", kMaxNodeLayers);
  for (const auto& [name, value] : found->items()) {
    if (name.size() > kMaxText) return fail(ErrorKind::corrupt, "the name of a layer is longer than {} bytes", kMaxText);
    LayerEntry layer{name, "", ""};
    TRY_ASSIGN(layer.state, json_text(value, "state", kMaxText));
    TRY_ASSIGN(layer.reason, json_text(value, "reason", kMaxReason));
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace

Json node_to_json(const NodeEntry& node, NodeDetail detail) {
  Json json{{"name", node.name},
            {"version", node.version},
            {"status", node.status},
            {"reason", clipped(node.reason)},
            {"coverage", window_to_json(node.coverage)},
            {"packets", node.packets},
            {"bytes", node.bytes},
            {"layers", layers_to_json(node.layers)},
            {"losses_counted", node.losses_counted}};
  if (detail == NodeDetail::brief) return json;
  json["gaps"] = gaps_to_json(bounded(node.gaps));
  json["clock"] = clock_to_json(node.clock);
  json["interfaces"] = list_to_json(node.interfaces, interface_to_json);
  json["excluded"] = list_to_json(node.excluded, excluded_to_json);
  json["origin"] = node.origin;
  return json;
}

Result<NodeEntry> node_from_json(const Json& json) {
  NodeEntry node;
  TRY_ASSIGN(node.name, json_text(json, "name", kMaxText));
  TRY_ASSIGN(node.version, json_text(json, "version", kMaxText));
  TRY_ASSIGN(node.status, json_text(json, "status", kMaxText));
  TRY_ASSIGN(node.reason, json_text(json, "reason", kMaxReason));
  TRY_ASSIGN(node.coverage, json_window_or_none(json, "coverage"));
  TRY_ASSIGN(node.packets, json_get_or<uint64_t>(json, "packets", 0));
  TRY_ASSIGN(node.bytes, json_get_or<uint64_t>(json, "bytes", 0));
  TRY_ASSIGN(node.losses_counted, json_get_or<bool>(json, "losses_counted", true));
  TRY_ASSIGN(node.origin, json_text(json, "origin", kMaxInterfaceText));
  TRY(read_evidence(json, node));
  return node;
}

Result<> read_evidence(const Json& json, NodeEntry& node, size_t most_gaps) {
  TRY_ASSIGN(node.gaps, gaps_from_json(json, "gaps", most_gaps));
  TRY_ASSIGN(node.clock, clock_from_json(json, "clock", kMaxNodeClock));
  TRY_ASSIGN(node.interfaces, list_from_json(json, "interfaces", kMaxNodeInterfaces, interface_from_json));
  TRY_ASSIGN(node.layers, layers_from_json(json));
  TRY_ASSIGN(node.excluded, list_from_json(json, "excluded", kMaxNodeExcluded, excluded_from_json));
  return {};
}

}  // namespace lookback::archive
