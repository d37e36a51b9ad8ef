#include "store/segment_reader.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "store/block_codec.hpp"

namespace lookback::store {

namespace {

/// Reads `bytes` at `offset` to buffer + at; what lies behind the file's end reads as zeros.
Result<> read_padded(int fd, AlignedBuffer& buffer, size_t at, size_t bytes, uint64_t offset) {
  const auto target = buffer.span(at + bytes).subspan(at);
  TRY_ASSIGN(const size_t done, pread_some(fd, target, offset));
  if (done < bytes) std::memset(target.data() + done, 0, bytes - done);
  return {};
}

/// The header of the block at `offset` when it and its table are good; the buffer then has at least
/// both.
Result<std::optional<BlockHeader>> load_header(int fd, uint64_t epoch, uint64_t offset,
                                               AlignedBuffer& buffer, HeaderState& state) {
  buffer.reserve(kPageBytes);
  TRY(read_padded(fd, buffer, 0, kPageBytes, offset));
  BlockHeader header;
  state = read_header(buffer.span(kPageBytes), epoch, header);
  if (state != HeaderState::valid) return std::nullopt;
  const size_t front = round_up(header_and_table_bytes(header), kPageBytes);
  if (front > kPageBytes) {
    // Growing loses what was read: read it all again.
    buffer.reserve(front);
    TRY(read_padded(fd, buffer, 0, front, offset));
  }
  if (!checksum_matches(buffer.span(front), header)) {
    state = HeaderState::alien;
    return std::nullopt;
  }
  return header;
}

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
Result<bool> read_index(int fd, uint64_t file_bytes, SegmentContents& contents,
                        AlignedBuffer& buffer) {
  if (file_bytes % kPageBytes != 0 || file_bytes < 2 * kPageBytes) return false;
  IndexTrailer trailer;
  TRY(pread_exact(fd, std::as_writable_bytes(std::span(&trailer, 1)), file_bytes - sizeof trailer));
  if (trailer.magic != kIndexMagic || trailer.epoch != contents.header.epoch ||
      trailer.checksum !=
          crc32c(std::as_bytes(std::span(&trailer, 1)).first(offsetof(IndexTrailer, checksum))))
    return false;
  const uint64_t offset = uint64_t{trailer.index_page} * kPageBytes;
  if (offset < kPageBytes || offset >= file_bytes) return false;
  TRY_ASSIGN(const auto block, load_block(fd, contents.header.epoch, offset, buffer));
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

/// Block after block. What cannot be read between two good blocks is damage; what follows the last
/// good one is only what a killed writer had not finished.
Result<> scan_blocks(int fd, uint64_t file_bytes, SegmentContents& contents,
                     AlignedBuffer& buffer) {
  const uint64_t epoch = contents.header.epoch;
  const uint64_t file_end = round_up(file_bytes, kPageBytes);
  uint64_t offset = kPageBytes;
  bool lost = false;
  uint32_t sequence = 0;
  while (offset < file_end) {
    HeaderState state;
    TRY_ASSIGN(const auto header, load_header(fd, epoch, offset, buffer, state));
    if (header && header->sequence >= sequence) {
      sequence = header->sequence + 1;
      if (header->kind != static_cast<uint16_t>(BlockKind::index)) {
        if (lost) {
          const int64_t start =
              contents.blocks.empty() ? contents.header.opened_ns : contents.blocks.back().last_ns;
          contents.damage.push_back(
              {start, std::max(start, header->first_ns), 0, "damaged segment"});
          lost = false;
        }
        contents.blocks.push_back(entry_of(*header, offset));
      }
      offset = round_up(offset + header->used_bytes, kPageBytes);
      contents.end = std::min(offset, file_end);
      continue;
    }
    lost = lost || state == HeaderState::alien || header;
    TRY_ASSIGN(offset, find_block(fd, epoch, offset, file_end, buffer));
  }
  return {};
}

}  // namespace

Result<SegmentHeader> read_segment_header(int fd) {
  SegmentHeader header;
  TRY_ASSIGN(const size_t done, pread_some(fd, std::as_writable_bytes(std::span(&header, 1)), 0));
  if (done < sizeof header || header.magic != kSegmentMagic)
    return fail(ErrorKind::corrupt, "not a segment file");
  if (header.checksum !=
      crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, checksum))))
    return fail(ErrorKind::corrupt, "its header is damaged");
  if (header.version != kFormatVersion)
    return fail(ErrorKind::corrupt, "segment version {} is not known to this program",
                header.version);
  return header;
}

Result<SegmentContents> read_segment(int fd) {
  SegmentContents contents;
  TRY_ASSIGN(contents.header, read_segment_header(fd));
  TRY_ASSIGN(const uint64_t file_bytes, file_size(fd));
  AlignedBuffer buffer;
  TRY_ASSIGN(const bool indexed, read_index(fd, file_bytes, contents, buffer));
  if (!indexed) TRY(scan_blocks(fd, file_bytes, contents, buffer));
  return contents;
}

Result<std::optional<LoadedBlock>> load_block(int fd, uint64_t epoch, uint64_t offset,
                                              AlignedBuffer& buffer) {
  HeaderState state;
  TRY_ASSIGN(const auto header, load_header(fd, epoch, offset, buffer, state));
  if (!header) return std::nullopt;
  const size_t bytes = round_up(header->used_bytes, kPageBytes);
  size_t have = round_up(header_and_table_bytes(*header), kPageBytes);
  if (buffer.size() < bytes) {
    buffer.reserve(bytes);
    have = 0;
  }
  if (bytes > have) TRY(read_padded(fd, buffer, have, bytes - have, offset + have));
  LoadedBlock block;
  block.header = *header;
  const RestoredBlock restored = restore_block(buffer.span(bytes), *header);
  block.torn = restored.torn;
  block.bytes = buffer.span(restored.valid_bytes);
  return block;
}

Result<uint64_t> find_block(int fd, uint64_t epoch, uint64_t offset, uint64_t end,
                            AlignedBuffer& buffer) {
  for (offset += kPageBytes; offset < end; offset += kPageBytes) {
    offset = next_data(fd, offset, end);
    if (offset >= end) break;
    HeaderState state;
    TRY_ASSIGN(const auto header, load_header(fd, epoch, offset, buffer, state));
    if (header) return offset;
  }
  return end;
}

Result<Note> load_note(int fd, uint64_t epoch, uint64_t offset, AlignedBuffer& buffer) {
  TRY_ASSIGN(const auto block, load_block(fd, epoch, offset, buffer));
  if (!block || block->torn || block->header.kind != static_cast<uint16_t>(BlockKind::note) ||
      !payload_matches(block->bytes, block->header))
    return fail(ErrorKind::corrupt, "a note is damaged");
  return note_from_json(as_text(block->bytes.subspan(block->header.payload_offset)));
}

}  // namespace lookback::store
