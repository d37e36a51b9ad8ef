#pragma once
// What a snapshot has of each node in the end, and what it lacks. Pure functions.

#include <optional>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "snapshot_record.hpp"
#include "transfer.hpp"

namespace lookback::hub {

/// What has become of a node.
struct NodeOutcome {
  const NodeRecord& node;
  const NodeTransfer& transfer;
  /// What the node said of its freeze after the last member, or why it did not; null: it was not asked.
  const Result<NodeRecord>* confirmed = nullptr;
};

/// The node as the manifest has it: gaps, status, reason, packets.
[[nodiscard]] archive::NodeEntry entry_of(const SnapshotRecord& snapshot, const NodeOutcome& outcome);

/// The manifest without its members.
[[nodiscard]] archive::Manifest manifest_of(const SnapshotRecord& snapshot, std::vector<archive::NodeEntry> nodes);

}  // namespace lookback::hub
