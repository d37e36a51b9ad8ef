#pragma once
// What a manifest may have, beyond which it is corrupt; nodes are held to the same when they freeze a window.

#include <cstddef>

#include "lookback/base/coverage.hpp"

namespace lookback::archive {

inline constexpr size_t kMaxText = 1024;             ///< bytes of a name, version or other short text
using lookback::kMaxReason;                          ///< of a tag's value as well
inline constexpr size_t kMaxInterfaceName = 65'535;  ///< bytes, as a pcapng option may have
inline constexpr size_t kMaxInterfaceText = 65'536;  ///< bytes of what a capture file says of an interface or of itself
inline constexpr size_t kMaxNodes = 10'000;
inline constexpr size_t kMaxNodeGaps = 100'000, kMaxNodeClock = 100'000, kMaxNodeInterfaces = 65'536,
                        kMaxNodeLayers = 16, kMaxNodeExcluded = 1'000;
inline constexpr size_t kMaxNetworks = 1'000, kMaxTags = 256;

}  // namespace lookback::archive
