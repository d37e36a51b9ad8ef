#pragma once
// What a snapshot, a node or an interface pattern may be called.

#include <cstdint>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback {

/// Letters, digits, '.', '_', '-'; 1 to 128 of them; not starting with '.' or '-'.
[[nodiscard]] Result<> check_snapshot_name(std::string_view name);
/// The same alphabet, at most 63 characters: a node's name is a folder in the archive.
[[nodiscard]] Result<> check_node_name(std::string_view name);
/// Expands strftime fields ("audit-%Y%m%d-%H%M", UTC) and checks the outcome.
[[nodiscard]] Result<std::string> expand_snapshot_name(std::string_view pattern, int64_t now_ns);
/// Shell-style match with *, ? and [a-z]; a backslash is an ordinary character, so that escaped names match (text.hpp). A
/// pattern that is the very text matches too.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace lookback
