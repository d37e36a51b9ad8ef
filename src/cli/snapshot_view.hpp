#pragma once
// What is shown of a snapshot, be it the hub's (GET /api/v1/snapshots/{name}) or an archive file's.

#include <string>
#include <vector>

#include "lookback/archive/snapshot.hpp"

namespace lookback::cli {

/// Whether an argument means a file: it has a '/' in it, or ends in .tar.zst or .zst and exists.
[[nodiscard]] bool means_file(const std::string& argument);

/// "FROM to TO", to whole seconds.
[[nodiscard]] std::string window_in_seconds(const TimeWindow& window);

[[nodiscard]] archive::Snapshot snapshot_of_file(const archive::Manifest& manifest, uint64_t file_bytes);

/// "completed", "incomplete" (completed, but not wholly covered), "in_progress 42 %", "failed".
[[nodiscard]] std::string status_text(const archive::Snapshot& snapshot);

/// The table of `snapshot list`.
[[nodiscard]] std::string snapshots_table(const std::vector<archive::Snapshot>& snapshots);
/// The page of `snapshot show`.
[[nodiscard]] std::string snapshot_page(const archive::Snapshot& snapshot);

/// One line on standard error for each node that does not have the whole window, and why.
void report_incomplete(const archive::Snapshot& snapshot);

}  // namespace lookback::cli
