#include "exporter/attribution.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "exporter/tcp_tracker.hpp"
#include "lookback/archive/member_kind.hpp"
#include "lookback/base/ip_protocol.hpp"

namespace lookback::exporter {

namespace {

/// How far ahead of the packets events are read: who accepts a connection is known only then.
constexpr int64_t kAheadNs = 10'000'000'000;
/// A flow whose owner is not known is looked for again after this.
constexpr int64_t kLookAgainNs = 20'000'000;
constexpr size_t kMostFlowStates = 200'000;
constexpr size_t kShortId = 12;
/// Protocols that kernels speak by themselves: a raw socket of one says nothing about whose a packet is. Echoes are an exception: no
/// kernel asks for one.
constexpr uint8_t kSpokenByKernels[] = {1, 2, 4, 6, 17, 33, 41, 47, 50, 51, 58, 103, 108, 115, 132, 136, 137, 255};

context::Address address_of(const packet::IpAddress& address) {
  return address.bytes;
}

bool may_have_socket(const PacketDigest& packet) {
  if (!packet.is_ip) return false;
  if (packet.source_port != 0 || packet.echo != Echo::none) return true;
  return std::find(std::begin(kSpokenByKernels), std::end(kSpokenByKernels), packet.protocol) == std::end(kSpokenByKernels);
}

}  // namespace

/// The events of one node: frames that are still to be read, and what those before them said.
class Attribution::NodeEvents {
 public:
  NodeEvents(const Plan& plan, const PlannedNode& node, const archive::ArchiveReader& archive,
             std::vector<const archive::MemberEntry*> members, const std::atomic<bool>* cancelled)
      : plan_(plan), node_(node), archive_(archive), cancelled_(cancelled) {
    std::sort(members.begin(), members.end(),
              [](const auto* a, const auto* b) { return first_of(*a) < first_of(*b); });
    // The last member that begins before the window: its checkpoint tells all that went before.
    const int64_t start = node.accepted.empty() ? 0 : node.accepted.front().from_ns;
    size_t first = 0;
    while (first + 1 < members.size() && first_of(*members[first + 1]) <= start) ++first;
    members.erase(members.begin(), members.begin() + static_cast<ptrdiff_t>(first));
    members_ = std::move(members);
  }

  Result<> read_until(int64_t time_ns) {
    while (member_ < members_.size()) {
      const archive::MemberEntry& member = *members_[member_];
      if (frame_ == member.frames.size()) {
        ++member_;
        frame_ = 0;
        continue;
      }
      const int64_t first = plan_.written_time(node_, member.frames[frame_].first_ns);
      // A checkpoint tells about all before it: the packets wait for none.
      if (first > time_ns && (member_ > 0 || frame_ > 0)) return {};
      TRY(archive_.read_frame(member, frame_, decoder_, compressed_, content_));
      ++frame_;
      TRY(take_lines());
    }
    return {};
  }

  context::OwnerTable table;
  uint64_t damaged_lines = 0;

 private:
  static int64_t first_of(const archive::MemberEntry& member) {
    return member.frames.empty() ? INT64_MAX : member.frames.front().first_ns;
  }

  Result<> take_lines() {
    std::string_view text(reinterpret_cast<const char*>(content_.data()), content_.size());
    while (!text.empty()) {
      if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed))
        return fail(ErrorKind::cancelled, "the export was cancelled");
      const size_t end = std::min(text.find('\n'), text.size());
      auto record = context::parse_record(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!record) {
        ++damaged_lines;
        continue;
      }
      if (plan_.align_clocks) {
        record->time_ns = plan_.written_time(node_, record->time_ns);
        for (auto* time : {&record->opened_ns, &record->ended_ns}) {
          if (*time) *time = plan_.written_time(node_, **time);
        }
      }
      table.apply(*record);
    }
    return {};
  }

  const Plan& plan_;
  const PlannedNode& node_;
  const archive::ArchiveReader& archive_;
  const std::atomic<bool>* const cancelled_;
  std::vector<const archive::MemberEntry*> members_;
  size_t member_ = 0, frame_ = 0;
  archive::FrameDecoder decoder_;
  std::vector<std::byte> compressed_, content_;
};

Attribution::Attribution(const Plan& plan, const archive::ArchiveReader& archive,
                         const std::atomic<bool>* cancelled)
    : plan_(plan) {
  std::unordered_map<std::string_view, std::vector<const archive::MemberEntry*>> members;
  for (const archive::MemberEntry& member : archive.manifest().members) {
    if (archive::kind_of(member) == archive::MemberKind::os_events) members[member.node].push_back(&member);
  }
  for (const PlannedNode& node : plan.nodes) {
    names_.push_back(node.entry->name);
    const auto events = members.find(node.entry->name);
    nodes_.push_back(events == members.end()
                         ? nullptr
                         : std::make_unique<NodeEvents>(plan, node, archive,
                                                        std::move(events->second), cancelled));
  }
}

Attribution::~Attribution() = default;

bool Attribution::any() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const auto& node) { return node != nullptr; });
}

bool Attribution::knows(uint32_t node) const {
  return nodes_[node] != nullptr;
}

void Attribution::look(NodeEvents& events, Flow& flow, const FlowKey& key, unsigned end,
                       int64_t time_ns) {
  context::Query query;
  query.protocol = key.protocol;
  query.local = address_of(end == 0 ? key.low : key.high);
  query.remote = address_of(end == 0 ? key.high : key.low);
  query.local_port = end == 0 ? key.low_port : key.high_port;
  query.remote_port = end == 0 ? key.high_port : key.low_port;
  query.opens = flow.opened;
  query.time_ns = flow.opened ? flow.first_ns : time_ns;
  query.interface = plan_.interfaces->at(key.interface).name;
  flow.sockets[end] = events.table.find(query);
  flow.serves[end] = events.table.serves(query, flow.sockets[end].get());
  flow.marks[end] = 0;
}

void Attribution::find_owners(Flow& flow, uint64_t version, int64_t time_ns) {
  flow.owners_version = version;
  flow.owners_from_ns = INT64_MIN;
  flow.owners_until_ns = INT64_MAX;
  for (unsigned end = 0; end < 2; ++end) {
    const context::Owner* const before = flow.owners[end];
    flow.owners[end] = nullptr;
    flow.pids[end] = flow.tids[end] = 0;
    const auto& socket = flow.sockets[end];
    if (!socket) continue;
    int64_t from_ns = INT64_MIN, until_ns = INT64_MAX;
    flow.owners[end] = socket->owner_at(time_ns, from_ns, until_ns);
    if (flow.owners[end] != before) flow.marks[end] = 0;
    if (const context::Owner* owner = flow.owners[end]; owner != nullptr) {
      flow.pids[end] = owner->pid;
      flow.tids[end] = owner->tid != 0 ? owner->tid : owner->pid;
    }
    flow.owners_from_ns = std::max(flow.owners_from_ns, from_ns);
    flow.owners_until_ns = std::min(flow.owners_until_ns, until_ns);
    // The port of UDP may be somebody else's then.
    if (socket->to_ns() >= time_ns)
      flow.owners_until_ns = std::min(flow.owners_until_ns, socket->to_ns());
  }
}

Result<PacketOwners> Attribution::of(uint32_t node, uint32_t interface, const PacketDigest& packet,
                                     int64_t time_ns) {
  PacketOwners owners;
  if (!knows(node) || !may_have_socket(packet)) return owners;
  NodeEvents& events = *nodes_[node];
  TRY(events.read_until(saturating_add(time_ns, kAheadNs)));

  unsigned from = 0;
  FlowKey key = flow_key_of(packet, interface, from);
  const bool is_echo = packet.echo != Echo::none;
  if (is_echo) key.low_port = key.high_port = packet.echo_id;
  // Whoever asked; the other end's kernel answers.
  const unsigned asked = packet.echo == Echo::request ? from : 1 - from;
  if (index_.size() >= kMostFlowStates) {  // they are found again as their packets come
    index_.clear();
    flows_.clear();
  }
  uint32_t& number = index_[key];
  const bool fresh = number == FlowIndex::kNone;
  if (fresh) {
    number = static_cast<uint32_t>(flows_.size());
    flows_.emplace_back();
  }
  Flow& flow = flows_[number];
  constexpr uint8_t kBoth = tcp_flag::kSyn | tcp_flag::kAck;
  const bool syn = packet.is_tcp && (packet.tcp_flags & kBoth) == tcp_flag::kSyn;
  if (syn && !(flow.opened && flow.initial == packet.sequence)) {
    flow = {};
    flow.opened = true;
    flow.initial = packet.sequence;
    flow.first_ns = time_ns;
  }
  const uint64_t version = events.table.version();
  const bool again = version != flow.version && time_ns - flow.looked_ns >= kLookAgainNs;
  bool looked = false;
  for (unsigned end = 0; end < 2; ++end) {
    if (is_echo && end != asked) continue;
    const auto& socket = flow.sockets[end];
    // Without connections, who uses a port next says so by no packet.
    const bool over = socket && packet.protocol != ip_protocol::kTcp && socket->to_ns() < time_ns;
    if (flow.version != 0 && !over && (socket || !again)) continue;
    look(events, flow, key, end, time_ns);
    looked = true;
  }
  if (again || flow.version == 0) {
    flow.version = std::max<uint64_t>(1, version);
    flow.looked_ns = time_ns;
  }
  if (looked || flow.owners_version != version || time_ns < flow.owners_from_ns ||
      time_ns >= flow.owners_until_ns)
    find_owners(flow, version, time_ns);
  if (flow.serves[0] != flow.serves[1])
    owners.server = flow.serves[from] ? PacketOwners::Server::sender : PacketOwners::Server::receiver;
  owners.sender = flow.owners[from];
  owners.receiver = flow.owners[1 - from];
  const unsigned one = owners.sender != nullptr ? from : 1 - from;
  owners.pid = flow.pids[one];
  owners.tid = flow.tids[one];
  if (owners.pid != 0) {
    owners.told = &flow.told;
    owners.mark = &flow.marks[one];
  }
  return owners;
}

std::vector<std::string> Attribution::warnings() const {
  std::vector<std::string> lines;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i]) continue;
    const context::OwnerTable& table = nodes_[i]->table;
    const auto warn = [&](uint64_t count, std::string_view what) {
      if (count > 0) lines.push_back(fmt::format("node {}: {} {}", names_[i], count, what));
    };
    warn(nodes_[i]->damaged_lines, "OS events could not be read");
    warn(table.refused(),
         "sockets, processes or containers were too many to be followed: packets may lack theirs");
    warn(table.ambiguous(),
         "times a packet's socket could be one of several that share their port or address: such "
         "packets have no process");
    warn(table.events_lost(), "times OS events were lost: some packets may have no process");
  }
  return lines;
}

std::string container_name(const context::Container& container) {
  return container.name.empty() ? container.id.substr(0, kShortId) : container.name;
}

std::string describe(const context::Owner& owner) {
  std::string text = fmt::format("{} (pid {}", owner.comm.empty() ? "?" : owner.comm, owner.pid);
  if (owner.uid) text += fmt::format(", uid {}", *owner.uid);
  text += ")";
  if (!owner.container) return text;
  const context::Container& container = *owner.container;
  text += fmt::format(" in container {} ({}{}{}", container_name(container), container.runtime,
                      container.runtime.empty() ? "" : " ", container.id.substr(0, kShortId));
  if (!container.image.empty()) text += ", image " + container.image;
  if (!container.pod_uid.empty()) text += ", pod " + container.pod_uid;
  return text + ")";
}

}  // namespace lookback::exporter
