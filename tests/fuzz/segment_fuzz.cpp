// Any bytes as a segment file: reading it ends, stays inside memory, and tells packets only where
// checksums and tags fit.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "store/block_codec.hpp"
#include "store/freeze_record.hpp"
#include "store/run_reader.hpp"
#include "store/segment_reader.hpp"

using namespace lookback;
using namespace lookback::store;

namespace {

/// Mutations rarely hit a checksum: those of the header page and of every block are made right, so
/// that what is behind them is reached.
void mend(std::span<std::byte> file) {
  if (file.size() < kPageBytes) return;
  SegmentHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  header.magic = kSegmentMagic;
  header.version = kFormatVersion;
  header.checksum =
      crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, checksum)));
  std::memcpy(file.data(), &header, sizeof header);
  for (size_t at = kPageBytes; at + sizeof(BlockHeader) <= file.size(); at += kPageBytes) {
    BlockHeader block;
    std::memcpy(&block, file.data() + at, sizeof block);
    if (block.magic != kBlockMagic) continue;
    block.version = kFormatVersion;
    block.epoch = header.epoch;
    block.tagged_sectors = tagged_sectors(block.payload_offset, block.used_bytes);
    const size_t front = header_and_table_bytes(block);
    if (front > block.payload_offset || front > file.size() - at ||
        block.used_bytes > file.size() - at || block.used_bytes < block.payload_offset)
      continue;
    const TagSequence tags(block.epoch, block.sequence);
    const size_t first = block.payload_offset / kSectorBytes;
    for (size_t i = 0; i < block.tagged_sectors; ++i) {
      const size_t tag_at = at + (first + i + 1) * kSectorBytes - kTagBytes;
      const uint16_t tag = tags.tag(static_cast<uint32_t>(first + i));
      if (tag_at + kTagBytes <= file.size()) std::memcpy(file.data() + tag_at, &tag, sizeof tag);
    }
    block.checksum = 0;
    const uint32_t seed = crc32c(std::as_bytes(std::span(&block, 1)));
    block.checksum = crc32c(file.subspan(at + sizeof block, front - sizeof block), seed);
    std::memcpy(file.data() + at, &block, sizeof block);
  }
}

void read_everything(int fd) {
  BlockWindow file(Fd(::dup(fd)), 0);
  const auto contents = read_segment(file);
  if (!contents) return;
  uint64_t previous = 0;
  for (const IndexEntry& entry : contents->blocks) {
    const uint64_t offset = uint64_t{entry.page} * kPageBytes;
    if (offset < previous) std::abort();  // blocks never overlap
    previous = offset + kPageBytes;
    if (entry.kind == static_cast<uint16_t>(BlockKind::note))
      static_cast<void>(load_note(file, contents->header.epoch, offset));
  }
  const uint64_t bytes = contents->end > kPageBytes ? contents->end - kPageBytes : 0;
  RunSource source{BlockWindow(Fd(::dup(fd)), kRunReadAhead),
                   contents->header.epoch,
                   kPageBytes,
                   bytes,
                   0,
                   0,
                   {}};
  SegmentRunReader reader(std::move(source));
  uint64_t sum = 0;
  for (;;) {
    const auto next = reader.next();
    if (!next || !*next) break;
    const packet::PacketView& view = **next;
    for (const std::byte b : view.data) sum += static_cast<uint8_t>(b);
    if (view.interface >= reader.interfaces().size()) std::abort();
  }
  if (sum == 1 && contents->blocks.empty()) std::abort();  // so that the bytes are really looked at
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > (1U << 20)) return 0;
  static_cast<void>(freeze_from_json({reinterpret_cast<const char*>(data), size}));
  std::vector<std::byte> file(size - 1);
  if (size > 1) std::memcpy(file.data(), data + 1, size - 1);
  if ((data[0] & 1) != 0) mend(file);
  const Fd fd(::memfd_create("segment", MFD_CLOEXEC));
  if (!pwrite_all(fd.get(), file, 0)) return 0;
  read_everything(fd.get());
  return 0;
}
