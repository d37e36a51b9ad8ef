#include "lookback/packet/kernel_block.hpp"

#include <linux/if_packet.h>

#include <cstddef>

#include "packet/load.hpp"

namespace lookback::packet {

namespace {

// The offsets used below, held against the system's own header.
constexpr uint32_t kNextOffset = 0, kSeconds = 4, kNanoseconds = 8, kCaptured = 12, kOnWire = 16,
                   kStatus = 20, kMacOffset = 24, kVlanTci = 32, kVlanTpid = 36;
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

}  // namespace lookback::packet
