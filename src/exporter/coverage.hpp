#pragma once
// Whether the exported window is wholly covered, and why not.

#include <string>
#include <vector>

#include "exporter/clock_map.hpp"
#include "lookback/archive/manifest.hpp"

namespace lookback::exporter {

/// Gaps of a node that touch the node times of `accepted`.
[[nodiscard]] std::vector<Gap> gaps_inside(const archive::NodeEntry& node,
                                                    const std::vector<TimeWindow>& accepted);

/// One line for each reason why the packets of this node are not all there; none where they are.
[[nodiscard]] std::vector<std::string> missing_from(const archive::NodeEntry& node,
                                                    const ClockMap& clock, TimeWindow hub_window);

}  // namespace lookback::exporter
