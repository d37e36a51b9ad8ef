#pragma once
// Parts of pcapng blocks (draft-ietf-opsawg-pcapng) that the reader and the section walker both
// take apart.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lookback/base/result.hpp"
#include "lookback/packet/pcapng.hpp"
#include "packet/load.hpp"

namespace lookback::packet {

inline constexpr uint32_t kByteOrderMagic = 0x1A2B3C4D;

/// Loads in the byte order of a section or file.
struct ByteOrder {
  bool swapped = false;
  [[nodiscard]] uint16_t u16(const std::byte* from) const {
    return swapped ? load_be16(from) : load<uint16_t>(from);
  }
  [[nodiscard]] uint32_t u32(const std::byte* from) const {
    return swapped ? load_be32(from) : load<uint32_t>(from);
  }
  [[nodiscard]] uint64_t u64(const std::byte* from) const {
    const auto value = load<uint64_t>(from);
    return swapped ? __builtin_bswap64(value) : value;
  }
};

/// Goes through the options of a block; ends at the end marker or the last byte.
class OptionReader {
 public:
  OptionReader(std::span<const std::byte> options, ByteOrder order)
      : left_(options), order_(order) {}
  struct Option {
    uint16_t code;
    std::span<const std::byte> value;
  };
  [[nodiscard]] std::optional<Option> next();
  /// True when an option reached past the block: then next() has ended early.
  [[nodiscard]] bool damaged() const { return damaged_; }

 private:
  std::span<const std::byte> left_;
  ByteOrder order_;
  bool damaged_ = false;
};

/// From an interface's time stamps to nanoseconds (if_tsresol, if_tsoffset).
struct TimeScale {
  uint8_t resolution = 6;  ///< bit 7: power of 2, otherwise of 10; the rest is the negated exponent
  int64_t offset_seconds = 0;
  friend bool operator==(const TimeScale&, const TimeScale&) = default;
  /// Clamped to what an int64_t can hold.
  [[nodiscard]] int64_t to_ns(uint64_t ticks) const;
};

struct InterfaceBlock {
  PcapngInterface interface;
  TimeScale scale;
};

/// `body` is what stands between the two lengths. Kind corrupt.
[[nodiscard]] Result<InterfaceBlock> parse_interface_block(std::span<const std::byte> body,
                                                           ByteOrder order);

}  // namespace lookback::packet
