#include "store/segment_reader.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "store/block_codec.hpp"
#include "store/time_slack.hpp"

namespace lookback::store {

namespace {

/// Where the next data may be at or behind `offset`: holes and space allocated but never written to
/// are skipped.
uint64_t next_data(int fd, uint64_t offset, uint64_t end) {
  const off_t found = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (found < 0)
    return errno == ENXIO ? end : offset;  // a file system that cannot tell: look everywhere
  return std::min(end, static_cast<uint64_t>(found) / kPageBytes * kPageBytes);
}

IndexEntry entry_of(const BlockHeader& header, uint64_t offset) {
  IndexEntry entry;
  entry.page = static_cast<uint32_t>(offset / kPageBytes);
  entry.used_bytes = header.used_bytes;
  entry.packets = header.packets;
  entry.kind = header.kind;
  entry.first_ns = header.first_ns;
  entry.last_ns = header.last_ns;
  return entry;
}

/// By the index block that a seal leaves at the end. False: there is none that can be trusted.
Result<bool> read_index(BlockWindow& file, uint64_t file_bytes, SegmentContents& contents) {
  if (file_bytes % kPageBytes != 0 || file_bytes < 2 * kPageBytes) return false;
  IndexTrailer trailer;
  TRY_ASSIGN(const auto page, file.get(file_bytes - kPageBytes, kPageBytes, file_bytes));
  std::memcpy(&trailer, page.data() + kPageBytes - sizeof trailer, sizeof trailer);
  if (trailer.magic != kIndexMagic || trailer.epoch != contents.header.epoch ||
      trailer.checksum !=
          crc32c(std::as_bytes(std::span(&trailer, 1)).first(offsetof(IndexTrailer, checksum))))
    return false;
  const uint64_t offset = uint64_t{trailer.index_page} * kPageBytes;
  if (offset < kPageBytes || offset >= file_bytes) return false;
  TRY_ASSIGN(const auto block, load_block(file, contents.header.epoch, offset, file_bytes));
  if (!block || block->torn || block->header.kind != static_cast<uint16_t>(BlockKind::index) ||
      offset + block->header.used_bytes != file_bytes ||
      !payload_matches(block->bytes, block->header))
    return false;
  const auto payload = block->bytes.subspan(block->header.payload_offset);
  const uint64_t need = uint64_t{trailer.entries} * sizeof(IndexEntry) + sizeof trailer;
  if (need > payload.size()) return false;
  contents.blocks.resize(trailer.entries);
  if (trailer.entries > 0)
    std::memcpy(contents.blocks.data(), payload.data(), need - sizeof trailer);
  uint64_t at = kPageBytes;
  for (const IndexEntry& entry : contents.blocks) {
    const uint64_t start = uint64_t{entry.page} * kPageBytes;
    if (start < at || start + entry.used_bytes > offset || entry.used_bytes == 0) {
      contents.blocks.clear();
      return false;
    }
    at = round_up(start + entry.used_bytes, kPageBytes);
  }
  contents.sealed = true;
  contents.sealed_ns = trailer.sealed_ns;
  contents.end = file_bytes;
  return true;
}

/// What lies between the last packets before some lost blocks and the block behind them. Packets of
/// the lost ones may be older than what was stored before, and newer than what was stored after.
Gap lost_between(const std::vector<IndexEntry>& before, const BlockHeader& behind) {
  const auto is_note = [](uint16_t kind) { return kind == static_cast<uint16_t>(BlockKind::note); };
  Gap gap{kStartNotKnown, 0, 0, to_string(GapReason::damaged_segment)};
  const auto last = std::find_if(before.rbegin(), before.rend(),
                                 [&](const IndexEntry& entry) { return !is_note(entry.kind); });
  if (last != before.rend()) gap.start_ns = earlier_by_slack(last->last_ns);
  gap.end_ns = is_note(behind.kind) ? behind.first_ns : later_by_slack(behind.first_ns);
  gap.end_ns = saturating_add(std::max(gap.start_ns, gap.end_ns), 1);
  return gap;
}

/// Block after block. What cannot be read between two good blocks is damage; what follows the last
/// good one is only what a killed writer had not finished.
Result<> scan_blocks(BlockWindow& file, uint64_t file_bytes, SegmentContents& contents) {
  const uint64_t epoch = contents.header.epoch;
  const uint64_t file_end = round_up(file_bytes, kPageBytes);
  uint64_t offset = kPageBytes;
  uint64_t lost_at = 0;  // 0: nothing
  uint32_t sequence = 0;
  while (offset < file_end) {
    TRY_ASSIGN(const auto header, load_header(file, epoch, offset, file_end));
    if (!header || header->sequence < sequence) {
      if (lost_at == 0) lost_at = offset;
      TRY_ASSIGN(offset, find_block(file, epoch, offset, file_end));
      continue;
    }
    sequence = header->sequence + 1;
    if (header->kind != static_cast<uint16_t>(BlockKind::index)) {
      if (lost_at != 0) {
        contents.damage.push_back(lost_between(contents.blocks, *header));
        contents.lost_pages.push_back(static_cast<uint32_t>(lost_at / kPageBytes));
        lost_at = 0;
      }
      contents.blocks.push_back(entry_of(*header, offset));
    }
    offset = round_up(offset + header->used_bytes, kPageBytes);
    contents.end = std::min(offset, file_end);
  }
  return {};
}

}  // namespace

Result<SegmentHeader> read_segment_header(BlockWindow& file) {
  SegmentHeader header;
  TRY_ASSIGN(const auto page, file.get(0, kPageBytes, kPageBytes));
  std::memcpy(&header, page.data(), sizeof header);
  if (header.magic != kSegmentMagic) return fail(ErrorKind::corrupt, "not a segment file");
  if (header.checksum !=
      crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, checksum))))
    return fail(ErrorKind::corrupt, "its header is damaged");
  if (header.version != kFormatVersion)
    return fail(ErrorKind::corrupt, "segment version {} is not known to this program",
                header.version);
  return header;
}

Result<SegmentContents> read_segment(BlockWindow& file) {
  SegmentContents contents;
  TRY_ASSIGN(contents.header, read_segment_header(file));
  TRY_ASSIGN(const uint64_t file_bytes, file_size(file.fd()));
  TRY_ASSIGN(const bool indexed, read_index(file, file_bytes, contents));
  if (!indexed) TRY(scan_blocks(file, file_bytes, contents));
  return contents;
}

Result<std::optional<BlockHeader>> load_header(BlockWindow& file, uint64_t epoch, uint64_t offset,
                                               uint64_t limit) {
  BlockHeader header;
  TRY_ASSIGN(auto front, file.get(offset, kPageBytes, limit));
  if (!read_header(front, epoch, header)) return std::nullopt;
  const size_t bytes = round_up(header_and_table_bytes(header), kPageBytes);
  if (bytes > kPageBytes) {
    TRY_ASSIGN(front, file.get(offset, bytes, limit));
  }
  if (!checksum_matches(front, header)) return std::nullopt;
  return header;
}

Result<std::optional<LoadedBlock>> load_block(BlockWindow& file, uint64_t epoch, uint64_t offset,
                                              uint64_t limit) {
  TRY_ASSIGN(const auto header, load_header(file, epoch, offset, limit));
  if (!header) return std::nullopt;
  TRY_ASSIGN(const auto bytes, file.get(offset, round_up(header->used_bytes, kPageBytes), limit));
  const RestoredBlock restored = restore_block(bytes, *header);
  file.changed_up_to(offset + bytes.size());
  return LoadedBlock{*header, bytes.first(restored.valid_bytes), restored.torn};
}

Result<uint64_t> find_block(BlockWindow& file, uint64_t epoch, uint64_t offset, uint64_t end) {
  for (offset += kPageBytes; offset < end; offset += kPageBytes) {
    offset = next_data(file.fd(), offset, end);
    if (offset >= end) break;
    TRY_ASSIGN(const auto header, load_header(file, epoch, offset, end));
    if (header) return offset;
  }
  return end;
}

Result<Note> note_of(const LoadedBlock& block) {
  if (block.torn || block.header.kind != static_cast<uint16_t>(BlockKind::note) ||
      !payload_matches(block.bytes, block.header))
    return fail(ErrorKind::corrupt, "a note is damaged");
  return note_from_json(as_text(block.bytes.subspan(block.header.payload_offset)));
}

Result<Note> load_note(BlockWindow& file, uint64_t epoch, uint64_t offset) {
  TRY_ASSIGN(const auto block, load_block(file, epoch, offset, offset + kPageBytes));
  if (!block) return fail(ErrorKind::corrupt, "a note is damaged");
  return note_of(*block);
}

}  // namespace lookback::store
