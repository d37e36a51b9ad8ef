#pragma once
// Structs out of bytes that the kernel gave.

#include <cstring>
#include <span>

namespace lookback::observe {

/// False, and `value` stays, where there are too few bytes. More are newer fields, and passed over.
template <class T>
[[nodiscard]] bool read_as(std::span<const std::byte> bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  return true;
}

}  // namespace lookback::observe
