#pragma once
// The unit of direct I/O here, and of segment files: as large as pages of memory and blocks of file systems are.

#include <cstdint>

namespace lookback {

inline constexpr uint32_t kPageBytes = 4096;

/// Whole pages for so many bytes.
[[nodiscard]] constexpr uint64_t in_pages(uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace lookback
