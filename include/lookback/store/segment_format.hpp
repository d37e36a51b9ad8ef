#pragma once
// The grammar of a segment file, version 1. All integers are little-endian; a page is 4096 bytes, a
// sector 512.
//
//   segment  = header-page block* [index-block]
//   header-page = SegmentHeader, zeros up to one page
//   block    = BlockHeader tag-table gap payload padding        starts at a page, ends at the next
//   page boundary tag-table = one u16 for each tagged sector payload  = kernel: a TPACKET_V3 chain
//   as the kernel left it (linux/if_packet.h); its first header at payload_offset
//            | compact: CompactRecord data, back to back, unpadded (compact.hpp)
//            | note: one JSON object, checksummed (members: interfaces, gaps, clock,
//            complete_ns; all optional)
//            | index: IndexEntry*, zeros, IndexTrailer; checksummed, its end is the end of the file
//
// Only a sealed segment has an index block; a segment without one (its writer was killed) is read
// block by block. A block ends where the next one starts: at used_bytes rounded up to a page. The
// file may be longer than its blocks: space is allocated ahead of the writer, and cut off when the
// segment is sealed.
//
// Sector tags. Blocks are written by the device's own hands (O_DIRECT) over space that older
// segments had, and a write that a crash interrupts may leave any subset of its sectors as they
// were. A checksum over every byte would cost more than writing does; instead the last two bytes of
// each sector from the one that holds payload_offset to the one that holds the last used byte are
// kept in the tag table, and a tag that only this block has at this sector takes their place.
// Header and table are covered by a checksum. A reader compares every tag, and puts the bytes back.
// A sector that is still old, or was never written (tags are never zero), shows, and the block ends
// in front of it. Bytes in front of payload_offset that are neither header nor table, and bytes
// behind used_bytes, mean nothing.
//
// A tag has 16 bits, so one stale sector in 65,536 passes; where a sector is found to hold other
// content than zeros, the one in front of it is given up as well, which leaves 2^-32 for any tear
// that spans two sectors.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "lookback/base/page.hpp"

namespace lookback::store {

static_assert(std::endian::native == std::endian::little, "segments are written in host order");

inline constexpr uint32_t kSectorBytes = 512;
inline constexpr uint32_t kTagBytes = 2;
inline constexpr uint16_t kFormatVersion = 1;

/// The largest block that a reader believes in.
inline constexpr uint32_t kMaxBlockBytes = 64U << 20;

[[nodiscard]] constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// "LBKSEGM\n"
inline constexpr uint64_t kSegmentMagic = 0x0A4D4745534B424CULL;

struct SegmentHeader {
  uint64_t magic = kSegmentMagic;
  uint16_t version = kFormatVersion;
  uint16_t zero = 0;
  uint32_t header_bytes = kPageBytes;
  uint64_t epoch = 0;          ///< random, tells this segment's blocks from all others'
  uint64_t sequence = 0;       ///< the file's number, from 1
  uint64_t run_id = 0;         ///< random, one for each time the store was opened
  int64_t run_started_ns = 0;  ///< when that was
  int64_t opened_ns = 0;       ///< when the segment became the one written to
  uint32_t reserved = 0;
  uint32_t checksum = 0;  ///< CRC-32C of all bytes in front
};
static_assert(sizeof(SegmentHeader) == 64 && offsetof(SegmentHeader, checksum) == 60);

/// Odd on purpose, see BlockHeader::magic.
inline constexpr uint32_t kBlockMagic = 0x4B4C424FU;

struct BlockHeader {
  uint32_t checksum = 0;          ///< CRC-32C of the header (this field zero) and the tag table
  uint32_t payload_checksum = 0;  ///< CRC-32C of the payload of note and index blocks, else 0
  /// Stands where a kernel block has its status word (tpacket_hdr_v1::block_status): while a block
  /// of the ring is being written from, the kernel must go on to read "in use" there, which is bit
  /// 0.
  uint32_t magic = kBlockMagic;
  uint16_t version = kFormatVersion;
  uint16_t kind = 0;      ///< BlockKind
  uint64_t epoch = 0;     ///< the segment's
  uint32_t sequence = 0;  ///< higher than that of every block in front
  uint32_t payload_offset = 0;
  uint32_t used_bytes = 0;  ///< from the block's start to the payload's end
  uint32_t packets = 0;
  int64_t first_ns = 0, last_ns = 0;
  uint32_t tagged_sectors = 0;
  uint32_t flags = 0;  ///< none defined; writers put 0, readers do not look
};
static_assert(sizeof(BlockHeader) == 64 && offsetof(BlockHeader, magic) == 8);
static_assert((kBlockMagic & 1U) == 1U);

/// One block as the index names it.
struct IndexEntry {
  uint32_t page = 0;  ///< offset of the block in pages
  uint32_t used_bytes = 0;
  uint32_t packets = 0;
  uint16_t kind = 0;
  uint16_t zero = 0;
  int64_t first_ns = 0, last_ns = 0;
};
static_assert(sizeof(IndexEntry) == 32);

/// "LBKINDX\n"
inline constexpr uint64_t kIndexMagic = 0x0A58444E494B424CULL;

/// The last bytes of a sealed segment: read first, they lead to the index block.
struct IndexTrailer {
  uint64_t magic = kIndexMagic;
  uint64_t epoch = 0;
  uint32_t index_page = 0;
  uint32_t entries = 0;
  int64_t sealed_ns = 0;
  uint32_t checksum = 0;   ///< CRC-32C of all bytes in front
  uint32_t tag_space = 0;  ///< its last two bytes are under a sector tag on disk
};
static_assert(sizeof(IndexTrailer) == 40 && offsetof(IndexTrailer, checksum) == 32);

/// How many sectors of a block carry a tag.
[[nodiscard]] constexpr uint32_t tagged_sectors(uint32_t payload_offset, uint32_t used_bytes) {
  return static_cast<uint32_t>(round_up(used_bytes, kSectorBytes) / kSectorBytes) -
         payload_offset / kSectorBytes;
}

/// The space for header and tags in front of a payload, where a block may be filled up to
/// `block_bytes`.
[[nodiscard]] constexpr uint32_t front_bytes(uint32_t block_bytes) {
  return static_cast<uint32_t>(round_up(
      sizeof(BlockHeader) + kTagBytes * round_up(block_bytes, kSectorBytes) / kSectorBytes, 64));
}

}  // namespace lookback::store
