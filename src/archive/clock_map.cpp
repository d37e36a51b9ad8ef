#include "lookback/archive/clock_map.hpp"

#include <algorithm>

namespace lookback::archive {

namespace {
constexpr int64_t kEarliest = std::numeric_limits<int64_t>::min();
constexpr int64_t kLatest = std::numeric_limits<int64_t>::max();
}  // namespace

ClockMap::ClockMap(const std::vector<ClockSample>& samples) : measured_(!samples.empty()) {
  // A sample holds until the next one, or until a later one that a step back put before it:
  // clock_offset_at() is asked about each alone, since a question about all of them costs a walk
  // over all of them.
  const auto add = [this](int64_t start, const ClockSample& sample) {
    const std::vector<ClockSample> alone{sample};
    pieces_.push_back({start, kLatest, clock_offset_at(alone, sample.time_ns),
                       clock_error_at(alone, sample.time_ns)});
  };
  int64_t end = kLatest;
  for (auto sample = samples.rbegin(); sample != samples.rend(); ++sample) {
    if (sample->time_ns >= end && sample != samples.rbegin()) continue;
    add(sample->time_ns, *sample);
    end = sample->time_ns;
  }
  if (samples.empty()) {
    pieces_.push_back({kEarliest, kLatest, 0, 0});
  } else {
    add(kEarliest, samples.front());
  }
  std::reverse(pieces_.begin(), pieces_.end());
  const auto same = [](const Piece& a, const Piece& b) {
    return a.offset_ns == b.offset_ns && a.error_ns == b.error_ns;
  };
  pieces_.erase(std::unique(pieces_.begin(), pieces_.end(), same), pieces_.end());
  for (size_t i = 0; i + 1 < pieces_.size(); ++i) pieces_[i].end_ns = pieces_[i + 1].start_ns;
}

const ClockMap::Piece& ClockMap::piece_at(int64_t node_ns) const {
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), node_ns,
                       [](int64_t time, const Piece& piece) { return time < piece.start_ns; });
  return *std::prev(after);
}

std::vector<TimeWindow> ClockMap::translate(TimeWindow hub, bool widened) const {
  std::vector<TimeWindow> windows;
  if (hub.empty()) return windows;
  for (const Piece& piece : pieces_) {
    const int64_t error_ns = widened ? piece.error_ns : 0;
    const int64_t from = saturating_sub(saturating_add(hub.from_ns, piece.offset_ns), error_ns);
    const int64_t to = saturating_add(saturating_add(hub.to_ns, piece.offset_ns), error_ns);
    const TimeWindow window{std::max(piece.start_ns, from), std::min(piece.end_ns, to)};
    if (window.empty()) continue;
    if (!windows.empty() && windows.back().to_ns == window.from_ns) {
      windows.back().to_ns = window.to_ns;
    } else {
      windows.push_back(window);
    }
  }
  return windows;
}

int64_t ClockMap::lowest_hub(int64_t first_ns, int64_t last_ns) const {
  int64_t lowest = to_hub(first_ns);
  for (const Piece* piece = &piece_at(first_ns) + 1; piece != pieces_.data() + pieces_.size();
       ++piece) {
    if (piece->start_ns > last_ns) break;
    lowest = std::min(lowest, saturating_sub(piece->start_ns, piece->offset_ns));
  }
  return lowest;
}

int64_t ClockMap::highest_hub(int64_t first_ns, int64_t last_ns) const {
  int64_t highest = to_hub(last_ns);
  for (const Piece* piece = &piece_at(first_ns); piece != pieces_.data() + pieces_.size();
       ++piece) {
    if (piece->end_ns > last_ns) break;
    highest = std::max(highest, saturating_sub(piece->end_ns - 1, piece->offset_ns));
  }
  return highest;
}

int64_t ClockMap::highest_offset() const {
  return std::max_element(pieces_.begin(), pieces_.end(),
                          [](const Piece& a, const Piece& b) { return a.offset_ns < b.offset_ns; })
      ->offset_ns;
}

int64_t ClockMap::highest_error() const {
  return std::max_element(pieces_.begin(), pieces_.end(),
                          [](const Piece& a, const Piece& b) { return a.error_ns < b.error_ns; })
      ->error_ns;
}

}  // namespace lookback::archive
