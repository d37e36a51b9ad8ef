#pragma once
// What the snapshots of a hub share.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "disk_budget.hpp"
#include "hub_paths.hpp"
#include "lookback/base/clock.hpp"
#include "node_client.hpp"
#include "node_registry.hpp"
#include "transfer_slots.hpp"

namespace lookback::hub {

class SnapshotJob;

/// Counted over the hub's life, for the metrics.
struct HubCounters {
  std::atomic<uint64_t> snapshots_completed{0}, snapshots_failed{0};
  std::atomic<uint64_t> members_stored{0}, members_dropped{0}, member_bytes{0};
};

/// Outlives the jobs.
struct JobEnvironment {
  HubPaths paths;
  std::string hub_id;
  NodeAccess access;
  const Clock& clock;
  NodeRegistry& nodes;
  DiskBudget& budget;
  TransferSlots& slots;
  HubCounters& counters;
  /// Takes the archive NAME.tar.zst into the library.
  std::function<void(const std::string& name, int64_t finished_ns)> publish;
  /// Something that lists show has changed.
  std::function<void(const SnapshotJob& job)> changed;
};

}  // namespace lookback::hub
