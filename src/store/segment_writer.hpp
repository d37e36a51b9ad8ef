#pragma once
// Writes one segment: header, blocks, index. A prepared file goes in, a sealed one is left behind.
// One thread.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"
#include "lookback/store/segment_format.hpp"
#include "lookback/store/store.hpp"
#include "store/aligned_buffer.hpp"
#include "store/block_output.hpp"

namespace lookback::store {

/// A file with its space allocated, not part of the FIFO yet.
struct PreparedFile {
  Fd fd;
  uint64_t bytes = 0;  ///< its length
  bool direct = true;  ///< opened with O_DIRECT
};

class SegmentWriter {
 public:
  /// Writes header page and first note (the interface table, the clock as last known).
  [[nodiscard]] static Result<SegmentWriter> start(PreparedFile file, const SegmentHeader& header,
                                                   const std::string& note, BlockOutput& output,
                                                   AlignedBuffer& scratch);

  /// Whether a block of that many bytes still fits, with `notes` more bytes of note blocks and the
  /// index behind it.
  [[nodiscard]] bool has_room(uint64_t block_bytes, uint64_t notes) const;
  /// The file size that takes a block of that many bytes and nothing else.
  [[nodiscard]] static uint64_t bytes_for(uint64_t block_bytes, uint64_t notes);

  /// Fills in epoch and sequence, writes. On an error the memory is as it was (but for the space in
  /// front of the payload), and the place on disk is void.
  [[nodiscard]] Result<IndexEntry> append(std::span<std::byte> block, const BlockInfo& info);
  [[nodiscard]] Result<IndexEntry> append_note(const std::string& json, int64_t time_ns,
                                               AlignedBuffer& scratch);
  /// Writes the index and cuts the file behind it. Nothing else may be called afterwards.
  [[nodiscard]] Result<> seal(int64_t time_ns, AlignedBuffer& scratch);

  [[nodiscard]] const SegmentHeader& header() const { return header_; }
  [[nodiscard]] const std::vector<IndexEntry>& blocks() const { return blocks_; }
  [[nodiscard]] uint64_t end() const { return offset_; }
  [[nodiscard]] uint64_t capacity() const { return file_.bytes; }
  [[nodiscard]] int fd() const { return file_.fd.get(); }

  /// The disk bytes of a note block.
  [[nodiscard]] static uint64_t note_bytes(size_t json_bytes);

 private:
  SegmentWriter(PreparedFile file, const SegmentHeader& header, BlockOutput& output)
      : file_(std::move(file)), header_(header), output_(&output) {}
  [[nodiscard]] Result<IndexEntry> write_block(std::span<std::byte> block, BlockHeader header);

  PreparedFile file_;
  SegmentHeader header_;
  BlockOutput* output_;
  std::vector<IndexEntry> blocks_;
  uint64_t offset_ = kPageBytes;
  uint32_t sequence_ = 0;
};

}  // namespace lookback::store
