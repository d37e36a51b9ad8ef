#include "lookback/packet/decode.hpp"

#include "packet/load.hpp"
#include "packet/tunnel_ports.hpp"

namespace lookback::packet {

namespace {

constexpr uint16_t kEtherIpv4 = 0x0800, kEtherArp = 0x0806, kEtherRarp = 0x8035,
                   kEtherIpv6 = 0x86dd, kEtherBridged = 0x6558;
constexpr uint16_t kSmallestEtherType = 0x0600;  // below it the field is a length (IEEE 802.3)
constexpr uint8_t kHopByHop = 0, kIpInIp = 4, kTcp = 6, kUdp = 17, kDccp = 33, kIpv6InIp = 41,
                  kRouting = 43, kFragment = 44, kGre = 47, kAuthentication = 51,
                  kDestinationOptions = 60, kEtherIp = 97, kL2tp = 115, kSctp = 132,
                  kMobility = 135, kUdpLite = 136, kMplsInIp = 137, kHostIdentity = 139,
                  kShim6 = 140;
constexpr int kMaxTags = 8, kMaxExtensionHeaders = 16;

constexpr bool is_vlan(uint16_t ether_type) {
  return ether_type == 0x8100 || ether_type == 0x88a8 || ether_type == 0x9100 ||
         ether_type == 0x9200 || ether_type == 0x9300;
}

/// EtherTypes that carry neither IP nor ARP: control protocols of the link itself.
constexpr bool carries_no_ip(uint16_t ether_type) {
  switch (ether_type) {
    case 0x0842:  // wake on LAN
    case 0x8137:  // IPX
    case 0x809b:  // AppleTalk
    case 0x80f3:  // AppleTalk ARP
    case 0x8808:  // flow control
    case 0x8809:  // slow protocols (LACP)
    case 0x8863:  // PPPoE discovery
    case 0x887b:  // HomePlug
    case 0x888e:  // EAPOL
    case 0x8892:  // PROFINET
    case 0x889a:  // HyperSCSI
    case 0x88a2:  // ATA over Ethernet
    case 0x88a4:  // EtherCAT
    case 0x88b8:  // GOOSE
    case 0x88ba:  // sampled values
    case 0x88bf:  // RoMON
    case 0x88ca:  // TIPC
    case 0x88cc:  // LLDP
    case 0x88e1:  // HomePlug AV
    case 0x88e3:  // MRP
    case 0x88f5:  // MVRP
    case 0x88f6:  // MMRP
    case 0x88f7:  // PTP
    case 0x88fb:  // PRP
    case 0x8902:  // connectivity fault management
    case 0x8906:  // FCoE
    case 0x890d:  // TDLS, 802.11 management
    case 0x8914:  // FCoE initialization
    case 0x9000:  // configuration testing
      return true;
    default:
      return false;
  }
}

class Decoder {
 public:
  Decoder(std::span<const std::byte> data, Headers& headers)
      : base_(data.data()),
        size_(data.size() > kLimit ? kLimit : static_cast<uint32_t>(data.size())),
        out_(headers) {}

  void link(uint16_t link_type) {
    switch (link_type) {
      case link_type::kEthernet:
        return ethernet(0, true);
      case link_type::kRaw:
      case 12:  // what BSD systems wrote for raw IP
      case 14:
        return raw_ip(0);
      case link_type::kIpv4:
        return network(kEtherIpv4, 0);
      case link_type::kIpv6:
        return network(kEtherIpv6, 0);
      case link_type::kLinuxSll:
        return has(0, 16) ? tagged(load_be16(base_ + 14), 16, true) : opaque();
      case link_type::kLinuxSll2:
        return has(0, 20) ? tagged(load_be16(base_), 20, true) : opaque();
      case link_type::kNull:
      case link_type::kLoop:
        return address_family();
      default:
        return opaque();
    }
  }

 private:
  static constexpr uint32_t kLimit = 1u << 30;  // keeps sums of offsets inside 32 bits

  [[nodiscard]] bool has(uint32_t offset, uint32_t bytes) const {
    return offset <= size_ && size_ - offset >= bytes;
  }
  void opaque() { out_.opaque = true; }

  /// BSD loopback: the address family in the byte order of the machine that recorded (LOOP: network
  /// order).
  void address_family() {
    if (!has(0, 4)) return opaque();
    uint32_t family = load<uint32_t>(base_);
    if (family > 0xffff) family = __builtin_bswap32(family);
    switch (family) {
      case 2:
        return network(kEtherIpv4, 4);
      case 10:  // Linux
      case 24:
      case 28:  // NetBSD and OpenBSD, FreeBSD
      case 30:  // Darwin
        return network(kEtherIpv6, 4);
      default:
        return opaque();
    }
  }

  void raw_ip(uint32_t offset) {
    if (!has(offset, 1)) return opaque();
    switch (load8(base_ + offset) >> 4) {
      case 4:
        return network(kEtherIpv4, offset);
      case 6:
        return network(kEtherIpv6, offset);
      default:
        return opaque();
    }
  }

  void ethernet(uint32_t offset, bool outermost) {
    if (!has(offset, 14)) return opaque();
    tagged(load_be16(base_ + offset + 12), offset + 14, outermost);
  }

  /// From behind an EtherType: skips VLAN tags.
  void tagged(uint16_t ether_type, uint32_t offset, bool outermost) {
    for (int tags = 0; is_vlan(ether_type); ++tags) {
      if (tags == kMaxTags || !has(offset, 4)) return opaque();
      if (outermost) {
        if (out_.vlan_count < 2)
          out_.vlan_ids[out_.vlan_count] = load_be16(base_ + offset) & 0x0fff;
        ++out_.vlan_count;
      }
      ether_type = load_be16(base_ + offset + 2);
      offset += 4;
    }
    if (outermost) {
      out_.ether_type = ether_type;
      out_.network_offset = offset;
    }
    if (ether_type < kSmallestEtherType) return logical_link(ether_type, offset, outermost);
    network(ether_type, offset);
  }

  /// IEEE 802.2. SNAP with OUI 0 carries an EtherType (RFC 1042); the rest is spanning tree, IS-IS
  /// and the like.
  void logical_link(uint16_t length_or_type, uint32_t offset, bool outermost) {
    if (length_or_type == 1) return;  // in cooked captures: Novell's frames without 802.2
    if (!has(offset, 3)) return opaque();
    const uint8_t destination = load8(base_ + offset);
    if (destination == 0xaa) {
      if (!has(offset, 8)) return opaque();
      const bool ether_type_follows =
          load8(base_ + offset + 3) == 0 && load_be16(base_ + offset + 4) == 0;
      if (!ether_type_follows) return;  // CDP, PVST+ and other vendors' protocols
      const uint16_t ether_type = load_be16(base_ + offset + 6);
      if (ether_type < kSmallestEtherType) return opaque();
      if (is_vlan(ether_type)) return opaque();
      if (outermost) {
        out_.ether_type = ether_type;
        out_.network_offset = offset + 8;
      }
      return network(ether_type, offset + 8);
    }
    if (destination == 0x06) opaque();  // IP straight on 802.2: never seen, not followed
  }

  void network(uint16_t ether_type, uint32_t offset) {
    switch (ether_type) {
      case kEtherIpv4:
        return ipv4(offset);
      case kEtherIpv6:
        return ipv6(offset);
      case kEtherArp:
      case kEtherRarp:
        return arp(offset);
      default:
        if (!carries_no_ip(ether_type)) opaque();
    }
  }

  /// RFC 826. The addresses are taken at the places they have for Ethernet and IPv4, as pcap-filter
  /// does, whatever the types and lengths in front of them say.
  void arp(uint32_t offset) {
    if (!has(offset, 28)) {
      opaque();
      if (!has(offset, 18)) return;
    }
    out_.arp = true;
    out_.arp_sender = IpAddress::v4(base_ + offset + 14);
    if (has(offset, 28)) out_.arp_target = IpAddress::v4(base_ + offset + 24);
  }

  IpLayer* new_layer(uint32_t offset) {
    if (out_.ip_count == std::size(out_.ip)) {
      opaque();
      return nullptr;
    }
    IpLayer& layer = out_.ip[out_.ip_count++];
    layer.ip_offset = offset;
    return &layer;
  }

  void ipv4(uint32_t offset) {
    if (!has(offset, 20)) return opaque();
    const std::byte* header = base_ + offset;
    const uint8_t version_and_length = load8(header);
    const uint32_t header_bytes = (version_and_length & 0x0f) * 4u;
    if (version_and_length >> 4 != 4 || header_bytes < 20) return opaque();
    IpLayer* layer = new_layer(offset);
    if (layer == nullptr) return;
    layer->source = IpAddress::v4(header + 12);
    layer->destination = IpAddress::v4(header + 16);
    layer->protocol = load8(header + 9);
    const uint16_t fragment = load_be16(header + 6);
    layer->fragment = (fragment & 0x1fff) != 0;
    layer->more_fragments = (fragment & 0x2000) != 0;
    const uint16_t total = load_be16(header + 2);
    // Zero is what segmentation offload leaves in captures of large sends.
    layer->payload_end = total >= header_bytes ? offset + total : size_;
    transport(*layer, offset + header_bytes);
  }

  void ipv6(uint32_t offset) {
    if (!has(offset, 40)) return opaque();
    const std::byte* header = base_ + offset;
    if (load8(header) >> 4 != 6) return opaque();
    IpLayer* layer = new_layer(offset);
    if (layer == nullptr) return;
    layer->v6 = true;
    layer->source = IpAddress::v6(header + 8);
    layer->destination = IpAddress::v6(header + 24);
    layer->protocol = load8(header + 6);
    const uint16_t payload = load_be16(header + 4);
    layer->payload_end = payload != 0 ? offset + 40 + payload : size_;  // zero: jumbo or offload
    transport(*layer, offset + 40);
  }

  /// Walks extension headers (RFC 8200 section 4; AH, RFC 4302, behind IPv4 too) to the transport
  /// header.
  void transport(IpLayer& layer, uint32_t offset) {
    for (int count = 0;; ++count) {
      if (layer.fragment) return;  // what follows is the middle of something
      const bool extension =
          layer.v6 && (layer.protocol == kHopByHop || layer.protocol == kRouting ||
                       layer.protocol == kDestinationOptions || layer.protocol == kMobility ||
                       layer.protocol == kHostIdentity || layer.protocol == kShim6);
      const bool fragment_header = layer.v6 && layer.protocol == kFragment;
      if (!extension && !fragment_header && layer.protocol != kAuthentication) break;
      if (count == kMaxExtensionHeaders || !has(offset, 8)) return opaque();
      const std::byte* header = base_ + offset;
      if (fragment_header) {
        const uint16_t fragment = load_be16(header + 2);
        layer.fragment = (fragment & 0xfff8) != 0;
        layer.more_fragments = (fragment & 1) != 0;
        offset += 8;
      } else if (layer.protocol == kAuthentication) {
        offset += (load8(header + 1) + 2u) * 4;
      } else {
        offset += (load8(header + 1) + 1u) * 8;
      }
      layer.protocol = load8(header);
    }
    layer.transport_offset = offset;
    switch (layer.protocol) {
      case kTcp:
      case kUdp:
      case kSctp:
      case kDccp:
      case kUdpLite:
        return ports(layer, offset);
      case kIpInIp:
        return network(kEtherIpv4, offset);
      case kIpv6InIp:
        return network(kEtherIpv6, offset);
      case kGre:
        return gre(offset);
      case kEtherIp:
      case kL2tp:
      case kMplsInIp:
        return opaque();
      default:
        return;
    }
  }

  void ports(IpLayer& layer, uint32_t offset) {
    if (!has(offset, 4)) return opaque();
    layer.has_ports = true;
    layer.source_port = load_be16(base_ + offset);
    layer.destination_port = load_be16(base_ + offset + 2);
    if (layer.protocol != kUdp) return;
    if (!is_tunnel_port(layer.destination_port)) return;
    if (layer.destination_port == kGenevePort) return geneve(offset + 8);
    vxlan(offset + 8);
  }

  /// RFC 7348. Without the I flag it is something else on that port.
  void vxlan(uint32_t offset) {
    if (!has(offset, 8)) return opaque();
    if ((load8(base_ + offset) & 0x08) != 0) ethernet(offset + 8, false);
  }

  /// RFC 8926 section 3.4.
  void geneve(uint32_t offset) {
    if (!has(offset, 8)) return opaque();
    const uint8_t first = load8(base_ + offset);
    if (first >> 6 != 0) return;  // another version, or not Geneve
    inside(load_be16(base_ + offset + 2), offset + 8 + (first & 0x3fu) * 4);
  }

  /// RFC 2784 and RFC 2890. Version 1 (PPTP) and source routes are not followed.
  void gre(uint32_t offset) {
    if (!has(offset, 4)) return opaque();
    const uint16_t flags = load_be16(base_ + offset);
    if ((flags & 0x4007) != 0) return opaque();
    uint32_t header_bytes = 4;
    for (const uint16_t field : {0x8000, 0x2000, 0x1000}) {  // checksum, key, sequence number
      if ((flags & field) != 0) header_bytes += 4;
    }
    inside(load_be16(base_ + offset + 2), offset + header_bytes);
  }

  void inside(uint16_t protocol, uint32_t offset) {
    if (protocol == kEtherBridged) return ethernet(offset, false);
    network(protocol, offset);
  }

  const std::byte* base_;
  uint32_t size_;
  Headers& out_;
};

}  // namespace

Headers decode(uint16_t link_type, std::span<const std::byte> data) {
  Headers headers;
  Decoder(data, headers).link(link_type);
  return headers;
}

std::optional<TcpHeader> decode_tcp(const IpLayer& ip, std::span<const std::byte> data) {
  constexpr uint32_t kFixed = 20;
  if (ip.protocol != kTcp || ip.transport_offset == 0 || ip.transport_offset > data.size() ||
      data.size() - ip.transport_offset < kFixed)
    return std::nullopt;
  const std::byte* header = data.data() + ip.transport_offset;
  const uint32_t header_bytes = (load8(header + 12) >> 4) * 4u;
  if (header_bytes < kFixed) return std::nullopt;
  TcpHeader tcp;
  tcp.sequence = load_be32(header + 4);
  tcp.acknowledgment = load_be32(header + 8);
  tcp.flags = load8(header + 13);
  tcp.window = load_be16(header + 14);
  tcp.payload_offset = ip.transport_offset + header_bytes;
  tcp.payload_length =
      ip.payload_end > tcp.payload_offset ? ip.payload_end - tcp.payload_offset : 0;
  return tcp;
}

}  // namespace lookback::packet
