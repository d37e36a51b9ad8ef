#include "exporter/flow_table.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <tuple>

#include "exporter/attribution.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::exporter {

namespace {

constexpr uint8_t kTcp = 6;
constexpr uint16_t kFirstPortOfAnybody = 1024;
constexpr size_t kFirstSlots = 1024;
/// Two interfaces may see the ends of a flow this far apart: a queue lies between them.
constexpr int64_t kBetweenInterfacesNs = kNsPerSecond;

uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

/// Which end opened the connection, as far as its first packet tells: 0 the one that sent it.
unsigned client_of(const PacketDigest& packet, unsigned from) {
  constexpr uint8_t kBoth = tcp_flag::kSyn | tcp_flag::kAck;
  if (packet.is_tcp && (packet.tcp_flags & kBoth) == tcp_flag::kSyn) return from;
  if (packet.is_tcp && (packet.tcp_flags & kBoth) == kBoth) return 1 - from;
  const bool from_service = packet.source_port != 0 && packet.source_port < kFirstPortOfAnybody &&
                            packet.destination_port >= kFirstPortOfAnybody;
  return from_service ? 1 - from : from;
}

}  // namespace

FlowKey flow_key_of(const PacketDigest& packet, uint32_t interface, unsigned& from) {
  FlowKey key;
  key.interface = interface;
  key.protocol = packet.protocol;
  from = std::tie(packet.source, packet.source_port) <=
                 std::tie(packet.destination, packet.destination_port)
             ? 0
             : 1;
  key.low = from == 0 ? packet.source : packet.destination;
  key.high = from == 0 ? packet.destination : packet.source;
  key.low_port = from == 0 ? packet.source_port : packet.destination_port;
  key.high_port = from == 0 ? packet.destination_port : packet.source_port;
  return key;
}

FlowIndex::FlowIndex() : secret_{random_u64() | 1, random_u64() | 1}, slots_(kFirstSlots) {}

uint64_t FlowIndex::hash(const FlowKey& key) const {
  uint64_t words[5];
  std::memcpy(words, key.low.bytes.data(), 16);
  std::memcpy(words + 2, key.high.bytes.data(), 16);
  words[4] = uint64_t{key.low_port} << 48 | uint64_t{key.high_port} << 32 | key.interface;
  uint64_t value = mix(secret_[0] ^ key.protocol, secret_[1]);
  for (const uint64_t word : words) value = mix(value ^ word ^ secret_[0], secret_[1]);
  return value;
}

FlowIndex::Slot& FlowIndex::slot_of(const FlowKey& key) {
  size_t at = hash(key) & (slots_.size() - 1);
  while (slots_[at].used && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  return slots_[at];
}

uint32_t* FlowIndex::find(const FlowKey& key) {
  Slot& slot = slot_of(key);
  return slot.used ? &slot.number : nullptr;
}

uint32_t& FlowIndex::operator[](const FlowKey& key) {
  if (used_ * 2 >= slots_.size()) grow();
  Slot& slot = slot_of(key);
  if (!slot.used) {
    slot = {key, kNone, true};
    ++used_;
  }
  return slot.number;
}

void FlowIndex::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (!slot.used) continue;
    size_t at = hash(slot.key) & (slots_.size() - 1);
    while (slots_[at].used) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void FlowIndex::clear() {
  slots_.assign(kFirstSlots, {});
  used_ = 0;
}

Result<> FlowTable::admit(const FrameBatch& batch) {
  LOOKBACK_CHECK(batch.digests.size() == batch.packets.size());
  return {};
}

Result<> FlowTable::write(const FrameBatch& batch, uint32_t node, size_t first, size_t last) {
  for (size_t i = first; i < last; ++i) {
    TRY(add(batch.digests[i], node, batch.packets[i].interface, batch.packets[i].time_ns));
  }
  return {};
}

Result<> FlowTable::add(const PacketDigest& packet, uint32_t node, uint32_t interface,
                        int64_t time_ns) {
  if (!packet.is_ip) {
    ++packets_of_no_flow_;
    return {};
  }
  unsigned from = 0;
  const FlowKey key = flow_key_of(packet, interface, from);
  const bool full = entries_.size() >= most_flows_;
  uint32_t* const known = full ? index_.find(key) : &index_[key];
  if (known == nullptr) {
    ++packets_untold_;
    return {};
  }
  uint32_t& number = *known;
  if (number == FlowIndex::kNone || entries_[number].tcp.starts_another(from, packet)) {
    if (full) {
      ++packets_untold_;
      return {};
    }
    number = static_cast<uint32_t>(entries_.size());
    Entry& entry = entries_.emplace_back();
    entry.key = key;
    entry.node = node;
    entry.first_ns = entry.last_ns = time_ns;
    entry.client = static_cast<uint8_t>(client_of(packet, from));
  }
  Entry& entry = entries_[number];
  entry.last_ns = std::max(entry.last_ns, time_ns);
  Side& side = entry.sides[from];
  ++side.packets;
  side.bytes += packet.original_length;
  if (packet.is_tcp && entry.tcp.add(from, packet, time_ns)) ++side.retransmits;
  return learn_owners(entry, packet, from, time_ns);
}

Result<> FlowTable::learn_owners(Entry& entry, const PacketDigest& packet, unsigned from,
                                 int64_t time_ns) {
  if (attribution_ == nullptr || (entry.owners[0] != 0 && entry.owners[1] != 0)) return {};
  TRY_ASSIGN(const PacketOwners owners,
             attribution_->of(entry.node, entry.key.interface, packet, time_ns));
  if (owners.sender != nullptr && entry.owners[from] == 0)
    entry.owners[from] = number_of(*owners.sender);
  if (owners.receiver != nullptr && entry.owners[1 - from] == 0)
    entry.owners[1 - from] = number_of(*owners.receiver);
  return {};
}

/// Flows have few owners among them: each is kept once.
uint32_t FlowTable::number_of(const context::Owner& owner) {
  const std::string id = owner.container ? owner.container->id : std::string();
  const auto [at, added] =
      owner_numbers_.try_emplace(fmt::format("{} {} {}", owner.pid, id, owner.comm), 0);
  if (added) {
    FlowEnd& told = owners_.emplace_back();
    told.pid = owner.pid;
    told.process = owner.comm;
    if (owner.container) {
      told.container = container_name(*owner.container);
      told.container_id = id;
      told.pod_uid = owner.container->pod_uid;
    }
    at->second = static_cast<uint32_t>(owners_.size());
  }
  return at->second;
}

bool FlowTable::same_flow(const Entry& a, const Entry& b) {
  if (a.node != b.node || a.key.interface == b.key.interface) return false;
  if (a.first_ns > b.last_ns + kBetweenInterfacesNs ||
      b.first_ns > a.last_ns + kBetweenInterfacesNs)
    return false;
  for (unsigned end = 0; end < 2; ++end) {
    const auto in_a = a.tcp.initial_sequence(end), in_b = b.tcp.initial_sequence(end);
    if (in_a && in_b && *in_a != *in_b) return false;
  }
  return true;
}

Flow FlowTable::flow_of(const Entry& entry) const {
  Flow flow;
  flow.node = plan_.nodes[entry.node].entry->name;
  flow.interface = plan_.interfaces->at(entry.key.interface).name;
  flow.protocol = entry.key.protocol;
  if (flow.protocol == kTcp) {
    flow.state = entry.tcp.state();
    flow.rtt_ns = entry.tcp.rtt_ns();
  }
  const auto end_of = [&](unsigned end) {
    const Side& side = entry.sides[end];
    FlowEnd told = entry.owners[end] == 0 ? FlowEnd() : owners_[entry.owners[end] - 1];
    told.address = end == 0 ? entry.key.low : entry.key.high;
    told.port = end == 0 ? entry.key.low_port : entry.key.high_port;
    told.packets = side.packets;
    told.bytes = side.bytes;
    told.retransmits = side.retransmits;
    return told;
  };
  flow.client = end_of(entry.client);
  flow.server = end_of(1U - entry.client);
  flow.first_ns = entry.first_ns;
  flow.last_ns = entry.last_ns;
  return flow;
}

std::vector<Flow> FlowTable::take() {
  const auto packets_of = [](const Entry& entry) {
    return entry.sides[0].packets + entry.sides[1].packets;
  };
  const auto ends_of = [](const Entry& entry) {
    const FlowKey& key = entry.key;
    return std::tie(entry.node, key.protocol, key.low, key.high, key.low_port, key.high_port);
  };
  std::vector<uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const Entry &left = entries_[a], &right = entries_[b];
    if (ends_of(left) != ends_of(right)) return ends_of(left) < ends_of(right);
    return std::tie(left.first_ns, left.key.interface, a) <
           std::tie(right.first_ns, right.key.interface, b);
  });
  std::vector<uint32_t> chosen;
  for (size_t at = 0; at < order.size();) {
    // Sightings of connections between the same ends, of which each is told once.
    size_t end = at + 1;
    while (end < order.size() && ends_of(entries_[order[end]]) == ends_of(entries_[order[at]]))
      ++end;
    const size_t first_chosen = chosen.size();
    for (; at < end; ++at) {
      const Entry& entry = entries_[order[at]];
      // Newest first: a connection's other sightings began at about the same time.
      const auto seen =
          std::find_if(chosen.rbegin(), chosen.rend() - static_cast<ptrdiff_t>(first_chosen),
                       [&](uint32_t other) { return same_flow(entries_[other], entry); });
      if (seen == chosen.rend() - static_cast<ptrdiff_t>(first_chosen)) {
        chosen.push_back(order[at]);
      } else if (packets_of(entry) > packets_of(entries_[*seen])) {
        *seen = order[at];
      }
    }
  }
  std::sort(chosen.begin(), chosen.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(entries_[a].first_ns, a) < std::tie(entries_[b].first_ns, b);
  });
  std::vector<Flow> flows;
  flows.reserve(chosen.size());
  for (const uint32_t number : chosen) flows.push_back(flow_of(entries_[number]));
  entries_.clear();
  index_.clear();
  return flows;
}

}  // namespace lookback::exporter
