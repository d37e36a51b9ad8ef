#pragma once
// The exporter's fast path: packets of one pcapng section as append_section_header(),
// append_interface() and append_packet() write it (little-endian, times in nanoseconds), in memory,
// whole or cut at block boundaries. The bytes may come from an archive that somebody else altered:
// every bound is checked, and what our writer does not write is damage.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/packet.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::packet {

/// An enhanced packet block with its raw bytes, so that it can be copied as it stands.
struct RawPacket {
  PacketView view;                   ///< `interface` indexes the section's interfaces
  std::span<const std::byte> block;  ///< type to trailing length
};

/// Allocates only for interface blocks. Views live as long as the bytes given. One thread; cheap to
/// make per frame.
class SectionWalker {
 public:
  /// The first part of a section, from its section header block on.
  explicit SectionWalker(std::span<const std::byte> bytes) : SectionWalker(bytes, 0) {
    expect_section_header_ = true;
  }
  /// A later part, which starts at a block boundary, behind so many described interfaces.
  SectionWalker(std::span<const std::byte> bytes, size_t interfaces)
      : start_(bytes.data()), at_(bytes.data()), left_(bytes.size()), interface_count_(interfaces) {}

  /// The next packet; false at the end or at damage (then error() says what and where).
  [[nodiscard]] bool next(RawPacket& packet) {
    for (;;) {
      if (left_ < kSmallestBlock) return at_end();
      const uint32_t type = word(at_);
      const uint32_t length = word(at_ + 4);
      if (length < kSmallestBlock || length > left_ || length % 4 != 0 ||
          word(at_ + length - 4) != length) [[unlikely]]
        return damage("a block of an impossible length");
      if (type != kPcapngEnhancedPacket || expect_section_header_) [[unlikely]] {
        if (!other_block(type, length)) return false;
        at_ += length;
        left_ -= length;
        continue;
      }
      const uint32_t interface = word(at_ + 8);
      const uint32_t captured = word(at_ + 20);
      if (length < kPacketFrame || captured > length - kPacketFrame) [[unlikely]]
        return damage("a packet longer than its block");
      if (interface >= interface_count_) [[unlikely]]
        return damage("a packet of an interface that was not described");
      const uint64_t time = uint64_t{word(at_ + 12)} << 32 | word(at_ + 16);
      if (time > INT64_MAX) [[unlikely]]
        return damage("a time beyond all clocks");
      packet.view.time_ns = static_cast<int64_t>(time);
      packet.view.data = {at_ + kPacketData, captured};
      packet.view.original_length = word(at_ + 24);
      packet.view.interface = interface;
      packet.block = {at_, length};
      const uint32_t padded =
          (captured + 3) & ~3u;  // at most length - kPacketFrame, itself a multiple of 4
      const uint32_t options = length - kPacketFrame - padded;
      uint32_t flags = 0;
      if (options != 0) {
        const std::byte* option = at_ + kPacketData + padded;
        // Our writer puts the flags first.
        if (options >= 8 && word(option) == (uint32_t{kEpbFlags} | 4u << 16)) [[likely]] {
          flags = word(option + 4);
        } else if (!find_flags({option, options}, flags)) {
          return damage("options that leave their block");
        }
      }
      set_flags(flags, packet.view);
      at_ += length;
      left_ -= length;
      return true;
    }
  }

  /// Those that the part describes, so far; grow when next() passes an interface or a process block.
  [[nodiscard]] const std::vector<PcapngInterface>& interfaces() const { return interfaces_; }
  [[nodiscard]] const std::vector<PcapngProcess>& processes() const { return processes_; }
  /// Set when the walk ended before the bytes did; kind corrupt.
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  /// Bytes walked over.
  [[nodiscard]] size_t offset() const { return static_cast<size_t>(at_ - start_); }

  /// The value of a packet's process block option among its options, or null.
  [[nodiscard]] static std::byte* find_process(std::span<std::byte> options);

  /// Bits 0-1 direction, 2-4 reception; reserved values count as unknown.
  static void set_flags(uint32_t flags, PacketView& view) {
    const uint32_t direction = flags & 3, reception = flags >> 2 & 7;
    view.direction = direction < 3 ? static_cast<Direction>(direction) : Direction::unknown;
    view.reception = reception < 5 ? static_cast<Reception>(reception) : Reception::unspecified;
  }

 private:
  static constexpr uint32_t kSmallestBlock = 12, kPacketData = 28;
  static constexpr uint32_t kPacketFrame =
      kPacketData + 4;  // all of the block but data and options

  [[nodiscard]] static uint32_t word(const std::byte* from) {
    uint32_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  bool at_end();
  bool damage(std::string_view what);
  bool other_block(uint32_t type, uint32_t length);
  static bool find_flags(std::span<const std::byte> options, uint32_t& flags);

  const std::byte* start_;
  const std::byte* at_;
  size_t left_;
  size_t interface_count_;
  bool expect_section_header_ = false;
  std::vector<PcapngInterface> interfaces_;
  std::vector<PcapngProcess> processes_;
  std::optional<Error> error_;
};

}  // namespace lookback::packet
