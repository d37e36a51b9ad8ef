// What is known of a snapshot while it is being made.
#include <utility>

#include "lookback/base/saturating.hpp"
#include "snapshot_job.hpp"

namespace lookback::hub {

archive::Snapshot SnapshotJob::snapshot() const {
  archive::Snapshot snapshot;
  archive::SnapshotProgress& progress = snapshot.progress;
  std::shared_ptr<MemberStore> store;
  {
    const std::lock_guard lock(mutex_);
    store = store_;
    snapshot.name = name_;
    snapshot.id = id_;
    snapshot.state = state_;
    if ((state_ == State::failed || state_ == State::cancelled) && error_)
      snapshot.reason = error_->message;
    snapshot.window = record_.window;
    snapshot.created_ns = record_.created_ns;
    snapshot.finished_ns = record_.finished_ns;
    snapshot.size_bytes = size_bytes_;
    snapshot.tags = record_.tags;
    snapshot.networks = record_.networks;
    snapshot.complete = state_ == State::completed;
    for (size_t i = 0; i < record_.nodes.size(); ++i) {
      archive::NodeEntry entry = record_.nodes[i].entry;
      TransferTotals totals;
      if (!transfers_.empty()) {
        totals = transfers_[i]->totals();
        const bool settled = !record_.nodes[i].frozen || totals.ended || state_ == State::completed;
        if (settled) {
          entry = final_entry(i);
        } else {
          entry.status = totals.started ? "transferring" : "frozen";
          entry.packets = totals.packets;
          entry.bytes = totals.content_bytes;
        }
      } else if (entry.status.empty()) {
        entry.status = record_.nodes[i].frozen ? "frozen" : "pending";
      }
      snapshot.complete = snapshot.complete && entry.status == "complete";
      saturate(snapshot.content_bytes, totals.content_bytes);
      saturate(snapshot.packets, totals.packets);
      progress.members_total += totals.members_total;
      progress.members_done += totals.members_done;
      saturate(progress.bytes_total, totals.bound_total);
      saturate(progress.bytes_done, totals.bound_done);
      snapshot.nodes.push_back({std::move(entry), totals.members_total, totals.members_done});
    }
    if (transfer_started_ns_ != 0) {
      const double seconds =
          static_cast<double>(env_.clock.monotonic_ns() - transfer_started_ns_) / 1e9;
      if (seconds > 0 && state_ == State::in_progress)
        progress.bytes_per_second = static_cast<double>(progress.bytes_done) / seconds;
    }
  }
  if (store) snapshot.size_bytes = store->bytes_written();
  return snapshot;
}

}  // namespace lookback::hub
