#pragma once
// What the store remembers of each segment, and the questions that are answered from memory: what
// overlaps a window, what is missing from it, what may be recycled. Not thread-safe: the store's
// lock is around it.

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "lookback/base/time.hpp"
#include "lookback/store/store.hpp"
#include "store/clock_history.hpp"
#include "store/note.hpp"
#include "store/segment_reader.hpp"
#include "store/time_slack.hpp"

namespace lookback::store {

/// Neighbouring blocks of a segment up to kRunBytes: the grain of runs.
struct Chunk {
  uint64_t offset = 0, bytes = 0;  ///< whole pages
  uint64_t packets = 0;
  int64_t first_ns = 0, last_ns = 0;
  size_t samples_before = 0;  ///< of the clock, in its segment
};

struct Segment {
  uint64_t sequence = 0, epoch = 0, run_id = 0;
  int64_t run_started_ns = 0, opened_ns = 0;
  int64_t ended_ns = 0;     ///< when it was sealed; its last packet where nobody did
  /// Every packet that was stamped before is in this segment or in front of it. Nothing where the
  /// segment has neither packets nor a note that says so.
  std::optional<int64_t> complete_ns;
  uint64_t disk_bytes = 0;  ///< what it costs of the quota
  int64_t first_ns = std::numeric_limits<int64_t>::max();
  int64_t last_ns = std::numeric_limits<int64_t>::min();
  uint64_t packets = 0;
  bool sealed = false;
  bool readable = true;  ///< false: its header is damaged, nothing in it can be served
  bool damaged = false;
  bool indexed = true;  ///< false: without an index, its blocks after the last good one are not known
  std::vector<Chunk> chunks;
  std::vector<uint32_t> table_pages;  ///< notes with an interface table, and what cannot be read and may have been one
  std::vector<Gap> gaps;
  std::vector<ClockSample> clock;
  bool stepped = false;  ///< the clock, since the last block
  uint32_t freezes = 0;  ///< how many hold it

  /// Blocks in file order; note blocks are kept track of as well.
  void add_block(const IndexEntry& entry);
  /// In file order as well: a step of the clock ends a chunk.
  void add_clock(const std::vector<ClockSample>& samples);
  /// Gaps beyond a bound are merged, oldest pair of one reason first, so that a bad day cannot fill
  /// the memory.
  void add_gap(const Gap& gap);
  /// From when on it has everything.
  [[nodiscard]] int64_t starts_ns() const { return std::min(first_ns, opened_ns); }
  /// What was stamped from here on was not in front of it, however processors queued.
  [[nodiscard]] int64_t nothing_lost_from_ns() const;
  /// Whether it tells anything: else its number is used again.
  [[nodiscard]] bool empty() const { return chunks.empty() && gaps.empty() && !kept; }
  bool kept = false;  ///< for what it says of completeness
};

/// The bounds within which a block's packets lie: those of kernel blocks are as good as the
/// kernel's descriptor.
[[nodiscard]] TimeWindow block_bounds(const IndexEntry& entry);  ///< [lowest, highest + 1)

class Catalog {
 public:
  std::map<uint64_t, Segment> segments;  ///< by sequence
  uint64_t run_id = 0;                   ///< of this opening of the store
  int64_t run_started_ns = 0;

  [[nodiscard]] uint64_t next_sequence() const {
    return segments.empty() ? 1 : segments.rbegin()->first + 1;
  }
  [[nodiscard]] uint64_t disk_bytes() const;
  /// Of frozen segments.
  [[nodiscard]] uint64_t frozen_bytes() const;
  /// Of the segments recorded without a hole up to now: the first of them, or end().
  [[nodiscard]] std::map<uint64_t, Segment>::const_iterator unbroken_begin() const;

  /// Which sealed segment goes next when space is needed. The oldest that is not frozen; but when
  /// the frozen ones in front of it are more than `freeze_quota`, the oldest of those. 0: none.
  [[nodiscard]] uint64_t victim(uint64_t freeze_quota) const;

  /// Whether a gap is asked for that is told by the clock of a segment; 0: by any clock.
  using Asked = std::function<bool(uint64_t sequence, const Gap& gap)>;
  /// Recorded gaps and missing stretches that touch the window, in order of time; where `asked` is
  /// given, those alone. `waiting` are samples of the clock that are not in a segment yet.
  [[nodiscard]] std::vector<Gap> gaps(TimeWindow window, const Asked& asked,
                                      const std::vector<ClockSample>& waiting) const;
  /// `waiting` are samples that are not in a segment yet.
  [[nodiscard]] ClockEras clock_eras(int64_t now_ns, const std::vector<ClockSample>& waiting) const;

 private:
  /// The lowest time that anything was recorded from: not the oldest segment's where the clock was
  /// set back meanwhile.
  [[nodiscard]] int64_t lowest_after_steps() const;
  /// What a run of the daemon knew of its clock first, from its segment `from` on.
  [[nodiscard]] std::optional<ClockSample> first_sample(
      std::map<uint64_t, Segment>::const_iterator from) const;
};

/// No freeze tells of more.
inline constexpr size_t kMaxGapsOfFreeze = 4096;

/// A gap list of bounded length: neighbours of the same reason become one.
void shorten_gaps(std::vector<Gap>& gaps, size_t limit);

}  // namespace lookback::store
