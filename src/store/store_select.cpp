// What a freeze is to have: which node times are meant, and the blocks that have packets of them.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "lookback/store/file_names.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace {

/// A step of the clock is noticed up to a second late, and packets wait for up to five to be
/// written: around it, stamps of both sides lie in one block.
constexpr int64_t kNoticedAfterNs = 3 * kNsPerSecond, kWrittenAfterNs = 6 * kNsPerSecond;

using Windows = std::vector<TimeWindow>;

bool overlaps(int64_t first, int64_t last, const Windows& windows) {
  return std::any_of(windows.begin(), windows.end(),
                     [&](const TimeWindow& window) { return window.overlaps(first, last); });
}

bool inside(int64_t first, int64_t last, const Windows& windows) {
  return std::any_of(windows.begin(), windows.end(), [&](const TimeWindow& window) {
    return first >= window.from_ns && last < window.to_ns;
  });
}

/// Sorted and disjoint.
Windows united(Windows windows) {
  std::sort(windows.begin(), windows.end(),
            [](const TimeWindow& a, const TimeWindow& b) { return a.from_ns < b.from_ns; });
  Windows all;
  for (const TimeWindow& window : windows) {
    if (!all.empty() && window.from_ns <= all.back().to_ns)
      all.back().to_ns = std::max(all.back().to_ns, window.to_ns);
    else
      all.push_back(window);
  }
  return all;
}

/// The part of a chunk whose blocks overlap the windows; nothing where none does.
std::optional<Chunk> trimmed(const Chunk& chunk, const std::vector<IndexEntry>& blocks,
                             const Windows& windows) {
  std::optional<Chunk> part;
  Chunk waiting;  // blocks outside the window: they count only when one inside follows
  for (const IndexEntry& entry : blocks) {
    const uint64_t offset = uint64_t{entry.page} * kPageBytes;
    if (offset < chunk.offset || offset >= chunk.offset + chunk.bytes ||
        entry.kind == static_cast<uint16_t>(BlockKind::note))
      continue;
    const TimeWindow bounds = block_bounds(entry);
    if (!overlaps(bounds.from_ns, bounds.to_ns - 1, windows)) {
      waiting.packets += entry.packets;
      continue;
    }
    if (!part) {
      part = Chunk{offset, 0, 0, bounds.from_ns, bounds.to_ns - 1, chunk.samples_before};
      waiting.packets = 0;
    }
    part->bytes = round_up(offset + entry.used_bytes, kPageBytes) - part->offset;
    part->packets += entry.packets + waiting.packets;
    waiting.packets = 0;
    part->first_ns = std::min(part->first_ns, bounds.from_ns);
    part->last_ns = std::max(part->last_ns, bounds.to_ns - 1);
  }
  return part;
}

struct Candidate {
  uint64_t sequence;
  Chunk chunk;
  size_t era;
  size_t lowest, highest;  ///< the eras whose stamps its packets may bear
};

/// The stamps from around the beginning of an era that a step began: its first ones, and the last
/// ones before.
TimeWindow first_stamps(const ClockEra& era) {
  return {era.begin_ns - kNoticedAfterNs, era.begin_ns + kNoticedAfterNs};
}
TimeWindow stamps_before(const ClockEra& era) {
  const int64_t end_ns = era.begin_ns - era.step_ns;
  return {end_ns - kWrittenAfterNs, end_ns + kNoticedAfterNs};
}
bool bears_stamps_before(const Chunk& chunk, const ClockEra& era) {
  return stamps_before(era).overlaps(chunk.first_ns, chunk.last_ns);
}
bool bears_first_stamps(const Chunk& chunk, const ClockEra& era) {
  return first_stamps(era).overlaps(chunk.first_ns, chunk.last_ns);
}

/// The chunks next to a step of the clock may have stamps of the other side; next to several, of
/// several.
void mark_steps(std::vector<Candidate>& chunks, const ClockEras& eras) {
  for (size_t i = 0; i < chunks.size(); ++i) {
    const size_t era = chunks[i].era;
    if (i == 0 || chunks[i - 1].era != era) {
      const size_t last_era = i == 0 ? 0 : chunks[i - 1].era;
      for (size_t next = era; next > last_era && eras.all[next].step_ns != 0; --next)
        for (size_t on = i; on < chunks.size() && chunks[on].era == era &&
                            bears_stamps_before(chunks[on].chunk, eras.all[next]);
             ++on)
          chunks[on].lowest = next - 1;
    }
    if (i + 1 == chunks.size() || chunks[i + 1].era != era) {
      const size_t next_era = i + 1 == chunks.size() ? eras.all.size() - 1 : chunks[i + 1].era;
      for (size_t next = era + 1; next <= next_era && eras.all[next].step_ns != 0; ++next)
        for (size_t back = i + 1; back > 0 && chunks[back - 1].era == era &&
                                  bears_first_stamps(chunks[back - 1].chunk, eras.all[next]);
             --back)
          chunks[back - 1].highest = next;
    }
  }
}

/// Of a chunk next to a step only the blocks next to it are: those alone keep the other eras.
std::vector<Candidate> split_at_step(const Candidate& one, const std::vector<IndexEntry>& blocks,
                                     const ClockEras& eras) {
  std::vector<Candidate> found;  // as they stand in the file
  for (const IndexEntry& entry : blocks) {
    const uint64_t offset = uint64_t{entry.page} * kPageBytes;
    if (offset < one.chunk.offset || offset >= one.chunk.offset + one.chunk.bytes ||
        entry.kind == static_cast<uint16_t>(BlockKind::note))
      continue;
    const TimeWindow bounds = block_bounds(entry);
    const Chunk block{offset,           round_up(entry.used_bytes, kPageBytes),
                      entry.packets,    bounds.from_ns,
                      bounds.to_ns - 1, one.chunk.samples_before};
    found.push_back({one.sequence, block, one.era, one.era, one.era});
  }
  for (size_t next = one.era; next > one.lowest; --next)
    for (size_t i = 0; i < found.size() && bears_stamps_before(found[i].chunk, eras.all[next]); ++i)
      found[i].lowest = next - 1;
  for (size_t next = one.era + 1; next <= one.highest; ++next)
    for (size_t i = found.size(); i > 0 && bears_first_stamps(found[i - 1].chunk, eras.all[next]);
         --i)
      found[i - 1].highest = next;
  std::vector<Candidate> parts;
  for (const Candidate& block : found) {
    if (parts.empty() || parts.back().lowest != block.lowest ||
        parts.back().highest != block.highest) {
      parts.push_back(block);
      continue;
    }
    Chunk& chunk = parts.back().chunk;
    chunk.bytes = block.chunk.offset + block.chunk.bytes - chunk.offset;
    chunk.packets += block.chunk.packets;
    chunk.first_ns = std::min(chunk.first_ns, block.chunk.first_ns);
    chunk.last_ns = std::max(chunk.last_ns, block.chunk.last_ns);
  }
  return parts;
}

/// What is meant of the packets of one era, and of those that bear the stamps of others.
Windows meant_of(const std::vector<Windows>& meant, const ClockEras& eras, const Candidate& one) {
  Windows windows = meant[one.era];
  const auto add = [&](const Windows& others, TimeWindow around) {
    for (TimeWindow window : others) {
      window.from_ns = std::max(window.from_ns, around.from_ns);
      window.to_ns = std::min(window.to_ns, around.to_ns);
      if (!window.empty()) windows.push_back(window);
    }
  };
  for (size_t next = one.era; next > one.lowest; --next)
    add(meant[next - 1], stamps_before(eras.all[next]));
  for (size_t next = one.era + 1; next <= one.highest; ++next)
    add(meant[next], first_stamps(eras.all[next]));
  return united(std::move(windows));
}

/// By era. A window that no era can have any packet of is taken as it is.
std::vector<Windows> meant_windows(const FreezeRequest& request, const ClockEras& eras) {
  std::vector<Windows> meant(eras.all.size(), Windows{request.window});
  if (!request.translate) return meant;
  const auto history = eras.history();
  bool any = false;
  std::vector<Windows> translated(eras.all.size());
  for (size_t era = 0; era < eras.all.size(); ++era) {
    const auto& known = eras.all[era].samples;
    const TimeWindow reach = eras.reach(era);
    for (TimeWindow window : request.translate(known.empty() ? history : known)) {
      window.from_ns = std::max(window.from_ns, reach.from_ns);
      window.to_ns = std::min(window.to_ns, reach.to_ns);
      if (!window.empty()) translated[era].push_back(window);
    }
    any = any || !translated[era].empty();
  }
  return any ? translated : meant;
}

TimeWindow hull_of(const std::vector<Windows>& meant) {
  TimeWindow hull{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
  for (const Windows& windows : meant)
    for (const TimeWindow& window : windows) {
      hull.from_ns = std::min(hull.from_ns, window.from_ns);
      hull.to_ns = std::max(hull.to_ns, window.to_ns);
    }
  return hull;
}

}  // namespace

TimeWindow StoreImpl::window_of(const FreezeRequest& request) const {
  const std::lock_guard lock(state_);
  const ClockEras eras = catalog_.clock_eras(clock_.realtime_ns(), pending_.clock);
  return hull_of(meant_windows(request, eras));
}

Result<StoreImpl::Selection> StoreImpl::select_locked(const FreezeRequest& request) {
  Selection selection;
  std::vector<Candidate> chunks;
  std::vector<Windows> meant;
  ClockEras eras;
  {
    const std::lock_guard lock(state_);
    eras = catalog_.clock_eras(clock_.realtime_ns(), pending_.clock);
    meant = meant_windows(request, eras);
    for (const auto& [sequence, segment] : catalog_.segments) {
      if (!segment.sealed || !segment.readable) continue;
      const SegmentEras& of_this = eras.of_segment.at(sequence);
      for (const Chunk& chunk : segment.chunks) {
        const size_t era = of_this.of(chunk.samples_before);
        chunks.push_back({sequence, chunk, era, era, era});
      }
    }
  }
  selection.window = hull_of(meant);
  const auto is_meant = [&](size_t era) { return !meant[era].empty(); };
  selection.clock = samples_for(eras.history(is_meant), selection.window);
  // What is missing was asked for where it touches what is meant, in any era that it may be told by
  // the clock of; whether anything was recorded there does not matter.
  selection.gaps = gaps_of(selection.window, [&](uint64_t sequence, const Gap& gap) {
    size_t first = 0, last = meant.size() - 1;
    if (const auto found = eras.of_segment.find(sequence); found != eras.of_segment.end()) {
      // It may have been noted after a step that it came before, or the other way round.
      first = found->second.first - std::min<size_t>(found->second.first, 1);
      last = std::min(last, found->second.first + found->second.begin_at.size() + 1);
    }
    for (size_t era = first; era <= last; ++era)
      if (std::any_of(meant[era].begin(), meant[era].end(),
                      [&](const TimeWindow& window) { return gap.touches(window); }))
        return true;
    return false;
  });
  shorten_gaps(selection.gaps, kMaxGapsOfFreeze);

  mark_steps(chunks, eras);
  struct Part {
    Windows windows;
    std::optional<uint32_t> number{};  // once a run is of it
  };
  std::map<std::array<size_t, 3>, Part> parts;
  const auto part_of = [&](const Candidate& one) -> Part& {
    const auto [at, fresh] = parts.try_emplace({one.era, one.lowest, one.highest});
    if (fresh) at->second.windows = meant_of(meant, eras, one);
    return at->second;
  };
  uint64_t opened = 0;  // the segment whose blocks these are
  std::vector<IndexEntry> blocks;
  const auto blocks_of = [&](uint64_t sequence) -> const std::vector<IndexEntry>& {
    if (std::exchange(opened, sequence) == sequence) return blocks;
    blocks.clear();
    if (auto file = BlockWindow::open(segment_path(sequence), 0)) {
      if (auto contents = read_segment(*file)) blocks = std::move(contents->blocks);
    }
    return blocks;
  };
  const auto take = [&](const Candidate& one) {
    auto& [windows, number] = part_of(one);
    if (!overlaps(one.chunk.first_ns, one.chunk.last_ns, windows)) return;
    std::optional<Chunk> part = one.chunk;
    // It reaches out of a window: leave out the blocks that do not overlap. Only the windows' ends
    // come here. Where the index cannot be read the whole chunk is taken.
    if (!inside(one.chunk.first_ns, one.chunk.last_ns, windows))
      if (const auto& all = blocks_of(one.sequence); !all.empty())
        part = trimmed(one.chunk, all, windows);
    if (!part) return;
    if (!number) {
      number = static_cast<uint32_t>(selection.parts.size());
      selection.parts.push_back(windows);
    }
    selection.runs.push_back({file_names::segment(one.sequence), part->offset, part->bytes,
                              part->packets, part->first_ns, part->last_ns, false, *number});
    if (selection.sequences.empty() || selection.sequences.back() != one.sequence)
      selection.sequences.push_back(one.sequence);
  };
  for (const Candidate& one : chunks) {
    const bool split = one.lowest != one.highest && !blocks_of(one.sequence).empty();
    if (!split) {
      take(one);
      continue;
    }
    for (const Candidate& some : split_at_step(one, blocks, eras)) take(some);
  }
  // Without a packet it is told all the same where one would have been.
  if (selection.parts.empty()) {
    Windows& windows = selection.parts.emplace_back();
    for (const Windows& some : meant) windows.insert(windows.end(), some.begin(), some.end());
    windows = united(std::move(windows));
  }
  return selection;
}

}  // namespace lookback::store
