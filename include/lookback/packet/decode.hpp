#pragma once
// Finds the network and transport headers of a packet. Malformed or cut packets are values: what could not be
// read is absent. Never reads outside the span; allocates nothing; hot path.

#include <cstdint>
#include <optional>

#include "lookback/packet/ip_address.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::packet {

/// One IP header and the transport header behind it. Offsets count from the start of the packet's data.
struct IpLayer {
  bool v6 = false;
  IpAddress source, destination;
  uint8_t protocol = 0;           ///< after IPv6 extension headers
  bool fragment = false;          ///< not the first fragment: no ports
  bool more_fragments = false;
  bool has_ports = false;         ///< TCP, UDP, SCTP, UDP-Lite, DCCP with the ports inside the capture
  uint16_t source_port = 0, destination_port = 0;
  uint32_t ip_offset = 0;         ///< of the IP header
  uint32_t transport_offset = 0;  ///< 0 where there is none
  uint32_t payload_end = 0;       ///< end of the IP datagram by its length field (may pass the captured bytes)
};

/// TCP fields (RFC 9293 3.1), present when the whole fixed header was captured.
struct TcpHeader {
  uint32_t sequence = 0, acknowledgment = 0;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint32_t payload_offset = 0;
  uint32_t payload_length = 0;  ///< by the IP length, not by what was captured
};

struct Headers {
  uint16_t ether_type = 0;      ///< after VLAN tags; 0 where the link type has none
  uint8_t vlan_count = 0;
  uint16_t vlan_ids[2] = {0, 0};
  uint32_t network_offset = 0;
  /// Outermost IP header, then those inside IP-in-IP, GRE, VXLAN (4789, 8472) and Geneve (6081), at most 4.
  uint8_t ip_count = 0;
  IpLayer ip[4];
  bool arp = false;
  IpAddress arp_sender, arp_target;
  /// Something on the way was not understood or not captured (unknown link type, MPLS, PPPoE, cut header, deeper nesting):
  /// addresses and ports may exist that are not listed here.
  bool opaque = false;
};

[[nodiscard]] Headers decode(uint16_t link_type, std::span<const std::byte> data);
[[nodiscard]] std::optional<TcpHeader> decode_tcp(const IpLayer& ip, std::span<const std::byte> data);

}  // namespace lookback::packet
