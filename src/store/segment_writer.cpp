#include "store/segment_writer.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lookback/base/hash.hpp"
#include "store/block_codec.hpp"

namespace lookback::store {

namespace {

/// Layout of a block that the store fills itself: where the payload starts so that the tag table
/// fits in front.
uint32_t payload_offset_for(uint64_t payload_bytes) {
  uint32_t offset = sizeof(BlockHeader);
  for (;;) {
    const uint32_t need = front_bytes(static_cast<uint32_t>(offset + payload_bytes));
    if (need <= offset) return offset;
    offset = need;
  }
}

/// The index block ends with the file, so its payload is stretched to the end of a page.
struct IndexLayout {
  uint32_t payload_offset, used_bytes;
};
IndexLayout index_layout(uint64_t entries) {
  const uint64_t payload = entries * sizeof(IndexEntry) + sizeof(IndexTrailer);
  uint32_t offset = payload_offset_for(payload);
  uint64_t used = round_up(offset + payload, kPageBytes);
  while (front_bytes(static_cast<uint32_t>(used)) > offset) {
    offset = front_bytes(static_cast<uint32_t>(used));
    used = round_up(offset + payload, kPageBytes);
  }
  return {offset, static_cast<uint32_t>(used)};
}

}  // namespace

uint64_t SegmentWriter::note_bytes(size_t json_bytes) {
  return round_up(payload_offset_for(json_bytes) + json_bytes, kPageBytes);
}

bool SegmentWriter::has_room(uint64_t block_bytes, uint64_t notes) const {
  const uint64_t index =
      index_layout(blocks_.size() + 3).used_bytes;  // this block, a note, and one at the seal
  return offset_ + round_up(block_bytes, kPageBytes) + notes + index <= file_.bytes;
}

uint64_t SegmentWriter::bytes_for(uint64_t block_bytes, uint64_t notes) {
  return kPageBytes + round_up(block_bytes, kPageBytes) + notes + index_layout(4).used_bytes;
}

Result<SegmentWriter> SegmentWriter::start(PreparedFile file, const SegmentHeader& header,
                                           const std::string& note, BlockOutput& output,
                                           AlignedBuffer& scratch) {
  SegmentWriter writer(std::move(file), header, output);
  SegmentHeader& own = writer.header_;
  own.checksum = crc32c(std::as_bytes(std::span(&own, 1)).first(offsetof(SegmentHeader, checksum)));
  scratch.reserve(kPageBytes);
  const auto page = scratch.span(kPageBytes);
  std::memset(page.data(), 0, page.size());
  std::memcpy(page.data(), &own, sizeof own);
  TRY(output.write(writer.fd(), page, 0, !writer.file_.direct));
  TRY(writer.append_note(note, header.opened_ns, scratch));
  return writer;
}

Result<IndexEntry> SegmentWriter::write_block(std::span<std::byte> block, BlockHeader header) {
  header.epoch = header_.epoch;
  // A number is never used twice, not even when a write failed and its place is written again: the
  // tags differ.
  header.sequence = sequence_++;
  const uint32_t bytes = seal_block(block, header);
  const auto written = output_->write(fd(), block.first(bytes), offset_, !file_.direct);
  if (!written) {
    unseal_block(block);
    // The header may have reached the disk: take it away, so that nobody finds a block that its
    // writer gave up.
    alignas(kPageBytes) static thread_local std::byte zeros[kPageBytes] = {};
    if (::pwrite(fd(), zeros, sizeof zeros, static_cast<off_t>(offset_)) !=
        static_cast<ssize_t>(sizeof zeros))
      return tl::make_unexpected(
          written.error().in("a block could not be written, and its place not be voided"));
    return tl::make_unexpected(written.error());
  }
  IndexEntry entry;
  entry.page = static_cast<uint32_t>(offset_ / kPageBytes);
  entry.used_bytes = header.used_bytes;
  entry.packets = header.packets;
  entry.kind = header.kind;
  entry.first_ns = header.first_ns;
  entry.last_ns = header.last_ns;
  offset_ += bytes;
  return entry;
}

Result<IndexEntry> SegmentWriter::append(std::span<std::byte> block, const BlockInfo& info) {
  BlockHeader header;
  header.kind = static_cast<uint16_t>(info.kind);
  header.payload_offset = info.first_packet;
  header.used_bytes = info.used_bytes;
  header.packets = info.packets;
  header.first_ns = std::min(info.first_ns, info.last_ns);
  header.last_ns = std::max(info.first_ns, info.last_ns);
  TRY_ASSIGN(const IndexEntry entry, write_block(block, header));
  blocks_.push_back(entry);
  return entry;
}

Result<IndexEntry> SegmentWriter::append_note(const std::string& json, int64_t time_ns,
                                              AlignedBuffer& scratch) {
  BlockHeader header;
  header.kind = static_cast<uint16_t>(BlockKind::note);
  header.payload_offset = payload_offset_for(json.size());
  header.used_bytes = header.payload_offset + static_cast<uint32_t>(json.size());
  header.first_ns = header.last_ns = time_ns;
  header.payload_checksum = crc32c(as_bytes(json));
  const uint64_t bytes = round_up(header.used_bytes, kPageBytes);
  scratch.reserve(bytes);
  const auto block = scratch.span(bytes);
  std::memset(block.data(), 0, header.payload_offset);
  std::memcpy(block.data() + header.payload_offset, json.data(), json.size());
  TRY_ASSIGN(const IndexEntry entry, write_block(block, header));
  blocks_.push_back(entry);
  return entry;
}

Result<> SegmentWriter::seal(int64_t time_ns, AlignedBuffer& scratch) {
  const IndexLayout layout = index_layout(blocks_.size());
  scratch.reserve(layout.used_bytes);
  const auto block = scratch.span(layout.used_bytes);
  std::memset(block.data(), 0, block.size());
  if (!blocks_.empty())
    std::memcpy(block.data() + layout.payload_offset, blocks_.data(),
                blocks_.size() * sizeof(IndexEntry));
  IndexTrailer trailer;
  trailer.epoch = header_.epoch;
  trailer.index_page = static_cast<uint32_t>(offset_ / kPageBytes);
  trailer.entries = static_cast<uint32_t>(blocks_.size());
  trailer.sealed_ns = time_ns;
  trailer.checksum =
      crc32c(std::as_bytes(std::span(&trailer, 1)).first(offsetof(IndexTrailer, checksum)));
  std::memcpy(block.data() + block.size() - sizeof trailer, &trailer, sizeof trailer);

  BlockHeader header;
  header.kind = static_cast<uint16_t>(BlockKind::index);
  header.payload_offset = layout.payload_offset;
  header.used_bytes = layout.used_bytes;
  header.first_ns = header.last_ns = time_ns;
  header.payload_checksum = crc32c(block.subspan(layout.payload_offset));
  TRY(write_block(block, header));
  if (::ftruncate(fd(), static_cast<off_t>(offset_)) != 0)
    return fail_errno(errno, "cannot cut a segment to its length");
  return {};
}

}  // namespace lookback::store
