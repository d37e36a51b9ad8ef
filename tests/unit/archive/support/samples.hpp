#pragma once
// Contents that compress like traffic does, and members made of them.

#include <cstdint>
#include <vector>

#include "lookback/archive/member.hpp"

namespace lookback::test {

/// Repetitive and random parts in turn, the same for the same seed.
[[nodiscard]] std::vector<std::byte> sample_content(size_t bytes, uint32_t seed = 1);
/// A member cut into frames of `frame_bytes`, each with ten packets declared.
[[nodiscard]] archive::MemberContent sample_member(std::span<const std::byte> content, size_t frame_bytes);

}  // namespace lookback::test
