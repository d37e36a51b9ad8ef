#include "exporter/import_nodes.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include "exporter/interface_texts.hpp"
#include "lookback/archive/member_kind.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/text.hpp"

namespace lookback::exporter {

namespace {

constexpr size_t kMaxNodeName = 63;
/// What a manifest may have.
constexpr size_t kMaxNodes = 10'000;
constexpr size_t kMaxInterfaces = 65'536;
/// What all members in the making may hold together; with many nodes each ends earlier.
constexpr uint64_t kMembersTogether = 256 << 20;
/// So many may be in the making when a file starts, and so many at all.
constexpr size_t kBuildersAtStart = 32, kMaxBuilders = 1024;
constexpr size_t kMaxGaps = 10'000;
/// Longer names are cut: each stands in front of every member.
constexpr size_t kLongestName = 255;
/// Of what a file says of an interface; of all interfaces together.
constexpr size_t kLongestText = 16 << 10;
constexpr uint64_t kMaxTexts = 1 << 20;

/// Cut where a UTF-8 sequence begins.
std::string cut_name(std::string name) {
  if (name.size() <= kLongestName) return name;
  size_t end = kLongestName;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
  name.resize(end);
  return name;
}

}  // namespace

std::string valid_node_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, kMaxNodeName)) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    name += ok ? c : '-';
  }
  const size_t start = name.find_first_not_of(".-");
  name = start == std::string::npos ? "node" : name.substr(start);
  LOOKBACK_CHECK(check_node_name(name).has_value());
  return name;
}

Result<> ImportNodes::start_file(const File& file) {
  file_ = file;
  places_.clear();
  same_in_file_.clear();
  return open_builders_ > kBuildersAtStart ? close_builders() : Result<>{};
}

ImportNodes::Node& ImportNodes::node(const std::string& name) {
  const auto [at, fresh] = nodes_.try_emplace(name);
  if (fresh) {
    at->second.entry.name = name;
    at->second.entry.status = "complete";
    at->second.entry.losses_counted = false;
  }
  return at->second;
}

/// The name of what has no node of its own in this file, settled once it is needed.
std::string ImportNodes::file_node() {
  if (file_.shared_node) return valid_node_name(file_.node);
  const auto [at, fresh] = group_nodes_.try_emplace(file_.group);
  if (!fresh) return at->second;
  const std::string base = valid_node_name(file_.node);
  std::string name = base;
  for (int i = 2; nodes_.contains(name); ++i) {
    const std::string suffix = fmt::format("-{}", i);
    name = base.substr(0, kMaxNodeName - suffix.size()) + suffix;
  }
  return at->second = name;
}

/// In its file an interface is known by its place. Files that share a node have it in common by name, link type, and which it
/// is among those of the file that are equal in both.
Result<> ImportNodes::learn_interface(const packet::PcapngInterface& described, size_t index) {
  const auto own = node_of_description(described.description);
  const std::string name = own ? valid_node_name(own->node) : file_node();
  if (nodes_.size() >= kMaxNodes && !nodes_.contains(name))
    return fail(ErrorKind::invalid, "more than {} nodes in one import", kMaxNodes);

  Node& owner = node(name);
  packet::Interface interface;
  // What stands in an export of ours is escaped already.
  if (!described.name.empty())
    interface.name = cut_name(own ? printable(described.name) : name_to_text(described.name));
  else
    interface.name = file_.unnamed.empty() || index > 0 ? fmt::format("{}{}", file_.unnamed.empty() ? "if" : file_.unnamed + "-", index) : file_.unnamed;
  if (described.name.size() > kLongestName) ++left_out_[fmt::format("ends of interface names longer than {} bytes", kLongestName)];
  interface.link_type = described.link_type;
  const std::string kind = fmt::format("{} {}", interface.link_type, interface.name);
  const uint32_t same_name = same_in_file_[fmt::format("{} {}", name, kind)]++;
  const auto [at, fresh] = owner.numbers.try_emplace(fmt::format("{} {}", same_name, kind), static_cast<uint32_t>(owner.interfaces.size()));
  if (fresh) {
    if (owner.interfaces.size() >= kMaxInterfaces)
      return fail(ErrorKind::invalid, "node {} would have more than {} interfaces", name, kMaxInterfaces);
    if (owner.builder) owner.builder->add_interface(interface, same_name);
    archive::InterfaceEntry& entry = owner.entry.interfaces.emplace_back();
    entry.name = interface.name;
    entry.link_type = interface.link_type;
    entry.same_name = same_name;
    keep_texts(described, own ? own->description : std::string_view(described.description), entry);
    owner.interfaces.push_back({std::move(interface), same_name, 0, {}});
  }
  places_.push_back({&owner, at->second});
  return {};
}

void ImportNodes::keep_texts(const packet::PcapngInterface& described, std::string_view description, archive::InterfaceEntry& entry) {
  const auto keep = [this](std::string text, std::string& to, const char* what) {
    if (text.empty()) return;
    if (text.size() > kLongestText || text_bytes_ + text.size() > kMaxTexts) {
      ++left_out_[what];
      return;
    }
    text_bytes_ += text.size();
    to = std::move(text);
  };
  keep(std::string(description), entry.description, "long or many descriptions of interfaces");
  keep(described.filter, entry.filter, "long or many filters of interfaces");
  keep(described.os, entry.os, "long or many systems of interfaces");
  keep(options_to_text(described.options), entry.options, "long or many options of interfaces");
}

Result<> ImportNodes::open_builder(Node& node) {
  if (node.builder) return {};
  if (open_builders_ >= kMaxBuilders) TRY(close_builders());
  node.builder = std::make_unique<MemberBuilder>(node.entry.name, std::vector<packet::Interface>(), application_);
  for (const NodeInterface& interface : node.interfaces) node.builder->add_interface(interface.described, interface.same_name);
  ++open_builders_;
  return {};
}

Result<> ImportNodes::close_builders() {
  for (auto& [name, node] : nodes_) {
    if (node.builder && node.builder->packets() > 0) TRY(write_member(node));
    node.builder.reset();
  }
  open_builders_ = 0;
  return {};
}

Result<> ImportNodes::add(const ImportedPacket& packet, const std::vector<packet::PcapngInterface>& interfaces) {
  while (places_.size() <= packet.view.interface) {
    LOOKBACK_CHECK(places_.size() < interfaces.size());
    TRY(learn_interface(interfaces[places_.size()], places_.size()));
  }
  const Place place = places_[packet.view.interface];
  Node& owner = *place.node;
  packet::PacketView view = packet.view;
  view.interface = place.interface;
  if (view.data.size() > kMaxPacketBytes) ++cut_packets_;

  TRY(open_builder(owner));
  owner.builder->add(view, packet.options, packet.process);
  if (packet.drop_count > 0) {
    // Between the packet before and this one.
    const int64_t from_ns = owner.packets > 0 ? std::min(owner.previous_ns, view.time_ns) : view.time_ns;
    add_gap(owner, {from_ns, view.time_ns, packet.drop_count, to_string(GapReason::imported_loss)});
    uint64_t& sum = owner.interfaces[view.interface].dropped_by_packets;
    sum += std::min(packet.drop_count, std::numeric_limits<uint64_t>::max() - sum);
  }
  if (owner.packets++ == 0) owner.first_ns = owner.last_ns = view.time_ns;
  owner.first_ns = std::min(owner.first_ns, view.time_ns);
  owner.last_ns = std::max(owner.last_ns, view.time_ns);
  owner.previous_ns = view.time_ns;
  if (owner.builder->packet_bytes() >= member_bytes()) TRY(write_member(owner));
  return {};
}

uint64_t ImportNodes::member_bytes() const {
  return std::clamp<uint64_t>(kMembersTogether / std::max<size_t>(open_builders_, 1), kMemberFrameBytes, kMemberBytes);
}

void ImportNodes::add_gap(Node& node, Gap gap) {
  gap.end_ns = std::max(gap.end_ns, gap.start_ns + 1);  // never an empty interval
  auto& gaps = node.entry.gaps;
  node.entry.status = "partial";
  if (node.entry.reason.empty()) node.entry.reason = "the capture file counts lost packets";
  if (gaps.size() < kMaxGaps) {
    gaps.push_back(std::move(gap));
    return;
  }
  Gap& last = gaps.back();  // so many gaps are told in one
  last.start_ns = std::min(last.start_ns, gap.start_ns);
  last.end_ns = std::max(last.end_ns, gap.end_ns);
  last.packets += std::min(gap.packets, std::numeric_limits<uint64_t>::max() - last.packets);
}

Result<> ImportNodes::end_file(const std::vector<packet::PcapngInterface>& interfaces,
                               const std::vector<std::optional<packet::ReadStatistics>>& statistics,
                               const std::vector<std::string>& origins) {
  for (size_t i = 0; i < std::min(interfaces.size(), statistics.size()); ++i) {
    const auto lost = statistics[i] ? statistics[i]->lost() : std::nullopt;
    if (!lost) continue;
    // Of an interface without packets the losses may be the whole story.
    while (places_.size() <= i) TRY(learn_interface(interfaces[places_.size()], places_.size()));
    Losses& losses = places_[i].node->interfaces[places_[i].interface].by_group[file_.group];
    losses.lost = std::max(losses.lost, *lost);
    if (statistics[i]->start_ns) losses.start_ns = std::min(losses.start_ns.value_or(INT64_MAX), *statistics[i]->start_ns);
    if (statistics[i]->end_ns) losses.end_ns = std::max(losses.end_ns.value_or(0), *statistics[i]->end_ns);
  }
  constexpr size_t kLongestOrigin = 4096;
  std::set<Node*> nodes;
  for (const Place& place : places_) nodes.insert(place.node);
  for (Node* node : nodes) {
    std::string& origin = node->entry.origin;
    for (const std::string& one : origins) {
      if (origin.find(one) != std::string::npos || origin.size() + one.size() > kLongestOrigin) continue;
      origin += (origin.empty() ? "" : "; ") + one;
    }
  }
  return {};
}

/// Losses that no packet told become one gap for each interface and recording.
void ImportNodes::add_statistics(Node& node) {
  bool all_counted = true;
  for (size_t i = 0; i < node.interfaces.size(); ++i) {
    NodeInterface& interface = node.interfaces[i];
    if (interface.by_group.empty()) {
      all_counted = false;
      continue;
    }
    uint64_t sum = 0, told = interface.dropped_by_packets;
    for (const auto& [group, losses] : interface.by_group) {
      sum += std::min(losses.lost, std::numeric_limits<uint64_t>::max() - sum);
      const uint64_t untold = losses.lost - std::min(losses.lost, told);
      told -= std::min(losses.lost, told);
      if (untold == 0) continue;
      const int64_t start_ns = losses.start_ns.value_or(node.first_ns), end_ns = losses.end_ns.value_or(node.last_ns);
      add_gap(node, {start_ns, std::max(start_ns, end_ns), untold,
                     to_string(GapReason::imported_loss)});
    }
    node.entry.interfaces[i].dropped = std::max(sum, interface.dropped_by_packets);
  }
  node.entry.losses_counted = all_counted;
}

void ImportNodes::mark_partial(const std::string& reason) {
  for (const Place& place : places_) {
    place.node->entry.status = "partial";
    place.node->entry.reason = reason;
  }
}

Result<> ImportNodes::write_member(Node& node) {
  const archive::MemberContent member = node.builder->finish();
  const std::string path = archive::member_path(archive::MemberKind::packets, node.entry.name, node.members);
  TRY(writer_.append(path, node.entry.name, member));
  ++node.members;
  return {};
}

Result<> ImportNodes::finish() {
  TRY(close_builders());
  for (auto& [name, node] : nodes_) {
    add_statistics(node);
    if (node.packets > 0) node.entry.coverage = TimeWindow{node.first_ns, node.last_ns + 1};
  }
  return {};
}

std::vector<archive::NodeEntry> ImportNodes::entries() const {
  std::vector<archive::NodeEntry> entries;
  for (const auto& [name, node] : nodes_) entries.push_back(node.entry);
  return entries;
}

TimeWindow ImportNodes::window() const {
  std::optional<TimeWindow> window;
  for (const auto& [name, node] : nodes_) {
    if (!node.entry.coverage) continue;
    if (!window) window = node.entry.coverage;
    window->from_ns = std::min(window->from_ns, node.entry.coverage->from_ns);
    window->to_ns = std::max(window->to_ns, node.entry.coverage->to_ns);
  }
  return window.value_or(TimeWindow{});
}

}  // namespace lookback::exporter
