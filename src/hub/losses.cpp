#include "losses.hpp"

#include <algorithm>
#include <map>

namespace lookback::hub {

namespace {

bool earlier(const Gap& a, const Gap& b) {
  return a.start_ns < b.start_ns;
}

bool covers(const Gap& known, const Gap& gap) {
  return known.reason == gap.reason && known.start_ns <= gap.start_ns &&
         known.end_ns >= gap.end_ns && known.packets >= gap.packets;
}

bool is_told(const std::vector<Gap>& known, const Gap& gap) {
  return std::any_of(known.begin(), known.end(),
                     [&](const Gap& one) { return covers(one, gap); });
}

void join(Gap& gap, const Gap& next) {
  gap.start_ns = std::min(gap.start_ns, next.start_ns);
  gap.end_ns = std::max(gap.end_ns, next.end_ns);
  if (gap.reason != next.reason) gap.reason = to_string(GapReason::several);
  gap.packets = gap.packets == 0 || next.packets == 0 ? 0 : gap.packets + next.packets;
}

/// Where a member's packets lie in the window; the whole of it where the node does not say.
Gap gap_of(const LostMember& lost, const TimeWindow& window, bool counted) {
  const FrozenMember& member = lost.member;
  Gap gap{window.from_ns, window.to_ns, 0, to_string(lost.reason)};
  if (!archive::info_of(member.kind).has_packets) gap.reason = to_string(GapReason::os_events);
  if (!member.stamps || member.stamps->empty()) return gap;
  const TimeWindow& stamps = *member.stamps;
  const bool inside = stamps.from_ns >= window.from_ns && stamps.to_ns <= window.to_ns;
  if (counted && inside) gap.packets = member.packets;
  if (stamps.to_ns <= window.from_ns || stamps.from_ns >= window.to_ns) return gap;
  gap.start_ns = std::max(window.from_ns, stamps.from_ns);
  gap.end_ns = std::min(window.to_ns, stamps.to_ns);
  return gap;
}

}  // namespace

void add_gaps(std::vector<Gap>& gaps, const std::vector<Gap>& more) {
  std::vector<Gap> news;
  for (const Gap& gap : more)
    if (!is_told(gaps, gap)) news.push_back(gap);
  gaps.insert(gaps.end(), news.begin(), news.end());
  std::stable_sort(gaps.begin(), gaps.end(), earlier);
  while (gaps.size() > kMaxGaps) {
    std::vector<Gap> joined;
    for (size_t i = 0; i < gaps.size(); ++i) {
      if (i % 2 == 0)
        joined.push_back(gaps[i]);
      else
        join(joined.back(), gaps[i]);
    }
    gaps = std::move(joined);
  }
}

void add_lost(std::vector<Gap>& gaps, const std::vector<LostMember>& lost,
              const TimeWindow& window, bool counted) {
  std::map<std::string, std::vector<Gap>> by_reason;
  for (const LostMember& one : lost) {
    const Gap gap = gap_of(one, window, counted);
    if (!is_told(gaps, gap)) by_reason[gap.reason].push_back(gap);
  }
  for (auto& [reason, some] : by_reason) {
    std::stable_sort(some.begin(), some.end(), earlier);
    std::vector<Gap> joined;
    for (const Gap& gap : some) {
      if (!joined.empty() && gap.start_ns <= joined.back().end_ns)
        join(joined.back(), gap);
      else
        joined.push_back(gap);
    }
    add_gaps(gaps, joined);
  }
}

}  // namespace lookback::hub
