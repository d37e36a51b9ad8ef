#include "exporter/packet_digest.hpp"

#include <algorithm>
#include <optional>

#include "lookback/base/ip_protocol.hpp"
#include "lookback/packet/decode.hpp"

namespace lookback::exporter {

namespace {

using Bytes = std::span<const std::byte>;

constexpr int kMaxExtensionHeaders = 16;
constexpr size_t kEthernetHeader = 14, kVlanTag = 4;

uint32_t number_at(Bytes data, size_t offset, size_t bytes) {
  if (offset > data.size() || data.size() - offset < bytes) return 0;
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i)
    value = value << 8 | std::to_integer<uint32_t>(data[offset + i]);
  return value;
}

void add_vlan(NetworkId& network, uint16_t id) {
  if (id == 0) return;  // IEEE 802.1Q 9.6: a priority, in whatever network the frame is
  if (network.vlan_count < 2) network.vlans[network.vlan_count] = id;
  network.vlan_count = static_cast<uint8_t>(std::min(network.vlan_count + 1, 3));
}

/// What the tunnel between two IP headers says about the network inside.
void enter_tunnel(const packet::IpLayer& outer, const packet::IpLayer& inner, Bytes data,
                  NetworkId& network) {
  if (outer.transport_offset == 0) return;
  size_t inside = 0;  // where the frame inside begins, if it is one
  if (outer.protocol == ip_protocol::kUdp) {
    // VXLAN (RFC 7348 5) and Geneve (RFC 8926 3.4) have the VNI at the same place.
    constexpr size_t kUdpHeader = 8, kVni = 4, kHeader = 8;
    const size_t header = outer.transport_offset + kUdpHeader;
    network.tunnel = number_at(data, header + kVni, 3);
    network.has_tunnel = true;
    inside = header + kHeader;
  } else if (outer.protocol == ip_protocol::kGre) {
    constexpr uint32_t kChecksum = 0x8000, kKey = 0x2000;  // RFC 2890 2
    const uint32_t flags = number_at(data, outer.transport_offset, 2);
    if ((flags & kKey) == 0) return;
    const size_t key = outer.transport_offset + ((flags & kChecksum) != 0 ? 8U : 4U);
    network.tunnel = number_at(data, key, 4);
    network.has_tunnel = true;
    return;
  } else {
    return;
  }
  // The tags of the frame inside are all that stands between its header and the IP header.
  network.vlan_count = 0;
  network.vlans[0] = network.vlans[1] = 0;
  if (inner.ip_offset <= inside + kEthernetHeader) return;
  const size_t tags = (inner.ip_offset - inside - kEthernetHeader) / kVlanTag;
  for (size_t tag = 0; tag < std::min<size_t>(tags, 3); ++tag)
    add_vlan(network, number_at(data, inside + kEthernetHeader + tag * kVlanTag, 2) & 0x0fff);
}

void read_echo(const packet::IpLayer& ip, Bytes data, PacketDigest& digest) {
  if ((ip.protocol != ip_protocol::kIcmp && ip.protocol != ip_protocol::kIcmp6) || ip.fragment || ip.transport_offset == 0) return;
  if (data.size() < size_t{ip.transport_offset} + 8) return;
  const uint32_t type = number_at(data, ip.transport_offset, 1);
  const uint32_t request = ip.protocol == ip_protocol::kIcmp ? 8 : 128, reply = ip.protocol == ip_protocol::kIcmp ? 0 : 129;
  if (type != request && type != reply) return;
  digest.echo = type == request ? Echo::request : Echo::reply;
  digest.echo_id = static_cast<uint16_t>(number_at(data, ip.transport_offset + 4, 2));
}

/// The identification in IPv6's fragment header.
std::optional<uint32_t> fragment_id_v6(const packet::IpLayer& ip, Bytes data) {
  size_t offset = ip.ip_offset + 40;
  uint32_t next = number_at(data, ip.ip_offset + 6, 1);
  for (int count = 0; count < kMaxExtensionHeaders; ++count) {
    if (next == ip_protocol::kFragment) return number_at(data, offset + 4, 4);
    if (next != ip_protocol::kHopByHop && next != ip_protocol::kRouting && next != ip_protocol::kDestinationOptions && next != ip_protocol::kMobility)
      return std::nullopt;
    next = number_at(data, offset, 1);
    offset += (number_at(data, offset + 1, 1) + 1) * 8;
  }
  return std::nullopt;
}

std::optional<FragmentKey> fragment_key_of(const packet::IpLayer& ip, Bytes data) {
  if (!ip.v6) return FragmentKey{ip.source, ip.destination, number_at(data, ip.ip_offset + 4, 2),
                                 static_cast<uint8_t>(number_at(data, ip.ip_offset + 9, 1))};
  const auto id = fragment_id_v6(ip, data);
  if (!id) return std::nullopt;
  return FragmentKey{ip.source, ip.destination, *id, 0};
}

/// Interface and direction as Linux cooked captures tell them (tcpdump.org/linktypes: LINUX_SLL,
/// LINUX_SLL2).
void read_cooked(uint16_t link_type, Bytes data, PacketDigest& digest) {
  constexpr uint32_t kOutgoing = 4;
  uint32_t type = 0;
  if (link_type == packet::link_type::kLinuxSll2 && data.size() >= 20) {
    digest.ifindex = number_at(data, 4, 4);
    type = number_at(data, 10, 1);
  } else if (link_type == packet::link_type::kLinuxSll && data.size() >= 16) {
    type = number_at(data, 0, 2);
  } else {
    return;
  }
  if (digest.direction == packet::Direction::unknown && type <= kOutgoing)
    digest.direction =
        type == kOutgoing ? packet::Direction::outbound : packet::Direction::inbound;
}

}  // namespace

NetworkId NetworkId::unpack(uint64_t packed) {
  NetworkId network;
  network.tunnel = static_cast<uint32_t>(packed);
  network.has_tunnel = (packed >> 32 & 1) != 0;
  network.vlans[0] = packed >> 33 & 0x0fff;
  network.vlans[1] = packed >> 45 & 0x0fff;
  network.vlan_count = packed >> 57 & 3;
  return network;
}

bool NetworkId::may_be_seen_as(const NetworkId& other) const {
  if (has_tunnel && other.has_tunnel && tunnel != other.tunnel) return false;
  // A tunnel's end may lie in a VLAN of its own.
  if (has_tunnel != other.has_tunnel) return true;
  if (vlan_count == 0 || other.vlan_count == 0) return true;
  if (vlan_count == other.vlan_count)
    return vlans[0] == other.vlans[0] && vlans[1] == other.vlans[1];
  // Tags are taken off from the outside: what is left is the inner one.
  if (vlan_count + other.vlan_count != 3) return true;
  const NetworkId& one = vlan_count == 1 ? *this : other;
  const NetworkId& two = vlan_count == 1 ? other : *this;
  return one.vlans[0] == two.vlans[1];
}

PacketDigest digest_of(uint16_t link_type, const packet::PacketView& packet,
                       std::vector<Fragment>& fragments) {
  const Bytes data = packet.data;
  PacketDigest digest;
  digest.original_length = packet.original_length;
  digest.direction = packet.direction;
  const packet::Headers headers = packet::decode(link_type, data);
  if (headers.ip_count == 0) return digest;
  if (link_type == packet::link_type::kLinuxSll || link_type == packet::link_type::kLinuxSll2)
    read_cooked(link_type, data, digest);
  NetworkId network;
  for (unsigned tag = 0; tag < headers.vlan_count; ++tag) {
    // Only two are known by their numbers.
    if (tag < 2) {
      add_vlan(network, headers.vlan_ids[tag]);
    } else {
      network.vlan_count = 3;
    }
  }
  for (unsigned layer = 0; layer < headers.ip_count; ++layer) {
    const packet::IpLayer& ip = headers.ip[layer];
    if (layer > 0) enter_tunnel(headers.ip[layer - 1], ip, data, network);
    if (digest.fragment != 0 || !(ip.fragment || ip.more_fragments)) continue;
    if (const auto key = fragment_key_of(ip, data)) {
      fragments.push_back({*key, network.packed(), digest.ifindex, !ip.fragment});
      digest.fragment = static_cast<uint32_t>(fragments.size());
    }
  }
  const packet::IpLayer& ip = headers.ip[headers.ip_count - 1];
  digest.is_ip = true;
  digest.network = network.packed();
  digest.source = ip.source;
  digest.destination = ip.destination;
  digest.protocol = ip.protocol;
  if (ip.has_ports) {
    digest.source_port = ip.source_port;
    digest.destination_port = ip.destination_port;
  }
  read_echo(ip, data, digest);
  if (const auto tcp = packet::decode_tcp(ip, data)) {
    digest.is_tcp = true;
    digest.sequence = tcp->sequence;
    digest.acknowledgment = tcp->acknowledgment;
    digest.payload_length = tcp->payload_length;
    digest.tcp_flags = tcp->flags;
    digest.window = tcp->window;
  }
  return digest;
}

}  // namespace lookback::exporter
