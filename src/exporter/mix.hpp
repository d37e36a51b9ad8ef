#pragma once
// The step of hashes of packets' keys.

#include <cstdint>

namespace lookback::exporter {

/// The upper half of the product folded into the lower one.
[[nodiscard]] inline uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace lookback::exporter
