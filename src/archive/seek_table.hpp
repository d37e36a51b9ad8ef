#pragma once
// The seek table that closes an archive (zstd's "seekable format", version 0.1.0): a skippable frame
//
//   0x184D2A5E   u32 LE       magic
//   length       u32 LE       of what follows
//   entries                   u32 LE compressed size, u32 LE content size, [u32 LE checksum] for every frame of the file, in order
//   frames       u32 LE       number of entries
//   descriptor   u8           bit 7: entries have checksums (low half of XXH64 of the content); bits 2 to 6: zero
//   0x8F92EAB1   u32 LE       magic
//
// Ours has no checksums of its own: each frame ends in the same one.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lookback/archive/byte_source.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

inline constexpr uint64_t kMaxSeekEntries = 0x8000000;

struct SeekEntry {
  uint32_t compressed_bytes = 0, content_bytes = 0;
  std::optional<uint32_t> checksum;
};

/// The sizes as the writer keeps them, eight bytes a frame.
struct FrameSizes {
  uint32_t compressed_bytes = 0, content_bytes = 0;
};

/// The whole skippable frame. At most kMaxSeekEntries frames.
[[nodiscard]] std::vector<std::byte> encode_seek_table(std::span<const FrameSizes> frames);

/// The table at the end of an archive, which outlives it. Reads entries in chunks.
class SeekTable {
 public:
  /// Checks both magics, the lengths and the reserved bits. Kind corrupt: no such table at the end.
  [[nodiscard]] static Result<SeekTable> open(const ByteSource& source);
  [[nodiscard]] uint64_t size() const { return entries_; }
  /// Where the table starts: the end of the frames.
  [[nodiscard]] uint64_t offset() const { return offset_; }
  [[nodiscard]] Result<std::vector<SeekEntry>> read(uint64_t first, size_t count) const;

 private:
  const ByteSource* source_ = nullptr;
  uint64_t offset_ = 0, entries_ = 0;
  bool checksums_ = false;
};

/// Walks the entries from the first on, with the places of frames in the file and of contents in the tar stream.
class SeekCursor {
 public:
  explicit SeekCursor(const SeekTable& table) : table_(table) {}
  /// The next entry; corrupt when there is none left.
  [[nodiscard]] Result<SeekEntry> next();
  /// Where the next frame starts, and its content.
  [[nodiscard]] uint64_t archive_offset() const { return archive_offset_; }
  [[nodiscard]] uint64_t content_offset() const { return content_offset_; }
  [[nodiscard]] uint64_t index() const { return index_; }

 private:
  const SeekTable& table_;
  std::vector<SeekEntry> chunk_;
  size_t at_ = 0;
  uint64_t index_ = 0, archive_offset_ = 0, content_offset_ = 0;
};

}  // namespace lookback::archive
