#include "snapshot_outcome.hpp"

#include <algorithm>

#include "losses.hpp"
#include "lookback/base/version.hpp"

namespace lookback::hub {

namespace {

std::vector<Gap> gaps_of(const SnapshotRecord& snapshot, const NodeOutcome& outcome) {
  const NodeRecord& node = outcome.node;
  if (!node.frozen) {
    // Nothing is known of its clock: its time is the hub's.
    return {{snapshot.window.from_ns, snapshot.window.to_ns, 0, to_string(GapReason::not_frozen)}};
  }
  const TimeWindow window = node.window.empty() ? snapshot.window : node.window;
  std::vector<Gap> gaps = node.entry.gaps;
  if (outcome.confirmed != nullptr) {
    if (const auto& confirmed = *outcome.confirmed)
      add_gaps(gaps, confirmed->entry.gaps);
    else
      add_gaps(gaps, {{window.from_ns, window.to_ns, 0, to_string(GapReason::not_confirmed)}});
  }
  add_lost(gaps, outcome.transfer.lost(), window, snapshot.networks.empty());
  return gaps;
}

/// Sentences of one reason.
class Reasons {
 public:
  void add(const std::string& text) { text_ += (text_.empty() ? "" : "; ") + text; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void add_missing_members(Reasons& reasons, const TransferTotals& totals) {
  if (totals.given_up_because) reasons.add(*totals.given_up_because);
  if (totals.members_total > totals.members_done)
    reasons.add(fmt::format("{} of {} members were not transferred", totals.members_total - totals.members_done, totals.members_total));
  if (totals.given_up > 0)
    reasons.add(fmt::format("the node gave up {} of {} members to keep recording", totals.given_up, totals.members_total));
  if (totals.dropped > 0)
    reasons.add(fmt::format("{} of {} members were damaged and are left out ({})", totals.dropped, totals.members_total, totals.first_drop));
}

}  // namespace

archive::NodeEntry entry_of(const SnapshotRecord& snapshot, const NodeOutcome& outcome) {
  const NodeRecord& node = outcome.node;
  archive::NodeEntry entry = node.entry;
  entry.gaps = gaps_of(snapshot, outcome);
  if (!node.frozen) {
    entry.status = "failed";
    return entry;
  }
  const TransferTotals totals = outcome.transfer.totals();
  entry.packets = totals.packets;
  entry.bytes = totals.content_bytes;
  Reasons reasons;
  add_missing_members(reasons, totals);
  bool covers_window = node.covers_window;
  std::string lacking = node.entry.reason;
  if (outcome.confirmed != nullptr) {
    if (const auto& confirmed = *outcome.confirmed) {
      covers_window = covers_window && confirmed->covers_window;
      if (!confirmed->entry.reason.empty()) lacking = confirmed->entry.reason;
    } else {
      reasons.add("the node did not say what its members lack: " + confirmed.error().message);
    }
  }
  if (!covers_window)
    reasons.add(lacking.empty() ? "the node did not have all of the window" : lacking);
  else if (reasons.text().empty() && !entry.gaps.empty())
    reasons.add(entry.gaps.front().reason);
  entry.reason = reasons.text();
  const bool lacks = totals.members_total > totals.members_done || totals.given_up + totals.dropped > 0 || totals.given_up_because;
  entry.status = !lacks && covers_window && entry.gaps.empty() ? "complete" : lacks && totals.stored == 0 ? "failed" : "partial";
  return entry;
}

archive::Manifest manifest_of(const SnapshotRecord& snapshot, std::vector<archive::NodeEntry> nodes) {
  archive::Manifest manifest;
  manifest.name = snapshot.name;
  manifest.id = snapshot.id;
  manifest.created_by = fmt::format("lookback {}", version());
  manifest.created_ns = snapshot.created_ns;
  manifest.window = snapshot.window;
  manifest.ip_filter = snapshot.networks;
  manifest.tags = snapshot.tags;
  manifest.complete = std::all_of(nodes.begin(), nodes.end(), [](const archive::NodeEntry& node) { return node.status == "complete"; });
  manifest.nodes = std::move(nodes);
  return manifest;
}

}  // namespace lookback::hub
