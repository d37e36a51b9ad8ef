#pragma once
// What can begin at a place in a packet, and the numbers by which each kind of header names what follows it. The tables are the one
// place to add a protocol that only needs naming; one with a header of its own also gets a line in LOOKBACK_LAYERS and a function of
// that name in Decoder.

#include <cstdint>

namespace lookback::packet {

// clang-format off
#define LOOKBACK_LAYERS(X)                                                                                       \
  /* ends: known to carry no IP; not known; cannot be read by anybody without the keys; not to be read on */      \
  X(nothing) X(unknown) X(encrypted) X(fragment)                                                                 \
  /* link layers */                                                                                              \
  X(ethernet) X(tagged) X(raw_ip) X(bsd_loopback) X(cooked_v2) X(logical_link) X(ppp) X(ppp_protocol) X(pppoe)    \
  X(cisco_hdlc) X(frame_relay) X(wlan) X(radiotap) X(prism) X(avs) X(ppi) X(token_ring) X(arcnet) X(atm) X(sunatm)  \
  X(fibre_channel) X(infiniband) X(nflog) X(pflog) X(pktap) X(erf)                                                              \
  /* between link and network */                                                                                 \
  X(mpls) X(backbone_bridge) X(vn_tag) X(e_tag) X(macsec) X(trill) X(fabric_path) X(cisco_metadata) X(nsh)        \
  X(erspan2) X(erspan3) X(wccp)                                                                                   \
  /* network */                                                                                                  \
  X(ipv4) X(ipv6) X(arp)                                                                                         \
  /* above IP */                                                                                                 \
  X(gre) X(ether_ip) X(minimal_ip) X(l2tp_ip) X(pim) X(icmp) X(icmp6)                                             \
  X(vxlan) X(vxlan_gpe) X(geneve) X(gtp) X(gtp_prime) X(l2tp) X(teredo) X(esp_in_udp) X(lisp) X(lisp_control)     \
  X(tzsp) X(wireguard)
// clang-format on

enum class Layer : uint8_t {
#define X(name) name,
  LOOKBACK_LAYERS(X)
#undef X
};

/// The next header begins `skip` bytes behind the start of the packet.
struct LinkLayer {
  Layer layer;
  uint16_t skip;
};

[[nodiscard]] LinkLayer layer_of_link_type(uint16_t link_type);
/// Of the types that a pcap-filter expression is known to see in the same way as the decoder.
[[nodiscard]] bool is_plain_link_type(uint16_t link_type);
[[nodiscard]] Layer layer_of_ether_type(uint16_t ether_type);
[[nodiscard]] Layer layer_of_ip_protocol(uint8_t protocol);
[[nodiscard]] Layer layer_of_ppp_protocol(uint16_t protocol);
/// "Next protocol" of VXLAN-GPE and NSH (RFC 8300 section 2.2).
[[nodiscard]] Layer layer_of_nsh_protocol(uint8_t protocol);
/// Service access points of IEEE 802.2, SNAP left out.
[[nodiscard]] Layer layer_of_service_access_point(uint8_t sap);

/// What the ports say that a UDP datagram carries; Layer::nothing where they say nothing.
[[nodiscard]] Layer layer_of_udp_ports(uint16_t source, uint16_t destination);
/// False only where layer_of_udp_ports() says nothing for any datagram with this port.
[[nodiscard]] bool is_tunnel_port(uint16_t port);

[[nodiscard]] constexpr bool is_vlan(uint16_t ether_type) {
  return ether_type == 0x8100 || ether_type == 0x88a8 || ether_type == 0x9100 || ether_type == 0x9200 ||
         ether_type == 0x9300;
}

}  // namespace lookback::packet
