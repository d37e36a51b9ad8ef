#include "cli/snapshot_view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/exit_status.hpp"
#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "lookback/base/saturating.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

Colour status_colour(const std::string& status) {
  if (status == "completed" || status == "complete") return Colour::green;
  if (status == "failed") return Colour::red;
  return status == "incomplete" || status == "partial" ? Colour::yellow : Colour::none;
}

/// Packets known to be lost, "+" where there may be more; "-" where nothing is known.
std::string lost_packets(const archive::NodeEntry& node) {
  if (node.gaps.empty()) return node.losses_counted ? "0" : "-";
  uint64_t packets = 0;
  bool unknown = !node.losses_counted;
  for (const Gap& gap : node.gaps) {
    saturate(packets, gap.packets);
    unknown |= gap.packets == 0 && costs_packets(gap.reason);
  }
  return grouped(packets) + (unknown ? "+" : "");
}

/// The last sample tells the offset at the end of the window.
std::string node_clock(const archive::NodeEntry& node) {
  return node.clock.empty() ? "-" : clock_text(node.clock.back().offset_ns, node.clock.back().error_ns);
}

/// Columns of the names of facts.
constexpr size_t kSnapshotNames = 10;

std::string what_is_lost(const Gap& gap) {
  if (gap.packets != 0) return counted(gap.packets, "packet") + " lost";
  return costs_packets(gap.reason) ? "not known how many packets" : "no packets";
}

std::string window_text(const TimeWindow& window) {
  if (window.empty()) return "-";
  return fmt::format("{} to {} ({})", format_time(window.from_ns), format_time(window.to_ns), format_duration(window.to_ns - window.from_ns));
}

std::string facts_page(const archive::Snapshot& snapshot, const TableStyle& style) {
  const std::string status = status_text(snapshot);
  std::string page = fact_line("Name", snapshot.name, kSnapshotNames) + fact_line("Id", snapshot.id, kSnapshotNames);
  page += fmt::format("{:<10} {}\n", "Status", style.colour ? paint(printable(status), status_colour(status)) : printable(status));
  if (!snapshot.reason.empty()) page += fact_line("Reason", snapshot.reason, kSnapshotNames);
  page += fact_line("Window", window_text(snapshot.window), kSnapshotNames);
  page += fact_line("Created", snapshot.created_ns == 0 ? "-" : format_time(snapshot.created_ns), kSnapshotNames);
  page += fact_line("Packets", grouped(snapshot.packets), kSnapshotNames);
  page += fact_line("Size", fmt::format("{} of {} content", format_size(snapshot.size_bytes), format_size(snapshot.content_bytes)), kSnapshotNames);
  if (!snapshot.networks.empty()) page += fact_line("Addresses", fmt::format("{}, and what cannot be looked into", fmt::join(snapshot.networks, ", ")), kSnapshotNames);
  for (const auto& [key, value] : snapshot.tags) page += fact_line("Tag", key + "=" + value, kSnapshotNames);
  return page + fact_line("Location", name_of(snapshot.location), kSnapshotNames);
}

std::string nodes_table(const archive::Snapshot& snapshot, const TableStyle& style) {
  Table table({{"Node", false, 12}, {"Status"}, {"From"}, {"To"}, {"Packets", true}, {"Bytes", true}, {"Gaps", true}, {"Lost", true}, {"Clock"}});
  for (const auto& [node, members, done] : snapshot.nodes) {
    table.add({{node.name, Colour::bold},
               {node.status, status_colour(node.status)},
               node.coverage ? format_time(node.coverage->from_ns) : "-",
               node.coverage ? format_time(node.coverage->to_ns) : "-",
               grouped(node.packets),
               format_size(node.bytes),
               std::to_string(node.gaps.size()),
               lost_packets(node),
               node_clock(node)});
  }
  return table.empty() ? "" : "\n" + table.render(style);
}

}  // namespace

bool means_file(const std::string& argument) {
  if (argument.find('/') != std::string::npos) return true;
  std::error_code ec;
  return argument.ends_with(".zst") && std::filesystem::exists(argument, ec);
}

std::string window_in_seconds(const TimeWindow& window) {
  return window.empty() ? "-" : format_time_seconds(window.from_ns) + " to " + format_time_seconds(window.to_ns);
}

archive::Snapshot snapshot_of_file(const archive::Manifest& manifest, uint64_t file_bytes) {
  archive::Snapshot snapshot = archive::snapshot_of(manifest, archive::NodeDetail::full);
  snapshot.size_bytes = file_bytes;
  snapshot.location = archive::Location::file;
  return snapshot;
}

std::string status_text(const archive::Snapshot& snapshot) {
  using archive::SnapshotState;
  if (snapshot.state == SnapshotState::completed && !snapshot.complete) return "incomplete";
  const auto total = static_cast<double>(snapshot.progress.bytes_total);
  const auto done = static_cast<double>(snapshot.progress.bytes_done);
  if (snapshot.state == SnapshotState::in_progress && total > 0)
    return fmt::format("in_progress {:.0f} %", std::min(100.0, 100 * done / total));
  return std::string(name_of(snapshot.state));
}

std::string snapshots_table(const std::vector<archive::Snapshot>& snapshots) {
  Table table({{"Name", false, 12}, {"Size", true}, {"Start"}, {"End"}, {"Status"}, {"Created"}, {"Nodes", true}, {"Location"}});
  for (const archive::Snapshot& one : snapshots) {
    const std::string status = status_text(one);
    const bool window_known = !one.window.empty();
    table.add({{one.name, Colour::bold},
               one.size_bytes != 0 ? format_size(one.size_bytes) : "-",
               window_known ? format_time_seconds(one.window.from_ns) : "-",
               window_known ? format_time_seconds(one.window.to_ns) : "-",
               {status, status_colour(status)},
               one.created_ns == 0 ? "-" : format_time_seconds(one.created_ns),
               std::to_string(one.nodes.size()),
               std::string(name_of(one.location))});
  }
  return table.render(TableStyle::of(STDOUT_FILENO));
}

std::string snapshot_page(const archive::Snapshot& snapshot) {
  const TableStyle style = TableStyle::of(STDOUT_FILENO);
  std::string reasons, gaps;
  for (const auto& [node, members, done] : snapshot.nodes) {
    if (!node.reason.empty()) reasons += fmt::format("  {}: {}\n", printable(node.name), printable(node.reason));
    for (const Gap& gap : node.gaps)
      gaps += fmt::format("  {}: {} to {}: {}, {}\n", printable(node.name), format_time(gap.start_ns), format_time(gap.end_ns),
                          printable(gap.reason), what_is_lost(gap));
  }
  std::string page = facts_page(snapshot, style) + nodes_table(snapshot, style);
  if (!reasons.empty()) page += "\nNot complete:\n" + reasons;
  if (!gaps.empty()) page += "\nGaps (times of the node's clock):\n" + gaps;
  return page;
}

void report_incomplete(const archive::Snapshot& snapshot) {
  bool named = false;
  for (const auto& [node, members, done] : snapshot.nodes) {
    if (node.status != "partial" && node.status != "failed") continue;
    report_note(fmt::format("snapshot {}: node {} is {}: {}", snapshot.name, node.name, node.status,
                            node.reason.empty() ? "no reason was given" : node.reason));
    named = true;
  }
  if (!named) report_note(fmt::format("snapshot {} is not complete{}", snapshot.name, snapshot.reason.empty() ? "" : ": " + snapshot.reason));
}

}  // namespace lookback::cli
