#pragma once
// Members that were offered and did not come, as gaps of their node.

#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/gap_reason.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

struct LostMember {
  FrozenMember member;
  GapReason reason;
};

/// Adds what `gaps` does not tell yet. They are in order of time then, and no more than a manifest
/// takes.
void add_gaps(std::vector<Gap>& gaps, const std::vector<Gap>& more);

/// The same for members; what touches, of one reason, is one gap. `window`: the node's. `counted`:
/// the members have all packets of their time, so that their figures are the number lost.
void add_lost(std::vector<Gap>& gaps, const std::vector<LostMember>& lost,
              const TimeWindow& window, bool counted);

}  // namespace lookback::hub
