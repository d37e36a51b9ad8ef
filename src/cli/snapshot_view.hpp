#pragma once
// What is shown of a snapshot, be it the hub's object (GET /api/v1/snapshots/{name}) or an archive
// file's manifest.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/result.hpp"

namespace lookback::cli {

/// Whether an argument means a file: it has a '/' in it, or ends in .tar.zst or .zst and exists.
[[nodiscard]] bool means_file(const std::string& argument);

/// The hub's form of a snapshot, made from a manifest, so that scripts read files and hubs alike.
[[nodiscard]] nlohmann::json object_of(const archive::Manifest& manifest, uint64_t file_bytes);

/// "completed", "incomplete" (completed, but not wholly covered), "in_progress 42 %", "failed".
[[nodiscard]] std::string status_text(const nlohmann::json& snapshot);

/// The table of `snapshot list`.
[[nodiscard]] std::string snapshots_table(const nlohmann::json& snapshots);
/// The page of `snapshot show`.
[[nodiscard]] std::string snapshot_page(const nlohmann::json& snapshot);

/// One line on standard error for each node that does not have the whole window, and why.
void report_incomplete(const nlohmann::json& snapshot);

}  // namespace lookback::cli
