#pragma once
// freeze.json: what a freeze is made of, so that it means the same after any restart. Version 2:
//   {version, id, owner, extra (base64), from_ns, to_ns, created_ns, expires_ns, oldest_ns|null,
//    parts: [[[from_ns, to_ns], …], …], gaps, clock,
//    segments: [{file, given_up, runs: [[offset, bytes, packets, first_ns, last_ns, part], …]}, …]}

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

[[nodiscard]] std::string freeze_to_json(const Freeze& freeze);
/// Kind corrupt for anything that freeze_to_json would not write.
[[nodiscard]] Result<Freeze> freeze_from_json(std::string_view text);

/// Replaces freeze.json in `directory` by rename. Durable against a killed process at once; against
/// a power cut only after sync_freeze, which is left to a moment when nobody waits.
[[nodiscard]] Result<> write_freeze(const std::filesystem::path& directory, std::string_view json);
[[nodiscard]] Result<> sync_freeze(const std::filesystem::path& directory);

}  // namespace lookback::store
