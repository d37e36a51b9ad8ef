#include "snapshot_view.hpp"

#include "lookback/base/saturating.hpp"

namespace lookback::hub {

namespace {

archive::SnapshotNode node_of(const NodeRecord& record, const SnapshotJobState::Node* transfer) {
  archive::SnapshotNode node;
  node.entry = record.entry;
  if (transfer == nullptr) {
    if (node.entry.status.empty()) node.entry.status = record.frozen ? "frozen" : "pending";
    return node;
  }
  const TransferTotals& totals = transfer->totals;
  node.members_total = totals.members_total;
  node.members_done = totals.members_done;
  if (transfer->outcome) {
    node.entry = *transfer->outcome;
    return node;
  }
  node.entry.status = totals.started ? "transferring" : "frozen";
  node.entry.packets = totals.packets;
  node.entry.bytes = totals.content_bytes;
  return node;
}

}  // namespace

archive::Snapshot view_of(const SnapshotJobState& job) {
  archive::Snapshot snapshot;
  snapshot.name = job.record.name;
  snapshot.id = job.record.id;
  snapshot.state = job.state;
  snapshot.reason = job.reason;
  snapshot.window = job.record.window;
  snapshot.created_ns = job.record.created_ns;
  snapshot.finished_ns = job.record.finished_ns;
  snapshot.size_bytes = job.size_bytes;
  snapshot.tags = job.record.tags;
  snapshot.networks = job.record.networks;
  snapshot.complete = job.state == archive::SnapshotState::completed;
  archive::SnapshotProgress& progress = snapshot.progress;
  for (size_t i = 0; i < job.record.nodes.size(); ++i) {
    const SnapshotJobState::Node* const transfer = i < job.nodes.size() ? &job.nodes[i] : nullptr;
    snapshot.nodes.push_back(node_of(job.record.nodes[i], transfer));
    snapshot.complete = snapshot.complete && snapshot.nodes.back().entry.status == "complete";
    if (transfer == nullptr) continue;
    saturate(snapshot.content_bytes, transfer->totals.content_bytes);
    saturate(snapshot.packets, transfer->totals.packets);
    progress.members_total += transfer->totals.members_total;
    progress.members_done += transfer->totals.members_done;
    saturate(progress.bytes_total, transfer->totals.bound_total);
    saturate(progress.bytes_done, transfer->totals.bound_done);
  }
  if (job.seconds > 0 && job.state == archive::SnapshotState::in_progress)
    progress.bytes_per_second = static_cast<double>(progress.bytes_done) / job.seconds;
  return snapshot;
}

}  // namespace lookback::hub
