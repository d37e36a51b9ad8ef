#pragma once
// Tar headers (POSIX.1-2017 pax Interchange Format): ustar, with an extended header in front only where a name or a
// size does not fit. Regular files only, owner 0, mode 0444.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::archive {

inline constexpr uint64_t kTarBlock = 512;
/// Two blocks of zeros close a tar stream.
inline constexpr uint64_t kTarEndBytes = 2 * kTarBlock;
/// The longest name of a member.
inline constexpr size_t kMaxMemberName = 1024;
/// The longest that a member's headers together get.
inline constexpr size_t kMaxTarHeader = 8 * kTarBlock;

struct TarHeader {
  std::string name;
  uint64_t size = 0;
  int64_t mtime_seconds = 0;  ///< kept within what ustar can say: 0 … 8^11 − 1
  friend bool operator==(const TarHeader&, const TarHeader&) = default;
};

/// Zeros that follow a content so that the next header starts on a block.
[[nodiscard]] inline uint64_t tar_padding(uint64_t size) { return (kTarBlock - size % kTarBlock) % kTarBlock; }

/// A name that stays inside the folder it is unpacked to: relative, components neither empty nor "." nor "..",
/// printable ASCII without backslash, at most kMaxMemberName long. Kind corrupt.
[[nodiscard]] Result<> check_member_name(std::string_view name);

/// All header blocks of a member; the name has passed check_member_name.
[[nodiscard]] std::vector<std::byte> encode_tar_header(const TarHeader& header);

/// Reads the headers of exactly one member: [pax header, its records], ustar header, nothing behind. Checks checksums, types and the
/// name, and refuses everything that encode_tar_header would not have written (kind corrupt).
[[nodiscard]] Result<TarHeader> parse_tar_header(std::span<const std::byte> blocks);

}  // namespace lookback::archive
