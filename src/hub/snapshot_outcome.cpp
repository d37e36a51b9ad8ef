// What a snapshot has of each node in the end, and what it lacks.
#include <algorithm>

#include "lookback/base/log.hpp"
#include "losses.hpp"
#include "node_calls.hpp"
#include "parallel.hpp"
#include "snapshot_job.hpp"

namespace lookback::hub {

using std::chrono::milliseconds;

namespace {


}  // namespace

void SnapshotJob::confirm_members() {
  {
    const std::lock_guard lock(mutex_);
    confirmed_.assign(record_.nodes.size(), std::nullopt);
  }
  for_each_parallel(record_.nodes.size(), kCallThreads, [&](size_t i) {
    const NodeRecord& node = record_.nodes[i];
    const TransferTotals totals = transfers_[i]->totals();
    // Where no member was read, nothing can have been found.
    if (!node.frozen || totals.members_done == totals.given_up + totals.dropped) return;
    auto told = ask_again(node, !totals.given_up_because);
    if (!told)
      log_warning("node {} does not say what its members of snapshot {} lack: {}", node.entry.name,
                  name_, told.error().message);
    const std::lock_guard lock(mutex_);
    confirmed_[i] = std::move(told);
  });
}

Result<NodeRecord> SnapshotJob::ask_again(const NodeRecord& node, bool patient) {
  const int64_t give_up_ns = env_.clock.monotonic_ns() + record_.deadline_ns;
  for (milliseconds wait = kFirstPause;; wait = std::min(wait * 2, kLongestPause)) {
    NodeRecord told = node;
    auto client = NodeClient::create(env_.access, node.entry.name, place_of(node), record_.deadline_ns);
    const auto asked = client ? client->describe(id_, told, ended_)
                              : Result<>(tl::make_unexpected(client.error()));
    if (asked) return told;
    // A node that is being started again is waited for like for a member.
    const bool again = patient && may_pass(asked.error().kind) && !ended_ &&
                       env_.clock.monotonic_ns() < give_up_ns;
    if (!again) return tl::make_unexpected(asked.error());
    pause(wait);
  }
}

std::vector<Gap> SnapshotJob::final_gaps(size_t i) const {
  const NodeRecord& node = record_.nodes[i];
  if (!node.frozen) {
    // Nothing is known of its clock: its time is the hub's.
    return {{record_.window.from_ns, record_.window.to_ns, 0, to_string(GapReason::not_frozen)}};
  }
  const TimeWindow window = node.window.empty() ? record_.window : node.window;
  std::vector<Gap> gaps = node.entry.gaps;
  if (i < confirmed_.size() && confirmed_[i]) {
    if (const auto& told = *confirmed_[i])
      add_gaps(gaps, told->entry.gaps);
    else
      add_gaps(gaps, {{window.from_ns, window.to_ns, 0, to_string(GapReason::not_confirmed)}});
  }
  add_lost(gaps, transfers_[i]->lost(), window, record_.networks.empty());
  return gaps;
}

archive::NodeEntry SnapshotJob::final_entry(size_t i) const {
  const NodeRecord& node = record_.nodes[i];
  archive::NodeEntry entry = node.entry;
  entry.gaps = final_gaps(i);
  if (!node.frozen) {
    entry.status = "failed";
    return entry;
  }
  bool covers_window = node.covers_window;
  std::string lacking = node.entry.reason;
  const TransferTotals totals = transfers_[i]->totals();
  entry.packets = totals.packets;
  entry.bytes = totals.content_bytes;
  const uint64_t missing = totals.members_total - totals.members_done;
  std::string reason;
  const auto add = [&](std::string text) {
    if (!reason.empty()) reason += "; ";
    reason += text;
  };
  if (totals.given_up_because) add(*totals.given_up_because);
  if (missing > 0)
    add(fmt::format("{} of {} members were not transferred", missing, totals.members_total));
  if (totals.given_up > 0)
    add(fmt::format("the node gave up {} of {} members to keep recording", totals.given_up,
                    totals.members_total));
  if (totals.dropped > 0)
    add(fmt::format("{} of {} members were damaged and are left out ({})", totals.dropped,
                    totals.members_total, totals.first_drop));
  const bool lacks = missing + totals.given_up + totals.dropped > 0 || totals.given_up_because;
  if (i < confirmed_.size() && confirmed_[i]) {
    if (const auto& told = *confirmed_[i]) {
      covers_window = covers_window && told->covers_window;
      if (!told->entry.reason.empty()) lacking = told->entry.reason;
    } else {
      add("the node did not say what its members lack: " + confirmed_[i]->error().message);
    }
  }
  if (!covers_window)
    add(lacking.empty() ? "the node did not have all of the window" : lacking);
  else if (reason.empty() && !entry.gaps.empty())
    add(entry.gaps.front().reason);
  entry.reason = reason;
  entry.status = !lacks && covers_window && entry.gaps.empty() ? "complete"
                 : lacks && totals.stored == 0                 ? "failed"
                                                               : "partial";
  return entry;
}

}  // namespace lookback::hub
