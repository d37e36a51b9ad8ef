#pragma once
// The frozen windows of one snapshot on its nodes: made, kept, asked after, released. One call at a time, but from any thread.

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "job_environment.hpp"
#include "node_calls.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

/// A node that may keep what it froze for a snapshot that has ended, until it hears from the hub: it was not reached.
struct Unreleased {
  std::string node, why;
};
/// As the end of a message.
[[nodiscard]] std::string unreleased_text(const std::vector<Unreleased>& nodes);

class NodeFreezes {
 public:
  /// `name` and `id` of the snapshot; the id is that of the freezes too. All of it outlives the object.
  NodeFreezes(const JobEnvironment& environment, const std::string& name, const std::string& id, CallContext& context)
      : env_(environment), name_(name), id_(id), context_(context) {}

  /// Freezes on all nodes at once. `done` gets each node's place in the record and what has become of it, from any thread.
  void freeze(const SnapshotRecord& record, const std::function<void(size_t node, NodeRecord frozen)>& done) const;
  /// Keeps the freezes of these nodes for another day.
  void renew(const std::vector<const NodeRecord*>& nodes) const;
  /// What a node says of its freeze now. `patient`: a node that does not answer is asked until the deadline.
  [[nodiscard]] Result<NodeRecord> ask_again(const NodeRecord& node, int64_t deadline_ns, bool patient) const;
  /// Returns the nodes that were not reached. Each is tried once only from when `hurry` is set.
  [[nodiscard]] std::vector<Unreleased> release(const std::vector<NodeRecord>& nodes, const std::atomic<bool>& hurry) const;

 private:
  void freeze_node(NodeRecord& node, bool lost, int64_t clock_error_ns, const FreezeOrder& order, int64_t deadline_ns) const;

  const JobEnvironment& env_;
  const std::string& name_;
  const std::string& id_;
  CallContext& context_;
};

}  // namespace lookback::hub
