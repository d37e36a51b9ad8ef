#pragma once
// The kinds of members that an archive has: where they stand in it, and what they are. A new kind is a row here.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lookback/archive/manifest.hpp"

namespace lookback::archive {

enum class MemberKind : uint8_t { packets, os_events };

enum class MemberMaker : uint8_t { node, hub };

struct MemberKindInfo {
  MemberKind kind;
  std::string_view name;    ///< in JSON
  std::string_view folder;  ///< below its node's
  std::string_view suffix;
  MemberMaker maker;
  bool has_packets;  ///< and a manifest counts them
  /// A node numbers the members of a freeze of all kinds together: those of this kind from here on, and below the next kind's.
  uint32_t first_index;
};

/// By first_index.
inline constexpr std::array kMemberKinds{
    MemberKindInfo{MemberKind::packets, "packets", "packets", ".pcapng", MemberMaker::node, true, 0},
    MemberKindInfo{MemberKind::os_events, "os-events", "os-events", ".ndjson", MemberMaker::node, false, 50'000'000},
};
inline constexpr uint32_t kMaxMemberIndex = 99'999'999;  ///< eight digits in an archive

[[nodiscard]] const MemberKindInfo& info_of(MemberKind kind);
[[nodiscard]] std::optional<MemberKind> member_kind(std::string_view name);
[[nodiscard]] MemberKind kind_of_index(uint32_t index);
/// How many members of a kind a freeze may have.
[[nodiscard]] uint32_t most_members(MemberKind kind);

/// "nodes/web-1/packets/00000007.pcapng"
[[nodiscard]] std::string member_path(MemberKind kind, std::string_view node, uint64_t number);
/// Nothing for a member of a kind that is not known here.
[[nodiscard]] std::optional<MemberKind> kind_of(const MemberEntry& member);

}  // namespace lookback::archive
