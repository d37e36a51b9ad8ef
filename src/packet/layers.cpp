#include "packet/layers.hpp"

#include <algorithm>
#include <array>

#include "lookback/packet/packet.hpp"

namespace lookback::packet {

namespace {

template <class Number>
struct Row {
  Number number;
  Layer layer;
};

template <class Number, size_t N>
constexpr bool ascends(const Row<Number> (&rows)[N]) {
  return std::adjacent_find(rows, rows + N, [](const auto& a, const auto& b) { return a.number >= b.number; }) == rows + N;
}

template <class Number, size_t N>
Layer find(const Row<Number> (&rows)[N], Number number, Layer otherwise) {
  const auto* const at =
      std::lower_bound(rows, rows + N, number, [](const auto& row, Number wanted) { return row.number < wanted; });
  return at != rows + N && at->number == number ? at->layer : otherwise;
}

// IEEE and de-facto numbers (IANA, "IEEE 802 Numbers").
constexpr Row<uint16_t> kEtherTypes[] = {
    {0x0800, Layer::ipv4},
    {0x0806, Layer::arp},
    {0x0842, Layer::nothing},      // wake on LAN
    {0x2000, Layer::nothing},      // CDP
    {0x2001, Layer::nothing},      // NHRP in GRE
    {0x22eb, Layer::erspan3},      // ERSPAN type III in GRE
    {0x22f3, Layer::trill},        // RFC 6325
    {0x22f4, Layer::nothing},      // IS-IS of TRILL
    {0x6558, Layer::ethernet},     // bridged Ethernet (RFC 1701, NVGRE)
    {0x6559, Layer::frame_relay},  // raw frame relay (RFC 1701)
    {0x8035, Layer::arp},          // RARP
    {0x809b, Layer::nothing},      // AppleTalk
    {0x80f3, Layer::nothing},      // AppleTalk ARP
    {0x8137, Layer::nothing},      // IPX
    {0x86dd, Layer::ipv6},
    {0x8808, Layer::nothing},         // flow control
    {0x8809, Layer::nothing},         // slow protocols (LACP)
    {0x880b, Layer::ppp},             // PPP in GRE
    {0x883e, Layer::wccp},            // WCCP in GRE
    {0x8847, Layer::mpls},            // RFC 3032
    {0x8848, Layer::mpls},            // upstream-assigned labels (RFC 5332)
    {0x8863, Layer::nothing},         // PPPoE discovery
    {0x8864, Layer::pppoe},           // PPPoE session (RFC 2516)
    {0x8870, Layer::logical_link},    // jumbo frames with 802.2
    {0x887b, Layer::nothing},         // HomePlug
    {0x888e, Layer::nothing},         // EAPOL
    {0x8892, Layer::nothing},         // PROFINET
    {0x889a, Layer::nothing},         // HyperSCSI
    {0x88a2, Layer::nothing},         // ATA over Ethernet
    {0x88a4, Layer::nothing},         // EtherCAT
    {0x88b8, Layer::nothing},         // GOOSE
    {0x88ba, Layer::nothing},         // sampled values
    {0x88be, Layer::erspan2},         // ERSPAN type I and II in GRE
    {0x88bf, Layer::nothing},         // RoMON
    {0x88c7, Layer::nothing},         // 802.11 pre-authentication
    {0x88ca, Layer::nothing},         // TIPC
    {0x88cc, Layer::nothing},         // LLDP
    {0x88e1, Layer::nothing},         // HomePlug AV
    {0x88e3, Layer::nothing},         // MRP
    {0x88e5, Layer::macsec},          // IEEE 802.1AE
    {0x88e7, Layer::backbone_bridge}, // IEEE 802.1ah
    {0x88f5, Layer::nothing},         // MVRP
    {0x88f6, Layer::nothing},         // MMRP
    {0x88f7, Layer::nothing},         // PTP
    {0x88fb, Layer::nothing},         // PRP
    {0x8902, Layer::nothing},         // connectivity fault management
    {0x8903, Layer::fabric_path},     // Cisco FabricPath
    {0x8906, Layer::nothing},         // FCoE
    {0x8909, Layer::cisco_metadata},  // Cisco TrustSec
    {0x890d, Layer::nothing},         // TDLS, 802.11 management
    {0x8914, Layer::nothing},         // FCoE initialization
    {0x8926, Layer::vn_tag},          // Cisco VN-Tag
    {0x893f, Layer::e_tag},           // IEEE 802.1BR
    {0x894f, Layer::nsh},             // RFC 8300
    {0x9000, Layer::nothing},         // configuration testing
};
static_assert(ascends(kEtherTypes));

// IANA, "Protocol Numbers".
constexpr Row<uint8_t> kIpProtocols[] = {
    {1, Layer::icmp},
    {2, Layer::nothing},  // IGMP
    {4, Layer::ipv4},
    {6, Layer::nothing},  // TCP
    {8, Layer::nothing},  // EGP
    {9, Layer::nothing},  // IGRP
    {17, Layer::nothing}, // UDP: by its ports
    {33, Layer::nothing}, // DCCP
    {41, Layer::ipv6},
    {46, Layer::nothing}, // RSVP
    {47, Layer::gre},
    {50, Layer::encrypted},  // ESP
    {55, Layer::minimal_ip}, // RFC 2004
    {58, Layer::icmp6},
    {59, Layer::nothing},    // no next header
    {88, Layer::nothing},    // EIGRP
    {89, Layer::nothing},    // OSPF
    {94, Layer::ipv4},       // IPIP before RFC 2003
    {97, Layer::ether_ip},   // RFC 3378
    {103, Layer::pim},
    {108, Layer::encrypted}, // IPComp
    {112, Layer::nothing},   // VRRP, CARP
    {113, Layer::nothing},   // PGM
    {115, Layer::l2tp_ip},   // RFC 3931
    {132, Layer::nothing},   // SCTP
    {136, Layer::nothing},   // UDP-Lite
    {137, Layer::mpls},      // RFC 4023
    {138, Layer::nothing},   // MANET
    {142, Layer::encrypted}, // ROHC
    {143, Layer::ethernet},  // RFC 8986
};
static_assert(ascends(kIpProtocols));

// IANA, "Service Name and Transport Protocol Port Number Registry"; those that no registry has are marked.
constexpr Row<uint16_t> kUdpPorts[] = {
    {1194, Layer::encrypted},   // OpenVPN
    {1701, Layer::l2tp},        // RFC 2661, RFC 3931
    {2152, Layer::gtp},         // GTP-U
    {3386, Layer::gtp_prime},   // GTP of version 0
    {3544, Layer::teredo},      // RFC 4380
    {4341, Layer::lisp},        // RFC 9300
    {4342, Layer::lisp_control},
    {4500, Layer::esp_in_udp},  // RFC 3948
    {4754, Layer::gre},         // RFC 8086
    {4755, Layer::encrypted},   // GRE in DTLS
    {4789, Layer::vxlan},       // RFC 7348
    {4790, Layer::vxlan_gpe},   // draft-ietf-nvo3-vxlan-gpe
    {5247, Layer::unknown},     // CAPWAP data
    {6080, Layer::unknown},     // generic UDP encapsulation
    {6081, Layer::geneve},      // RFC 8926
    {6343, Layer::unknown},     // sFlow: samples of other packets
    {6635, Layer::mpls},        // RFC 7510
    {6636, Layer::encrypted},   // MPLS in DTLS
    {8472, Layer::vxlan},       // Linux before the port was assigned, flannel
    {37008, Layer::tzsp},       // not registered
    {51820, Layer::wireguard},  // not registered
    {51821, Layer::wireguard},  // its second interface in Calico, not registered
    {51871, Layer::wireguard},  // Cilium, not registered
};
static_assert(ascends(kUdpPorts));

constexpr bool works_on_either_side(Layer layer) {
  // The others are sent to the port from an arbitrary one, which may be anything's.
  return layer == Layer::gtp || layer == Layer::gtp_prime || layer == Layer::l2tp || layer == Layer::teredo ||
         layer == Layer::esp_in_udp || layer == Layer::wireguard || layer == Layer::encrypted;
}

constexpr auto kPortBits = [] {
  std::array<uint64_t, 1024> bits{};
  for (const auto& row : kUdpPorts) bits[row.number / 64] |= uint64_t{1} << row.number % 64;
  return bits;
}();

// IANA, "Point-to-Point (PPP) Protocol Field Assignments"; from 0x4000 up are those without packets of a network in them.
constexpr Row<uint16_t> kPppProtocols[] = {
    {0x0021, Layer::ipv4},      {0x0023, Layer::nothing},    // OSI
    {0x002b, Layer::nothing},                                // IPX
    {0x002d, Layer::encrypted},                              // Van Jacobson, compressed
    {0x002f, Layer::ipv4},                                   // Van Jacobson, with the slot in place of the protocol
    {0x003d, Layer::fragment},                               // multilink
    {0x003f, Layer::nothing},                                // NetBIOS
    {0x0053, Layer::encrypted}, {0x0055, Layer::encrypted},  // RFC 1968
    {0x0057, Layer::ipv6},      {0x00fb, Layer::encrypted}, {0x00fd, Layer::encrypted},  // RFC 1962
    {0x0281, Layer::mpls},      {0x0283, Layer::mpls},
};
static_assert(ascends(kPppProtocols));

constexpr Row<uint8_t> kAccessPoints[] = {
    {0x00, Layer::nothing}, {0x02, Layer::nothing}, {0x04, Layer::nothing},  // SNA
    {0x06, Layer::raw_ip},  {0x08, Layer::nothing}, {0x0c, Layer::nothing}, {0x0e, Layer::nothing},
    {0x42, Layer::nothing},                                                 // spanning tree
    {0x4e, Layer::nothing}, {0x7e, Layer::nothing}, {0x80, Layer::nothing}, {0x8e, Layer::nothing},
    {0x98, Layer::arp},     {0xbc, Layer::nothing}, {0xe0, Layer::nothing},  // IPX
    {0xf0, Layer::nothing},                                                  // NetBIOS
    {0xf4, Layer::nothing}, {0xf8, Layer::nothing}, {0xfe, Layer::nothing},  // ISO: IS-IS
    {0xff, Layer::nothing},                                                  // IPX without 802.2
};
static_assert(ascends(kAccessPoints));

struct LinkRow {
  uint16_t link_type;
  Layer layer;
  uint16_t skip;
};
// https://www.tcpdump.org/linktypes.html
constexpr LinkRow kLinkTypes[] = {
    {0, Layer::bsd_loopback, 0},
    {1, Layer::ethernet, 0},
    {6, Layer::token_ring, 0},
    {7, Layer::arcnet, 2},
    {8, Layer::raw_ip, 16},         // SLIP
    {9, Layer::ppp, 0},
    {10, Layer::logical_link, 13},  // FDDI
    {12, Layer::raw_ip, 0},         // what BSD systems wrote for raw IP
    {14, Layer::raw_ip, 0},
    {50, Layer::ppp, 0},            // PPP in HDLC-like framing
    {51, Layer::pppoe, 0},
    {100, Layer::atm, 0},           // RFC 2684
    {101, Layer::raw_ip, 0},
    {102, Layer::raw_ip, 24},       // SLIP of BSD/OS
    {103, Layer::raw_ip, 24},       // PPP of BSD/OS
    {104, Layer::cisco_hdlc, 0},
    {105, Layer::wlan, 0},
    {106, Layer::atm, 0},           // classical IP over ATM
    {107, Layer::frame_relay, 0},
    {108, Layer::bsd_loopback, 0},
    {109, Layer::raw_ip, 12},       // IPsec of OpenBSD
    {113, Layer::tagged, 14},       // Linux cooked v1
    {114, Layer::nothing, 0},       // LocalTalk
    {117, Layer::pflog, 0},
    {119, Layer::prism, 0},
    {122, Layer::logical_link, 16}, // RFC 2625
    {123, Layer::sunatm, 0},
    {127, Layer::radiotap, 0},
    {129, Layer::arcnet, 4},
    {138, Layer::tagged, 16},       // Apple's IP over FireWire
    {144, Layer::nothing, 0},       // IrDA
    {163, Layer::avs, 0},
    {166, Layer::ppp_protocol, 2},  // pppd
    {192, Layer::ppi, 0},
    {197, Layer::erf, 0},
    {204, Layer::ppp, 1},           // with a byte of direction in front
    {205, Layer::cisco_hdlc, 1},
    {206, Layer::frame_relay, 1},
    {219, Layer::mpls, 0},
    {224, Layer::fibre_channel, 0},
    {226, Layer::raw_ip, 24},       // IPNET of Solaris
    {227, Layer::nothing, 0},       // SocketCAN
    {228, Layer::ipv4, 0},
    {229, Layer::ipv6, 0},
    {239, Layer::nflog, 0},
    {240, Layer::ethernet, 4},      // netANALYZER
    {241, Layer::ethernet, 12},
    {242, Layer::infiniband, 40},   // RFC 4391
    {253, Layer::nothing, 0},       // netlink
    {258, Layer::pktap, 0},
    {259, Layer::ethernet, 8},      // EPON
    {274, Layer::ethernet, 8},      // mPackets
    {276, Layer::cooked_v2, 0},
    {281, Layer::tagged, 16},       // tags of switch chips between the addresses and the EtherType
    {282, Layer::ethernet, 4},
    {284, Layer::tagged, 16},
    {285, Layer::tagged, 20},
};

}  // namespace

LinkLayer layer_of_link_type(uint16_t link_type) {
  for (const LinkRow& row : kLinkTypes)
    if (row.link_type == link_type) return {row.layer, row.skip};
  return {Layer::unknown, 0};
}

bool is_plain_link_type(uint16_t link_type) {
  switch (link_type) {
    case link_type::kNull:
    case link_type::kEthernet:
    case 12:
    case 14:
    case link_type::kRaw:
    case link_type::kLoop:
    case link_type::kLinuxSll:
    case link_type::kIpv4:
    case link_type::kIpv6:
    case link_type::kLinuxSll2:
      return true;
    default:
      return false;
  }
}

Layer layer_of_ether_type(uint16_t ether_type) { return find(kEtherTypes, ether_type, Layer::unknown); }

Layer layer_of_ip_protocol(uint8_t protocol) { return find(kIpProtocols, protocol, Layer::unknown); }

Layer layer_of_ppp_protocol(uint16_t protocol) {
  return find(kPppProtocols, protocol, protocol >= 0x4000 ? Layer::nothing : Layer::unknown);
}

Layer layer_of_nsh_protocol(uint8_t protocol) {
  constexpr Layer kLayers[] = {Layer::unknown,  Layer::ipv4, Layer::ipv6,
                               Layer::ethernet, Layer::nsh,  Layer::mpls};
  return protocol < std::size(kLayers) ? kLayers[protocol] : Layer::unknown;
}

Layer layer_of_service_access_point(uint8_t sap) { return find(kAccessPoints, sap, Layer::unknown); }

bool is_tunnel_port(uint16_t port) { return (kPortBits[port / 64] >> port % 64 & 1) != 0; }

Layer layer_of_udp_ports(uint16_t source, uint16_t destination) {
  if (is_tunnel_port(destination)) return find(kUdpPorts, destination, Layer::nothing);
  if (!is_tunnel_port(source)) return Layer::nothing;
  const Layer layer = find(kUdpPorts, source, Layer::nothing);
  return works_on_either_side(layer) ? layer : Layer::nothing;
}

}  // namespace lookback::packet
