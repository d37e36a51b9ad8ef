#pragma once
// A snapshot as people and programs see it, under way or published: the object of the hub's API, and of `snapshot show -o json`.

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/archive/node_json.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"

namespace lookback::archive {

enum class SnapshotState : uint8_t {
  pending,      ///< nodes are freezing the window
  in_progress,  ///< members are being transferred
  completed,    ///< published
  failed,       ///< it ended without an archive, or the archive is damaged
  cancelled,    ///< nothing is left of it
  other,        ///< one that a newer hub knows
};
[[nodiscard]] std::string_view name_of(SnapshotState state);
[[nodiscard]] SnapshotState snapshot_state(std::string_view name);

/// Where an archive lies.
enum class Location : uint8_t {
  local,  ///< in the hub's data directory
  file,   ///< one that is read without a hub
  other,  ///< one that a newer hub knows
};
[[nodiscard]] std::string_view name_of(Location location);
[[nodiscard]] Location location_of(std::string_view name);

struct SnapshotNode {
  NodeEntry entry;  ///< its status is also "pending", "frozen" or "transferring" while the snapshot is under way
  uint64_t members_total = 0, members_done = 0;
  friend bool operator==(const SnapshotNode&, const SnapshotNode&) = default;
};

struct SnapshotProgress {
  uint64_t members_total = 0, members_done = 0, bytes_total = 0, bytes_done = 0;
  double bytes_per_second = 0;
  friend bool operator==(const SnapshotProgress&, const SnapshotProgress&) = default;
};

struct Snapshot {
  std::string name, id, created_by;
  SnapshotState state = SnapshotState::pending;
  bool complete = false;  ///< the whole window of all nodes
  std::string reason;     ///< why it failed, or is not complete
  TimeWindow window;      ///< hub time; empty: not known
  int64_t created_ns = 0, finished_ns = 0;  ///< 0: not yet, or not known
  uint64_t size_bytes = 0, content_bytes = 0, packets = 0;
  std::map<std::string, std::string> tags;
  std::vector<std::string> networks;
  Location location = Location::local;
  SnapshotProgress progress;
  std::vector<SnapshotNode> nodes;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

/// Of a published archive. `detail` full copies all that the manifest tells of nodes.
[[nodiscard]] Snapshot snapshot_of(const Manifest& manifest, NodeDetail detail);

/// All but the nodes.
[[nodiscard]] nlohmann::json snapshot_facts_to_json(const Snapshot& snapshot);
[[nodiscard]] nlohmann::json snapshot_to_json(const Snapshot& snapshot, NodeDetail detail);
/// The same as text. A node at a time becomes JSON: the values of all would take many times the memory.
[[nodiscard]] std::string snapshot_to_text(const Snapshot& snapshot, NodeDetail detail);
/// What a hub of another version does not tell is empty.
[[nodiscard]] Result<Snapshot> snapshot_from_json(const nlohmann::json& json);

}  // namespace lookback::archive
