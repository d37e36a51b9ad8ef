#pragma once
// Parts of pcapng blocks (draft-ietf-opsawg-pcapng) that the reader and the section walker both
// take apart.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

/// A stamp in nanoseconds, and how well that says it.
struct Moment {
  int64_t ns = 0;  ///< clamped to what an int64_t can hold
  StampState state = StampState::exact;
};
[[nodiscard]] Moment moment_of(const RawStamp& stamp);

/// The comment of an interface block that tells PcapngInterface::same_name.
[[nodiscard]] std::string same_name_comment(uint32_t same_name);

struct InterfaceBlock {
  PcapngInterface interface;
  RawStamp scale;  ///< without ticks
};

/// `body` is what stands between the two lengths. Kind corrupt.
[[nodiscard]] Result<InterfaceBlock> parse_interface_block(std::span<const std::byte> body,
                                                           ByteOrder order, LeftOut& left_out);

/// An Interface Statistics Block: the number of the interface in its section, and what is counted.
struct StatisticsBlock {
  uint32_t interface = 0;
  ReadStatistics counts;
};
/// `scale_of` gives the time scale of an interface number, or null where there is none. Kind corrupt.
[[nodiscard]] Result<StatisticsBlock> parse_statistics_block(
    std::span<const std::byte> body, ByteOrder order,
    const std::function<const RawStamp*(uint32_t)>& scale_of, LeftOut& left_out);

/// A process block (kPcapngProcess). Kind corrupt.
[[nodiscard]] Result<PcapngProcess> parse_process_block(std::span<const std::byte> body,
                                                        ByteOrder order);

/// What a section header says of its writer, each at most once in `origins`. Kind corrupt.
[[nodiscard]] Result<> parse_origins(std::span<const std::byte> options, ByteOrder order,
                                     std::vector<std::string>& origins, LeftOut& left_out);

}  // namespace lookback::packet
