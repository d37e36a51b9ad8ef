#include "lookback/packet/kernel_block.hpp"

#include <linux/if_packet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "packet/link_header.hpp"
#include "packet/load.hpp"

namespace lookback::packet {

namespace {

// The offsets used below, held against the system's own header.
constexpr uint32_t kNextOffset = 0, kSeconds = 4, kNanoseconds = 8, kCaptured = 12, kOnWire = 16,
                   kStatus = 20, kMacOffset = 24, kNetworkOffset = 26, kVlanTci = 32, kVlanTpid = 36;
constexpr uint32_t kAddress = 48;  // struct sockaddr_ll stands right behind the header
constexpr uint32_t kInterface = kAddress + 4, kHardwareType = kAddress + 8,
                   kPacketType = kAddress + 10;
constexpr uint32_t kHeaderBytes = kAddress + sizeof(sockaddr_ll);
static_assert(TPACKET3_HDRLEN == kHeaderBytes);
static_assert(offsetof(tpacket3_hdr, tp_next_offset) == kNextOffset);
static_assert(offsetof(tpacket3_hdr, tp_sec) == kSeconds);
static_assert(offsetof(tpacket3_hdr, tp_nsec) == kNanoseconds);
static_assert(offsetof(tpacket3_hdr, tp_snaplen) == kCaptured);
static_assert(offsetof(tpacket3_hdr, tp_len) == kOnWire);
static_assert(offsetof(tpacket3_hdr, tp_status) == kStatus);
static_assert(offsetof(tpacket3_hdr, tp_mac) == kMacOffset);
static_assert(offsetof(tpacket3_hdr, tp_net) == kNetworkOffset);
static_assert(offsetof(tpacket3_hdr, hv1.tp_vlan_tci) == kVlanTci);
static_assert(offsetof(tpacket3_hdr, hv1.tp_vlan_tpid) == kVlanTpid);
static_assert(TPACKET_ALIGN(sizeof(tpacket3_hdr)) == kAddress);

constexpr uint16_t kTpidDot1q = 0x8100;

void set_direction(uint8_t packet_type, PacketView& view) {
  view.direction = Direction::inbound;
  switch (packet_type) {
    case PACKET_HOST:
      view.reception = Reception::unicast;
      break;
    case PACKET_BROADCAST:
      view.reception = Reception::broadcast;
      break;
    case PACKET_MULTICAST:
      view.reception = Reception::multicast;
      break;
    case PACKET_OTHERHOST:
      view.reception = Reception::promiscuous;
      break;
    case PACKET_OUTGOING:
      view.direction = Direction::outbound;
      break;
    default:
      view.direction = Direction::unknown;
      break;
  }
}

}  // namespace

std::optional<KernelPacket> KernelBlockWalker::next() {
  if (left_ == 0 || damaged_) return std::nullopt;
  damaged_ = true;  // until every check below has passed
  if (offset_ > block_.size() || block_.size() - offset_ < kHeaderBytes) return std::nullopt;
  const std::byte* header = block_.data() + offset_;
  const uint64_t room = block_.size() - offset_;
  const auto captured = load<uint32_t>(header + kCaptured);
  const auto on_wire = load<uint32_t>(header + kOnWire);
  const auto mac = load<uint16_t>(header + kMacOffset);
  if (mac < kHeaderBytes || mac > room || captured > room - mac || on_wire < captured)
    return std::nullopt;
  const auto next_offset = load<uint32_t>(header + kNextOffset);
  // A chain that does not pass the packet's own bytes would hand some of them out twice.
  if (left_ > 1 && (next_offset < mac + uint64_t{captured} || next_offset > room))
    return std::nullopt;
  damaged_ = false;

  KernelPacket packet;
  packet.view.time_ns = int64_t{load<uint32_t>(header + kSeconds)} * 1'000'000'000 +
                        load<uint32_t>(header + kNanoseconds);
  packet.view.data = block_.subspan(offset_ + mac, captured);
  packet.view.original_length = on_wire;
  packet.view.interface = load<uint32_t>(header + kInterface);
  set_direction(load8(header + kPacketType), packet.view);
  packet.hardware_type = load<uint16_t>(header + kHardwareType);
  packet.header_offset = offset_;
  const auto status = load<uint32_t>(header + kStatus);
  if (status & TP_STATUS_VLAN_VALID) {
    packet.has_vlan = true;
    packet.vlan_tci = static_cast<uint16_t>(load<uint32_t>(header + kVlanTci));
    packet.vlan_tpid =
        status & TP_STATUS_VLAN_TPID_VALID ? load<uint16_t>(header + kVlanTpid) : kTpidDot1q;
  }
  offset_ += next_offset;
  --left_;
  return packet;
}

namespace {

/// LINKTYPE_LINUX_SLL2: protocol, interface, hardware type, packet type, address.
constexpr uint32_t kCookedV2Bytes = 20;
/// The same as LINKTYPE_LINUX_SLL, under other numbers: packet type, hardware type, address, protocol.
constexpr uint32_t kCookedBytes = 16;

void store_be16(std::byte* to, uint32_t value) {
  to[0] = static_cast<std::byte>(value >> 8);
  to[1] = static_cast<std::byte>(value);
}

/// struct can_frame and canfd_frame (linux/can.h) begin with the id in the machine's order; the files' form has it in network order, and
/// tells the two apart by a flag.
void mend_can(KernelPacket& packet, uint16_t protocol, std::span<std::byte> data) {
  constexpr uint16_t kCan = 0x000c, kCanFd = 0x000d;
  constexpr size_t kFlags = 5;
  constexpr std::byte kFdFormat{0x04};
  if (data.size() <= kFlags || (protocol != kCan && protocol != kCanFd)) return;
  const auto id = __builtin_bswap32(load<uint32_t>(data.data()));
  std::memcpy(data.data(), &id, sizeof id);
  if (protocol == kCanFd) {
    data[kFlags] |= kFdFormat;
  } else {
    data[kFlags] &= ~kFdFormat;
  }
  packet.view.data = data;
}

}  // namespace

void put_link_header(KernelPacket& packet, uint16_t link_type, std::span<std::byte> block) {
  const std::byte* const header = block.data() + packet.header_offset;
  // Read before anything is written: what is made takes the place of this.
  const auto protocol = load_be16(header + kAddress + offsetof(sockaddr_ll, sll_protocol));
  const auto index = load<uint32_t>(header + kInterface);
  const uint8_t packet_type = load8(header + kPacketType);
  const uint8_t address_bytes = load8(header + kAddress + offsetof(sockaddr_ll, sll_halen));
  std::byte address[8];
  std::memcpy(address, header + kAddress + offsetof(sockaddr_ll, sll_addr), sizeof address);
  const auto mac = load<uint16_t>(header + kMacOffset), network = load<uint16_t>(header + kNetworkOffset);
  const auto data = block.subspan(packet.header_offset + mac, packet.view.data.size());

  std::byte made[kCookedV2Bytes] = {};
  uint32_t made_bytes = 0;
  switch (link_type) {
    case kSocketCan:
      return mend_can(packet, protocol, data);
    case kNetlink:
    case kLinuxIrda:
    case kLinuxLapd:
      made_bytes = kCookedBytes;
      store_be16(made, packet_type);
      store_be16(made + 2, packet.hardware_type);
      store_be16(made + 4, address_bytes);
      std::memcpy(made + 6, address, sizeof address);
      store_be16(made + 14, protocol);
      break;
    case link_type::kLinuxSll2:
      made_bytes = kCookedV2Bytes;
      store_be16(made, protocol);
      store_be16(made + 4, index >> 16);
      store_be16(made + 6, index);
      store_be16(made + 8, packet.hardware_type);
      made[10] = std::byte{packet_type};
      made[11] = std::byte{address_bytes};
      std::memcpy(made + 12, address, sizeof address);
      break;
    default:
      return;
  }
  // A header of the device's own that no link type describes is left out, as in a cooked capture of libpcap.
  const size_t own = network > mac && size_t{network} - mac <= data.size() ? network - mac : 0;
  std::byte* const at = data.data() + own - made_bytes;
  std::memcpy(at, made, made_bytes);
  packet.view.data = {at, data.size() - own + made_bytes};
  packet.view.original_length += made_bytes - std::min<uint32_t>(static_cast<uint32_t>(own), packet.view.original_length);
}

}  // namespace lookback::packet
