#pragma once
// The packet chain inside a TPACKET_V3 block (linux/if_packet.h: struct tpacket3_hdr followed by
// sockaddr_ll, linked by tp_next_offset), in a ring or in a copy of one on disk.

#include <cstdint>
#include <optional>
#include <span>

#include "lookback/packet/packet.hpp"

namespace lookback::packet {

/// One packet of the chain. VLAN tags stripped by the card or the kernel are reported for the
/// caller to put back.
struct KernelPacket {
  PacketView view;  ///< `interface` is the kernel's ifindex; a stripped tag is not in `data`
  bool has_vlan = false;
  uint16_t vlan_tci = 0;       ///< host order, like the TPID
  uint16_t vlan_tpid = 0;      ///< 0x8100 where the kernel names none
  uint16_t hardware_type = 0;  ///< ARPHRD_
  uint64_t header_offset = 0;  ///< of its tpacket3_hdr in the block
};

/// Makes the link-layer header that `link_type` has and the device has not: 16 bytes of a cooked capture for netlink monitors, IrDA and
/// LAPD, 20 bytes (LINKTYPE_LINUX_SLL2) where no link type fits; a CAN id is brought into network order. Anything else stays as it is.
/// The header takes the place of the packet's own in `block`, which is what the walker was given: once a packet, when it is the last to
/// read it.
void put_link_header(KernelPacket& packet, uint16_t link_type, std::span<std::byte> block);
/// Nearly every packet's hardware needs none.
[[nodiscard]] constexpr bool may_need_link_header(uint16_t hardware_type) {
  constexpr uint16_t kEthernet = 1, kLoopback = 772;
  return hardware_type != kEthernet && hardware_type != kLoopback;
}

/// Walks the chain, checking every bound: stops at the first header that does not fit its block,
/// has a packet longer than on the wire, or whose successor would overlap it. Only bounds are
/// checked: time stamps and interface numbers are handed on as they stand. Allocates nothing; views
/// live as long as the block. One thread.
class KernelBlockWalker {
 public:
  /// `first_packet` is the offset of the first header in `block`, whose size is the used length.
  KernelBlockWalker(std::span<const std::byte> block, uint32_t first_packet, uint32_t packets)
      : block_(block), offset_(first_packet), left_(packets) {}
  /// The next packet, or nothing at the end or where the chain leaves the block (then damaged() is
  /// true).
  [[nodiscard]] std::optional<KernelPacket> next();
  [[nodiscard]] bool damaged() const { return damaged_; }

 private:
  std::span<const std::byte> block_;
  uint64_t offset_;
  uint32_t left_;
  bool damaged_ = false;
};

}  // namespace lookback::packet
