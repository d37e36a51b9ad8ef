#pragma once
// Compact blocks: packets repacked with 16 bytes of header each, for links whose packets are small.
// The recorder fills one in its own memory, hands it to Store::append_block and starts again.
// Nothing is allocated, each packet is one memcpy.
//
//   record = u64 time_ns, u64 bits, data (captured bytes, VLAN tags in place, unpadded)
//   bits   = captured:20 original:20 interface:16 direction:2 reception:3 zero:3      (from the
//   lowest bit)

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>

#include "lookback/packet/packet.hpp"
#include "lookback/store/segment_format.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

inline constexpr uint32_t kCompactHeaderBytes = 16;
inline constexpr uint32_t kCompactMaxBytes =
    (1U << 20) - 1;  ///< captured, and original length (longer ones read as this)
inline constexpr uint32_t kCompactMaxInterface = (1U << 16) - 1;

/// A VLAN tag that the card or the kernel took out of a packet; both in host order.
struct VlanTag {
  uint16_t tpid = 0x8100;
  uint16_t tci = 0;
};
inline constexpr uint32_t kVlanTagBytes = 4;
inline constexpr uint32_t kVlanTagOffset = 12;  ///< behind the two MAC addresses (IEEE 802.1Q 9.4)

struct CompactRecord {
  uint64_t time_ns = 0;
  uint64_t bits = 0;

  [[nodiscard]] static constexpr CompactRecord make(int64_t time_ns, uint32_t captured,
                                                    uint32_t original, uint32_t interface,
                                                    packet::Direction direction,
                                                    packet::Reception reception) {
    return {static_cast<uint64_t>(time_ns),
            captured | uint64_t{std::min(original, kCompactMaxBytes)} << 20 |
                uint64_t{interface} << 40 | uint64_t{static_cast<uint8_t>(direction)} << 56 |
                uint64_t{static_cast<uint8_t>(reception)} << 58};
  }
  [[nodiscard]] constexpr uint32_t captured() const { return bits & 0xFFFFF; }
  [[nodiscard]] constexpr uint32_t original() const { return bits >> 20 & 0xFFFFF; }
  [[nodiscard]] constexpr uint32_t interface() const { return bits >> 40 & 0xFFFF; }
  [[nodiscard]] constexpr uint8_t direction() const { return bits >> 56 & 3; }
  [[nodiscard]] constexpr uint8_t reception() const { return bits >> 58 & 7; }
  [[nodiscard]] constexpr uint8_t zero() const { return static_cast<uint8_t>(bits >> 61); }
};
static_assert(sizeof(CompactRecord) == kCompactHeaderBytes);

/// Writes one record to `out`, which has room for it; returns the bytes taken. `view.interface` is
/// the position in the table given to Store::set_interfaces last. A `tag` goes in behind the MAC
/// addresses (the caller has seen that it is Ethernet).
inline size_t append_compact(std::byte* out, const packet::PacketView& view,
                             const VlanTag* tag = nullptr) {
  const auto length = static_cast<uint32_t>(view.data.size());
  const bool tagged = tag != nullptr && length >= kVlanTagOffset;
  const uint32_t extra = tagged ? kVlanTagBytes : 0;
  const auto record =
      CompactRecord::make(view.time_ns, length + extra, view.original_length + extra,
                          view.interface, view.direction, view.reception);
  std::memcpy(out, &record, sizeof record);
  out += sizeof record;
  if (!tagged) {
    if (length > 0) std::memcpy(out, view.data.data(), length);
  } else {
    const std::byte bytes[kVlanTagBytes] = {std::byte(tag->tpid >> 8), std::byte(tag->tpid & 0xFF),
                                            std::byte(tag->tci >> 8), std::byte(tag->tci & 0xFF)};
    std::memcpy(out, view.data.data(), kVlanTagOffset);
    std::memcpy(out + kVlanTagOffset, bytes, kVlanTagBytes);
    std::memcpy(out + kVlanTagOffset + kVlanTagBytes, view.data.data() + kVlanTagOffset,
                length - kVlanTagOffset);
  }
  return sizeof record + length + extra;
}

/// A compact block under construction in the caller's memory (4096-aligned; make it known to
/// Store::register_memory). Small blocks take few pages: the header and its tags go directly in
/// front of the packets once their number is known.
class CompactBlock {
 public:
  /// `memory` is a multiple of a page, two pages at least, and outlives this object.
  explicit CompactBlock(std::span<std::byte> memory) : memory_(memory) {
    while (front_pages_ * kPageBytes + kLead <
           front_bytes(static_cast<uint32_t>(memory.size()) - front_pages_ * kPageBytes))
      ++front_pages_;
    clear();
  }

  /// False when there is no room for it: flush, clear and try again. A packet that does not fit
  /// into an empty block, or is longer than kCompactMaxBytes, never will: see fits_empty.
  [[nodiscard]] bool append(const packet::PacketView& view, const VlanTag* tag = nullptr) {
    const size_t need = kCompactHeaderBytes + view.data.size() + kVlanTagBytes;
    if (need > memory_.size() - at_ || view.data.size() > kCompactMaxBytes - kVlanTagBytes)
      return false;
    // The memory was a write's a moment ago: its lines are fetched before they are due.
    const size_t until = std::min(at_ + need + kPrefetchAhead, memory_.size());
    for (; asked_for_ < until; asked_for_ += kCacheLine)
      __builtin_prefetch(memory_.data() + asked_for_, 1);
    at_ += append_compact(memory_.data() + at_, view, tag);
    ++packets_;
    first_ns_ = std::min(first_ns_, view.time_ns);
    last_ns_ = std::max(last_ns_, view.time_ns);
    return true;
  }
  [[nodiscard]] bool fits_empty(size_t captured) const {
    return captured <= kCompactMaxBytes - kVlanTagBytes &&
           kCompactHeaderBytes + captured + kVlanTagBytes <= memory_.size() - start();
  }
  [[nodiscard]] uint32_t packets() const { return packets_; }
  [[nodiscard]] bool empty() const { return packets_ == 0; }
  [[nodiscard]] size_t payload_bytes() const { return at_ - start(); }
  [[nodiscard]] int64_t first_ns() const { return first_ns_; }  ///< of a block that is not empty
  [[nodiscard]] int64_t last_ns() const { return last_ns_; }

  struct Finished {
    std::span<std::byte> block;  ///< for Store::append_block, inside the memory
    BlockInfo info;
  };
  /// What is to be appended; clear() afterwards, whatever came of it.
  [[nodiscard]] Finished finish() const {
    const auto payload = static_cast<uint32_t>(payload_bytes());
    uint32_t pages = 0;
    while (pages * kPageBytes + kLead <
           sizeof(BlockHeader) + kTagBytes * round_up(payload, kSectorBytes) / kSectorBytes)
      ++pages;
    Finished done;
    done.info.kind = BlockKind::compact;
    done.info.first_packet = pages * kPageBytes + kLead;
    done.info.used_bytes = done.info.first_packet + payload;
    done.info.packets = packets_;
    done.info.first_ns = first_ns_;
    done.info.last_ns = last_ns_;
    done.block = memory_.subspan(size_t{front_pages_ - pages} * kPageBytes);
    return done;
  }
  void clear() {
    at_ = asked_for_ = start();
    packets_ = 0;
    first_ns_ = std::numeric_limits<int64_t>::max();
    last_ns_ = std::numeric_limits<int64_t>::min();
  }

 private:
  /// The packets start one sector behind a page boundary.
  static constexpr uint32_t kLead = kSectorBytes;
  static constexpr size_t kPrefetchAhead = 1024, kCacheLine = 64;
  [[nodiscard]] size_t start() const { return size_t{front_pages_} * kPageBytes + kLead; }

  std::span<std::byte> memory_;
  uint32_t front_pages_ = 0;
  size_t at_ = 0, asked_for_ = 0;
  uint32_t packets_ = 0;
  int64_t first_ns_ = 0, last_ns_ = 0;
};

}  // namespace lookback::store
