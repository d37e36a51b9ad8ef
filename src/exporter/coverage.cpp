#include "exporter/coverage.hpp"

#include <algorithm>

#include "lookback/base/gap_reason.hpp"

namespace lookback::exporter {

namespace {

std::string describe(const archive::NodeEntry& node, std::string_view what) {
  std::string line = fmt::format("node {} {}", node.name, what);
  if (!node.reason.empty()) line += ": " + node.reason;
  return line;
}

}  // namespace

std::vector<Gap> gaps_inside(const archive::NodeEntry& node,
                                      const std::vector<TimeWindow>& accepted) {
  std::vector<Gap> inside;
  for (const Gap& gap : node.gaps) {
    const bool touches =
        std::any_of(accepted.begin(), accepted.end(), [&](const TimeWindow& window) {
          return window.overlaps(gap.start_ns, std::max(gap.start_ns, gap.end_ns - 1));
        });
    if (touches) inside.push_back(gap);
  }
  return inside;
}

std::vector<std::string> missing_from(const archive::NodeEntry& node, const ClockMap& clock,
                                      TimeWindow hub_window) {
  std::vector<std::string> lines;
  if (node.status == "failed") {
    lines.push_back(describe(node, "failed"));
  } else if (node.status != "complete") {
    lines.push_back(describe(node, "has only a part of the window"));
  }
  std::vector<Gap> gaps = gaps_inside(node, clock.to_node(hub_window));
  const size_t others = std::erase_if(gaps, [](const auto& gap) { return !costs_packets(gap.reason); });
  if (others != 0)
    lines.push_back(fmt::format("node {} lacks some of what its processes did: {}", node.name,
                                name_of(GapReason::os_events)));
  if (!gaps.empty()) {
    uint64_t packets = 0;
    bool counted = true;
    for (const Gap& gap : gaps) {
      packets += gap.packets;
      if (gap.packets == 0) counted = false;
    }
    lines.push_back(
        fmt::format("node {} lost {} packets in {} {}, the first from {} on: {}", node.name,
                    packets == 0 ? "an unknown number of"
                                 : fmt::format("{}{}", counted ? "" : "at least ", packets),
                    gaps.size(), gaps.size() == 1 ? "gap" : "gaps",
                    format_time(gaps.front().start_ns), gaps.front().reason));
  }
  return lines;
}

}  // namespace lookback::exporter
