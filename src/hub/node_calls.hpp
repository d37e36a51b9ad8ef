#pragma once
// How the hub calls nodes.

#include <chrono>
#include <cstddef>

namespace lookback::hub {

/// Nodes called at a time for one snapshot.
inline constexpr size_t kCallThreads = 64;
/// How long to wait before a node is asked again: at first, and at most.
inline constexpr std::chrono::milliseconds kFirstPause{100}, kLongestPause{2'000};

}  // namespace lookback::hub
