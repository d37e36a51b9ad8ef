#pragma once
// Reads segment files: what blocks they have (by index, or block by block where there is none), and
// single blocks. Takes any bytes for a file: what is wrong is left out and said.

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/store/segment_format.hpp"
#include "lookback/store/store.hpp"
#include "store/block_window.hpp"
#include "store/note.hpp"

namespace lookback::store {

/// A segment as its blocks tell it.
struct SegmentContents {
  SegmentHeader header;
  std::vector<IndexEntry> blocks;  ///< in file order, the index block left out
  bool sealed = false;             ///< it has a good index
  int64_t sealed_ns = 0;
  uint64_t end = kPageBytes;  ///< of the last block (the index block's where there is one)
  std::vector<Gap> damage;    ///< blocks that stood between others and cannot be read
  std::vector<uint32_t> lost_pages;  ///< where each of them begins
};
/// The start of damage in front of all packets of a segment: what came before it is elsewhere.
inline constexpr int64_t kStartNotKnown = std::numeric_limits<int64_t>::min();

/// Kind corrupt: not a segment, or its header is damaged. failed: it cannot be read.
[[nodiscard]] Result<SegmentHeader> read_segment_header(BlockWindow& file);
/// The window reads nothing ahead.
[[nodiscard]] Result<SegmentContents> read_segment(BlockWindow& file);

/// A block as read: header, and bytes with the tags taken out.
struct LoadedBlock {
  BlockHeader header;
  /// From the block's start to used_bytes, or to the first stale sector; in the window.
  std::span<std::byte> bytes;
  bool torn = false;
};

/// The header of the block at `offset` when it and its tag table are those of a block of this
/// segment.
[[nodiscard]] Result<std::optional<BlockHeader>> load_header(BlockWindow& file, uint64_t epoch,
                                                             uint64_t offset, uint64_t limit);

/// The block at `offset`; nothing where load_header finds nothing. Where the file ends inside the
/// block, it is torn there.
[[nodiscard]] Result<std::optional<LoadedBlock>> load_block(BlockWindow& file, uint64_t epoch,
                                                            uint64_t offset, uint64_t limit);

/// The first page behind `offset` where load_header finds something, or `end`.
[[nodiscard]] Result<uint64_t> find_block(BlockWindow& file, uint64_t epoch, uint64_t offset,
                                          uint64_t end);

/// What a note block says; corrupt where it is damaged or is not a note.
[[nodiscard]] Result<Note> note_of(const LoadedBlock& block);
/// The note block at `offset`.
[[nodiscard]] Result<Note> load_note(BlockWindow& file, uint64_t epoch, uint64_t offset);

}  // namespace lookback::store
