#pragma once
// Reads segment files: what blocks they have (by index, or block by block where there is none), and
// single blocks. Takes any bytes for a file: what is wrong is left out and said.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/store/segment_format.hpp"
#include "lookback/store/store.hpp"
#include "store/aligned_buffer.hpp"
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
};

/// Kind corrupt: not a segment, or its header is damaged. failed: it cannot be read.
[[nodiscard]] Result<SegmentHeader> read_segment_header(int fd);
[[nodiscard]] Result<SegmentContents> read_segment(int fd);

/// A block as read: header, and bytes with the tags taken out.
struct LoadedBlock {
  BlockHeader header;
  std::span<std::byte> bytes;  ///< from the block's start to valid_bytes
  bool torn = false;
};

/// Reads the block at `offset` into `buffer`. Nothing: there is no block of this segment, or its
/// header or table is damaged. Where the file ends inside the block, it is torn there.
[[nodiscard]] Result<std::optional<LoadedBlock>> load_block(int fd, uint64_t epoch, uint64_t offset,
                                                            AlignedBuffer& buffer);

/// The first page behind `offset` that looks like the start of a block of this segment (header and
/// table match their checksum), or `end`.
[[nodiscard]] Result<uint64_t> find_block(int fd, uint64_t epoch, uint64_t offset, uint64_t end,
                                          AlignedBuffer& buffer);

/// The note block at `offset`; corrupt where it is damaged.
[[nodiscard]] Result<Note> load_note(int fd, uint64_t epoch, uint64_t offset,
                                     AlignedBuffer& buffer);

}  // namespace lookback::store
