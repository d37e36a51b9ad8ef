#pragma once
// Unaligned loads. The caller has checked the bounds.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lookback::packet {

static_assert(std::endian::native == std::endian::little, "formats are written in host order");

template <class T>
[[nodiscard]] inline T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
[[nodiscard]] inline uint8_t load8(const std::byte* from) {
  return static_cast<uint8_t>(*from);
}
[[nodiscard]] inline uint16_t load_be16(const std::byte* from) {
  return __builtin_bswap16(load<uint16_t>(from));
}
[[nodiscard]] inline uint32_t load_be32(const std::byte* from) {
  return __builtin_bswap32(load<uint32_t>(from));
}

}  // namespace lookback::packet
