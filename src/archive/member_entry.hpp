#pragma once
// What holds for every member that a manifest names.

#include <string_view>

#include "lookback/archive/manifest.hpp"

namespace lookback::archive {

/// The manifest's own place: the last member, which it does not list.
inline constexpr std::string_view kManifestName = "manifest.json";

/// Name, node, hash, frames and sums of one entry (kind corrupt).
[[nodiscard]] Result<> check_member_entry(const MemberEntry& member);

}  // namespace lookback::archive
