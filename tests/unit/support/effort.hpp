#pragma once
// How thoroughly a test tries every case of a kind. Sanitizers make each case ten times as dear: their builds try a part of them.

#include <cstddef>

namespace lookback::test {

#ifdef LOOKBACK_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// The step through all offsets of a file: each of them, or one of seven, which meets every place within a word and a sector.
inline constexpr size_t kOffsetStep = kSanitized ? 7 : 1;
/// The number of rounds of a random test.
constexpr int rounds(int whole) { return kSanitized ? whole / 4 : whole; }

}  // namespace lookback::test
