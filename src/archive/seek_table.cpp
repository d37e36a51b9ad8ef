#include "archive/seek_table.hpp"

#include <algorithm>

namespace lookback::archive {

namespace {

constexpr uint32_t kTableMagic = 0x184D2A5E, kFooterMagic = 0x8F92EAB1;
constexpr size_t kHeaderBytes = 8, kFooterBytes = 9;
constexpr uint8_t kHasChecksums = 0x80, kReserved = 0x7c;
constexpr size_t kChunkEntries = 8192;

void put_u32(std::vector<std::byte>& out, uint64_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
}

uint32_t get_u32(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) value = value << 8 | std::to_integer<uint32_t>(bytes[i - 1]);
  return value;
}

}  // namespace

std::vector<std::byte> encode_seek_table(std::span<const FrameSizes> frames) {
  LOOKBACK_CHECK(frames.size() <= kMaxSeekEntries);
  std::vector<std::byte> table;
  const uint64_t length = frames.size() * 8 + kFooterBytes;
  table.reserve(kHeaderBytes + length);
  put_u32(table, kTableMagic);
  put_u32(table, length);
  for (const FrameSizes& frame : frames) {
    put_u32(table, frame.compressed_bytes);
    put_u32(table, frame.content_bytes);
  }
  put_u32(table, frames.size());
  table.push_back(std::byte{0});
  put_u32(table, kFooterMagic);
  return table;
}

Result<SeekTable> SeekTable::open(const ByteSource& source) {
  const uint64_t file_bytes = source.size();
  const auto none = [] {
    return fail(ErrorKind::corrupt, "no seek table at its end: it is cut short, or something else than a Lookback archive");
  };
  if (file_bytes < kHeaderBytes + kFooterBytes) return none();
  std::vector<std::byte> footer(kFooterBytes);
  TRY(source.read_at(footer, file_bytes - kFooterBytes));
  const auto bytes = std::span(footer);
  if (get_u32(bytes.subspan(5)) != kFooterMagic) return none();
  const auto descriptor = std::to_integer<uint8_t>(footer[4]);
  // The two lowest bits are unused in the format; a writer leaves them zero, and so do we.
  if ((descriptor & (kReserved | 0x03)) != 0) return fail(ErrorKind::corrupt, "its seek table is of an unknown kind");

  SeekTable table;
  table.source_ = &source;
  table.entries_ = get_u32(bytes);
  table.checksums_ = (descriptor & kHasChecksums) != 0;
  const uint64_t length = table.entries_ * (table.checksums_ ? 12 : 8) + kFooterBytes;
  if (table.entries_ > kMaxSeekEntries || length + kHeaderBytes > file_bytes)
    return fail(ErrorKind::corrupt, "its seek table is longer than the file");
  table.offset_ = file_bytes - length - kHeaderBytes;
  std::vector<std::byte> header(kHeaderBytes);
  TRY(source.read_at(header, table.offset_));
  if (get_u32(header) != kTableMagic || get_u32(std::span(header).subspan(4)) != length)
    return fail(ErrorKind::corrupt, "its seek table does not start where its length says");
  return table;
}

Result<std::vector<SeekEntry>> SeekTable::read(uint64_t first, size_t count) const {
  LOOKBACK_CHECK(first + count <= entries_);
  const size_t entry_bytes = checksums_ ? 12 : 8;
  std::vector<std::byte> bytes(count * entry_bytes);
  TRY(source_->read_at(bytes, offset_ + kHeaderBytes + first * entry_bytes));
  std::vector<SeekEntry> entries(count);
  for (size_t i = 0; i < count; ++i) {
    const auto entry = std::span(bytes).subspan(i * entry_bytes, entry_bytes);
    entries[i].compressed_bytes = get_u32(entry);
    entries[i].content_bytes = get_u32(entry.subspan(4));
    if (checksums_) entries[i].checksum = get_u32(entry.subspan(8));
  }
  return entries;
}

Result<SeekEntry> SeekCursor::next() {
  if (index_ == table_.size()) return fail(ErrorKind::corrupt, "the seek table ends before it");
  if (at_ == chunk_.size()) {
    TRY_ASSIGN(chunk_, table_.read(index_, static_cast<size_t>(std::min<uint64_t>(kChunkEntries, table_.size() - index_))));
    at_ = 0;
  }
  const SeekEntry entry = chunk_[at_++];
  ++index_;
  archive_offset_ += entry.compressed_bytes;
  content_offset_ += entry.content_bytes;
  if (archive_offset_ > table_.offset()) return fail(ErrorKind::corrupt, "the seek table names more bytes than there are");
  return entry;
}

}  // namespace lookback::archive
