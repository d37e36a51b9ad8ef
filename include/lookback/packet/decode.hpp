#pragma once
// Finds the network and transport headers of a packet, through whatever carries it: the link types, tags, labels and tunnels of
// src/packet/layers.cpp, IPv4 (RFC 791), IPv6 with extension headers (RFC 8200) and ARP (RFC 826). What cannot be looked into is
// told with its reason, so that a choice by address can keep it. Malformed or cut packets are values: what could not be read is
// absent. Never reads outside the span; allocates nothing; bounded work; pure functions, any thread.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lookback/packet/ip_address.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::packet {

/// One IP header and the transport header behind it. Offsets count from the start of the packet's
/// data.
struct IpLayer {
  bool v6 = false;
  IpAddress source, destination;
  uint8_t protocol = 0;   ///< after IPv6 extension headers
  bool fragment = false;  ///< not the first fragment: no ports
  bool more_fragments = false;
  bool has_ports = false;  ///< TCP, UDP, SCTP, UDP-Lite, DCCP with the ports inside the capture
  uint16_t source_port = 0, destination_port = 0;
  uint32_t ip_offset = 0;         ///< of the IP header
  uint32_t transport_offset = 0;  ///< 0 in later fragments and where the headers were cut
  /// End of the IP datagram by its length field; may pass the captured bytes.
  uint32_t payload_end = 0;
};

/// TCP fields (RFC 9293 3.1), present when the whole fixed header was captured.
struct TcpHeader {
  uint32_t sequence = 0, acknowledgment = 0;
  uint8_t flags = 0;
  uint16_t window = 0;
  uint32_t payload_offset = 0;
  uint32_t payload_length = 0;  ///< by the IP length, not by what was captured
};

/// Why a packet may have addresses that are not listed.
enum class Unread : uint8_t {
  nothing,    ///< all were read
  encrypted,  ///< ESP, WireGuard, MACsec, protected 802.11 and the like; also what is compressed
  link_type,  ///< a link type that is not known here
  protocol,   ///< an EtherType, IP protocol or tunnel that is not known here
  nesting,    ///< more headers inside each other, or beside each other, than are kept
  cut,        ///< the captured bytes end before the headers do
  malformed,  ///< a header that contradicts itself
  fragment,   ///< a later fragment of what may be a tunnel: only the first one has the inner headers
};
inline constexpr size_t kUnreadReasons = 8;
/// In words, for messages: "encrypted", "an unknown link type".
[[nodiscard]] std::string_view describe(Unread reason);

struct AddressPair {
  IpAddress source, destination;
};

struct Headers {
  uint16_t ether_type = 0;  ///< after VLAN tags; 0 where the link type has none
  uint8_t vlan_count = 0;   ///< tags of the outermost link layer; the first two ids are kept
  uint16_t vlan_ids[2] = {0, 0};
  uint32_t network_offset = 0;
  /// Outermost IP header, then those inside tunnels of any kind, at most 4.
  uint8_t ip_count = 0;
  IpLayer ip[4];
  /// IP headers that the packet has but does not travel by: quoted by an ICMP error, or of several frames in one 802.11 frame.
  uint8_t mentioned_count = 0;
  AddressPair mentioned[4];
  /// ARP or RARP, also inside a tunnel; the addresses are IPv4.
  bool arp = false;
  IpAddress arp_sender, arp_target;
  /// The outermost headers were not understood or not captured: addresses and ports that a pcap-filter expression sees may not be
  /// listed here.
  bool opaque = false;
  /// Anything else but `nothing`: addresses may exist, on any level, that are not listed here. The first reason met.
  Unread unread = Unread::nothing;
};

/// `link_type` is a LINKTYPE_ value; `data` starts at the link layer and may be cut anywhere.
[[nodiscard]] Headers decode(uint16_t link_type, std::span<const std::byte> data);
/// `ip` comes from decode() of the same data. Nothing for another protocol, a later fragment, a cut
/// or impossible header.
[[nodiscard]] std::optional<TcpHeader> decode_tcp(const IpLayer& ip,
                                                  std::span<const std::byte> data);

}  // namespace lookback::packet
