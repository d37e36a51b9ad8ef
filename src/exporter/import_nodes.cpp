#include "exporter/import_nodes.hpp"

#include <algorithm>
#include <limits>

#include "lookback/base/gap_reason.hpp"
#include "lookback/base/names.hpp"

namespace lookback::exporter {

namespace {

constexpr size_t kMaxNodeName = 63;
constexpr size_t kMaxNodes = 1024;
/// What all members in the making may hold together; with many nodes each ends earlier.
constexpr uint64_t kMembersTogether = 256 << 20;
constexpr size_t kMaxGaps = 10'000;
constexpr std::string_view kNodePrefix = "node ";

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

void ImportNodes::start_file(const std::string& node_name) {
  file_node_ = node_name;
  file_node_used_ = false;
  places_.clear();
}

ImportNodes::Node& ImportNodes::node(const std::string& name) {
  const auto [at, fresh] = nodes_.try_emplace(name);
  if (fresh) {
    at->second.entry.name = name;
    at->second.entry.status = "complete";
  }
  return at->second;
}

Result<> ImportNodes::learn_interface(const packet::PcapngInterface& described, size_t index) {
  std::string name;
  if (described.description.starts_with(kNodePrefix) && described.description.size() > kNodePrefix.size()) {
    name = valid_node_name(std::string_view(described.description).substr(kNodePrefix.size()));
  } else {
    if (!file_node_used_) {
      const std::string base = file_node_;
      for (int i = 2; nodes_.contains(file_node_); ++i) {
        const std::string suffix = fmt::format("-{}", i);
        file_node_ = base.substr(0, kMaxNodeName - suffix.size()) + suffix;
      }
      file_node_used_ = true;
    }
    name = file_node_;
  }
  if (nodes_.size() >= kMaxNodes && !nodes_.contains(name))
    return fail(ErrorKind::invalid, "more than {} nodes in one import", kMaxNodes);

  Node& owner = node(name);
  packet::Interface interface;
  interface.name = described.name.empty() ? fmt::format("if{}", index) : described.name;
  interface.link_type = described.link_type;
  auto at = std::find(owner.interfaces.begin(), owner.interfaces.end(), interface);
  if (at == owner.interfaces.end()) {
    // A member describes its interfaces at its start, so a new one needs a new member.
    if (owner.builder && owner.builder->packets() > 0) TRY(write_member(owner));
    owner.builder.reset();
    at = owner.interfaces.insert(owner.interfaces.end(), interface);
    owner.entry.interfaces.push_back({interface.name, interface.link_type, ""});
  }
  places_.push_back({&owner, static_cast<uint32_t>(at - owner.interfaces.begin())});
  return {};
}

Result<> ImportNodes::add(const packet::ReadPacket& packet, const std::vector<packet::PcapngInterface>& interfaces) {
  while (places_.size() <= packet.view.interface) {
    LOOKBACK_CHECK(places_.size() < interfaces.size());
    TRY(learn_interface(interfaces[places_.size()], places_.size()));
  }
  Node& owner = *places_[packet.view.interface].node;
  packet::PacketView view = packet.view;
  view.interface = places_[packet.view.interface].interface;
  view.time_ns = std::max<int64_t>(view.time_ns, 0);  // as the builder takes it
  if (view.data.size() > kMaxPacketBytes) ++cut_packets_;

  if (!owner.builder) owner.builder = std::make_unique<MemberBuilder>(owner.entry.name, owner.interfaces, application_);
  owner.builder->add(view);
  if (packet.drop_count > 0) add_gap(owner, view.time_ns, packet.drop_count);
  if (owner.packets++ == 0) owner.first_ns = owner.last_ns = view.time_ns;
  owner.first_ns = std::min(owner.first_ns, view.time_ns);
  owner.last_ns = std::max(owner.last_ns, view.time_ns);
  owner.previous_ns = view.time_ns;
  if (owner.builder->content_bytes() >= member_bytes()) TRY(write_member(owner));
  return {};
}

uint64_t ImportNodes::member_bytes() const {
  return std::clamp<uint64_t>(kMembersTogether / std::max<size_t>(nodes_.size(), 1), kMemberFrameBytes, kMemberBytes);
}

/// Packets that the recorder lost between the packet before and this one.
void ImportNodes::add_gap(Node& node, int64_t until_ns, uint64_t packets) {
  const int64_t from_ns = node.packets > 0 ? std::min(node.previous_ns, until_ns) : until_ns;
  if (until_ns == from_ns && until_ns < INT64_MAX) ++until_ns;  // never an empty interval
  auto& gaps = node.entry.gaps;
  node.entry.status = "partial";
  if (node.entry.reason.empty()) node.entry.reason = "the capture file counts lost packets";
  if (gaps.size() < kMaxGaps) {
    gaps.push_back({from_ns, until_ns, packets, to_string(GapReason::imported_loss)});
    return;
  }
  archive::Gap& last = gaps.back();  // so many gaps are told in one
  last.start_ns = std::min(last.start_ns, from_ns);
  last.end_ns = std::max(last.end_ns, until_ns);
  last.packets += std::min(packets, std::numeric_limits<uint64_t>::max() - last.packets);
}

void ImportNodes::mark_partial(const std::string& reason) {
  for (const Place& place : places_) {
    place.node->entry.status = "partial";
    place.node->entry.reason = reason;
  }
}

Result<> ImportNodes::write_member(Node& node) {
  const archive::MemberContent member = node.builder->finish();
  const std::string path = fmt::format("nodes/{}/packets/{:08}.pcapng", node.entry.name, node.members);
  TRY(writer_.append(path, node.entry.name, member));
  ++node.members;
  return {};
}

Result<> ImportNodes::finish() {
  for (auto& [name, node] : nodes_) {
    if (node.builder && node.builder->packets() > 0) TRY(write_member(node));
    node.builder.reset();
    if (node.packets > 0) node.entry.coverage = TimeWindow{node.first_ns, node.last_ns == INT64_MAX ? INT64_MAX : node.last_ns + 1};
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
