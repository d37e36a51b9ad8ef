#pragma once
// A snapshot that is being made, or has failed, as people and programs see it. A pure function.

#include <optional>
#include <vector>

#include "lookback/archive/snapshot.hpp"
#include "snapshot_record.hpp"
#include "transfer.hpp"

namespace lookback::hub {

/// What there is to see of a job, at one moment.
struct SnapshotJobState {
  const SnapshotRecord& record;
  archive::SnapshotState state;
  std::string reason{};     ///< why it failed or was cancelled
  uint64_t size_bytes = 0;  ///< of the archive so far
  double seconds = 0;       ///< since the transfer began; 0: it has not
  /// One a node, once the transfer has begun.
  struct Node {
    TransferTotals totals;
    std::optional<archive::NodeEntry> outcome;  ///< once nothing more comes of it
  };
  std::vector<Node> nodes{};
};

[[nodiscard]] archive::Snapshot view_of(const SnapshotJobState& job);

}  // namespace lookback::hub
