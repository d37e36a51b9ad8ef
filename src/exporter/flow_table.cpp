#include "exporter/flow_table.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "exporter/attribution.hpp"
#include "exporter/service_ports.hpp"
#include "lookback/base/ip_protocol.hpp"

namespace lookback::exporter {

namespace {

/// Its conversations are connections, which somebody opens and somebody waits for.
bool has_connections(uint8_t protocol) {
  return protocol == ip_protocol::kTcp || protocol == ip_protocol::kDccp || protocol == ip_protocol::kSctp;
}

}  // namespace

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
  uint32_t number = *known, twin_of = FlowIndex::kNone;
  if (number != FlowIndex::kNone && packet.direction != packet::Direction::unknown &&
      passes_again(entries_[number], from, packet.direction)) {
    twin_of = number;
    number = entries_[number].twin;
  }
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
    judge_client(entry, packet, from);
    if (twin_of == FlowIndex::kNone) {
      *known = number;
    } else {
      entry.pass = 1;
      entries_[twin_of].twin = number;
    }
  }
  Entry& entry = entries_[number];
  entry.last_ns = std::max(entry.last_ns, time_ns);
  if (entry.directions[from] == packet::Direction::unknown)
    entry.directions[from] = packet.direction;
  Side& side = entry.sides[from];
  ++side.packets;
  side.bytes += packet.original_length;
  if (packet.is_tcp && entry.tcp.add(from, packet, time_ns)) ++side.retransmits;
  return learn_owners(entry, packet, from, time_ns);
}

/// A router that sends out where it received sees each packet twice on one interface. Elsewhere an
/// end's packets go one way; on a mirror port or a loopback interface those of both ends may.
bool FlowTable::passes_again(const Entry& entry, unsigned from,
                             packet::Direction direction) const {
  using packet::Direction;
  if (entry.directions[from] != Direction::unknown) return entry.directions[from] != direction;
  if (entry.twin == FlowIndex::kNone) return false;
  // The answer leaves where the question came in.
  const Entry& twin = entries_[entry.twin];
  if (twin.directions[from] != Direction::unknown) return twin.directions[from] == direction;
  return entry.directions[1 - from] == direction;
}

/// Which end opened the conversation, as far as its first packet tells.
void FlowTable::judge_client(Entry& entry, const PacketDigest& packet, unsigned from) {
  constexpr uint8_t kBoth = tcp_flag::kSyn | tcp_flag::kAck;
  if (packet.is_tcp && (packet.tcp_flags & tcp_flag::kSyn) != 0) {
    entry.client = static_cast<uint8_t>((packet.tcp_flags & kBoth) == kBoth ? 1 - from : from);
    entry.client_by = ClientKnownBy::handshake;
    return;
  }
  const auto service = service_of(entry.key.low_port, entry.key.high_port,
                                  has_connections(entry.key.protocol));
  entry.client = static_cast<uint8_t>(service ? 1 - *service : from);
  entry.client_by = service ? ClientKnownBy::ports : ClientKnownBy::first_packet;
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
  if (owners.server != PacketOwners::Server::unknown && entry.client_by < ClientKnownBy::system) {
    entry.client = static_cast<uint8_t>(
        owners.server == PacketOwners::Server::receiver ? from : 1 - from);
    entry.client_by = ClientKnownBy::system;
  }
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

Sighting FlowTable::sighting_of(const Entry& entry) {
  Sighting sighting;
  sighting.interface = entry.key.interface;
  sighting.ifindex = entry.key.ifindex;
  sighting.network = entry.key.network;
  sighting.pass = entry.pass;
  sighting.first_ns = entry.first_ns;
  sighting.last_ns = entry.last_ns;
  for (unsigned end = 0; end < 2; ++end) sighting.initial[end] = entry.tcp.initial_sequence(end);
  return sighting;
}

Flow FlowTable::flow_of(const Entry& entry) const {
  Flow flow;
  flow.node = plan_.nodes[entry.node].entry->name;
  flow.interface = plan_.interfaces->at(entry.key.interface).name;
  flow.ifindex = entry.key.ifindex;
  const NetworkId network = NetworkId::unpack(entry.key.network);
  flow.vlans.assign(network.vlans, network.vlans + std::min<size_t>(network.vlan_count, 2));
  if (network.has_tunnel) flow.tunnel_id = network.tunnel;
  flow.protocol = entry.key.protocol;
  if (flow.protocol == ip_protocol::kTcp) {
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

void FlowTable::choose_sightings(std::span<const uint32_t> entries,
                                 std::vector<uint32_t>& chosen) const {
  if (entries.size() == 1) {
    chosen.push_back(entries[0]);
    return;
  }
  const auto packets_of = [&](uint32_t number) {
    return entries_[number].sides[0].packets + entries_[number].sides[1].packets;
  };
  const size_t before = chosen.size();
  FlowSightings sightings;
  for (const uint32_t number : entries) {
    const Sighting sighting = sighting_of(entries_[number]);
    const auto flow = sightings.find(sighting);
    if (!flow) {
      (void)sightings.add(sighting);
      chosen.push_back(number);
    } else if (packets_of(number) > packets_of(chosen[before + *flow])) {
      sightings.replace(*flow, sighting);
      chosen[before + *flow] = number;
    }
  }
}

Result<std::vector<Flow>> FlowTable::take(const std::atomic<bool>* cancelled) {
  const auto ends_of = [](const Entry& entry) {
    const FlowKey& key = entry.key;
    return std::tie(entry.node, key.protocol, key.low, key.high, key.low_port, key.high_port);
  };
  const auto is_cancelled = [&] {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
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
    if (is_cancelled()) return fail(ErrorKind::cancelled, "the report was cancelled");
    // Sightings of connections between the same ends, of which each is told once.
    size_t end = at + 1;
    while (end < order.size() && ends_of(entries_[order[end]]) == ends_of(entries_[order[at]]))
      ++end;
    choose_sightings(std::span(order).subspan(at, end - at), chosen);
    at = end;
  }
  std::sort(chosen.begin(), chosen.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(entries_[a].first_ns, a) < std::tie(entries_[b].first_ns, b);
  });
  std::vector<Flow> flows;
  flows.reserve(chosen.size());
  for (const uint32_t number : chosen) {
    if (is_cancelled()) return fail(ErrorKind::cancelled, "the report was cancelled");
    flows.push_back(flow_of(entries_[number]));
  }
  entries_.clear();
  index_.clear();
  return flows;
}

}  // namespace lookback::exporter
