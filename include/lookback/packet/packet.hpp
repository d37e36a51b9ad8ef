#pragma once
// What a packet is, everywhere in the product: a view of its bytes and what the recorder knew about
// it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lookback::packet {

/// As in the pcapng epb_flags option (draft-ietf-opsawg-pcapng, "Enhanced Packet Block Flags
/// Word").
enum class Direction : uint8_t { unknown = 0, inbound = 1, outbound = 2 };
/// The same word's reception type.
enum class Reception : uint8_t {
  unspecified = 0,
  unicast = 1,
  multicast = 2,
  broadcast = 3,
  promiscuous = 4
};

/// LINKTYPE_ values (https://www.tcpdump.org/linktypes.html) that the product knows by name.
namespace link_type {
inline constexpr uint16_t kNull = 0, kEthernet = 1, kRaw = 101, kLoop = 108, kLinuxSll = 113,
                          kIeee80211Radiotap = 127, kUser0 = 147, kIpv4 = 228, kIpv6 = 229,
                          kLinuxSll2 = 276;
}

/// The LINKTYPE for an ARPHRD_ hardware type (linux/if_arp.h), as libpcap's live captures have it.
/// Some describe bytes that AF_PACKET SOCK_RAW does not hand over like that, netlink monitors and
/// CAN among them: see put_link_header(). kLinuxSll2 where none fits: its header is made up from
/// the packet's socket address.
[[nodiscard]] uint16_t link_type_of_hardware(uint16_t arphrd);

/// One recorded interface of a node.
struct Interface {
  uint32_t index = 0;  ///< the kernel's ifindex while it was recorded
  std::string name;
  uint16_t link_type = link_type::kEthernet;
  std::string mac;  ///< "02:42:…", empty where it has none
  uint32_t mtu = 0;
  friend bool operator==(const Interface&, const Interface&) = default;
};

/// A packet in somebody else's buffer; valid only as long as that buffer is. `interface` indexes a
/// table that the giver documents (segment, pcapng section).
struct PacketView {
  int64_t time_ns = 0;              ///< CLOCK_REALTIME of the node
  std::span<const std::byte> data;  ///< captured bytes from the link layer on, VLAN tags in place
  uint32_t original_length = 0;     ///< on the wire
  uint32_t interface = 0;
  Direction direction = Direction::unknown;
  Reception reception = Reception::unspecified;
};

}  // namespace lookback::packet
