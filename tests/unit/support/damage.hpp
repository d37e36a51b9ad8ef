#pragma once
// Damage to files. A byte that is written over may have had that value: what is flipped is another one for sure.

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>

namespace lookback::test {

/// Flips the bits of `mask` in the byte at `offset`.
inline void flip(const std::filesystem::path& path, uint64_t offset, char mask = 1) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const auto was = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(was ^ mask));
  REQUIRE(file.good());
}

}  // namespace lookback::test
