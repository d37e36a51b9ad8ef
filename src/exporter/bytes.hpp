#pragma once
// Little-endian fields at any alignment. Captures are written in the byte order of the machine,
// which is little-endian.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lookback::exporter {

static_assert(std::endian::native == std::endian::little);

template <class T>
[[nodiscard]] T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// Enhanced packet block (draft-ietf-opsawg-pcapng, section 4.3): where its fields stand.
namespace epb {
inline constexpr uint32_t kLength = 4, kInterface = 8, kTimeHigh = 12, kTimeLow = 16, kCaptured = 20,
                          kOriginal = 24, kData = 28;
inline constexpr uint32_t kSmallest = 32;  ///< without data and options
}  // namespace epb

/// A classic pcap record (draft-ietf-opsawg-pcap, section 5): seconds, nanoseconds (or
/// microseconds), captured, original, data.
namespace pcap_record {
inline constexpr uint32_t kCaptured = 8, kData = 16;
}

}  // namespace lookback::exporter
