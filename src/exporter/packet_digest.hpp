#pragma once
// What flows and attribution need of a packet, taken by the workers while its bytes are at hand.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lookback/packet/ip_address.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::exporter {

/// The network that a packet travels in, since the same addresses may be used in several: its VLAN
/// tags (IEEE 802.1Q, the outermost two; priority tags are no VLAN) and the number of the innermost
/// tunnel (VNI of VXLAN and Geneve, key of GRE). One number, 0 where there is neither.
struct NetworkId {
  uint8_t vlan_count = 0;  ///< 0 to 3; 3 stands for more
  uint16_t vlans[2] = {0, 0};
  bool has_tunnel = false;
  uint32_t tunnel = 0;

  [[nodiscard]] uint64_t packed() const {
    return uint64_t{tunnel} | uint64_t{has_tunnel} << 32 | uint64_t{vlans[0]} << 33 |
           uint64_t{vlans[1]} << 45 | uint64_t{vlan_count} << 57;
  }
  [[nodiscard]] static NetworkId unpack(uint64_t packed);
  /// Whether a packet of one may be the other's, seen where some of the tags were taken off.
  [[nodiscard]] bool may_be_seen_as(const NetworkId& other) const;
};

/// What an ICMP message is of an exchange of echoes (RFC 792, RFC 4443 section 4).
enum class Echo : uint8_t { none, request, reply };

/// Of the innermost IP header: behind a tunnel stand the ends that talk to each other.
struct PacketDigest {
  packet::IpAddress source, destination;
  uint32_t original_length = 0;  ///< of the whole packet on the wire
  uint32_t sequence = 0, acknowledgment = 0, payload_length = 0;  ///< of TCP
  uint64_t network = 0;   ///< NetworkId
  uint32_t ifindex = 0;   ///< of the recording host, where the link layer tells (Linux cooked v2)
  uint32_t fragment = 0;  ///< one more than its place among the batch's fragments; 0: it is whole
  uint16_t source_port = 0,
           destination_port = 0;  ///< 0 where there are none, as in later fragments
  uint16_t window = 0;
  uint16_t echo_id = 0;  ///< of an echo
  Echo echo = Echo::none;
  uint8_t protocol = 0;
  uint8_t tcp_flags = 0;
  bool is_ip = false;
  bool is_tcp = false;  ///< with its whole header
  packet::Direction direction = packet::Direction::unknown;
};

/// What the fragments of one datagram share (RFC 791 3.2, RFC 8200 4.5).
struct FragmentKey {
  packet::IpAddress source, destination;
  uint32_t id = 0;
  uint8_t protocol = 0;  ///< of IPv4; the fragments of IPv6 may differ in it
  friend bool operator==(const FragmentKey&, const FragmentKey&) = default;
};

/// The fragment that a packet is, by its outermost fragmented IP header.
struct Fragment {
  FragmentKey key;
  uint64_t network = 0;  ///< that this header travels in
  uint32_t ifindex = 0;
  bool first = false;
};

/// A fragment is added to `fragments`.
[[nodiscard]] PacketDigest digest_of(uint16_t link_type, const packet::PacketView& packet,
                                     std::vector<Fragment>& fragments);

}  // namespace lookback::exporter
