#include "store/block_codec.hpp"

#include <algorithm>
#include <cstring>

#include "lookback/base/hash.hpp"
#include "lookback/base/result.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

namespace {

constexpr uint32_t kTagAt = kSectorBytes - kTagBytes;
/// Tags are a sector apart, too far for the hardware's prefetcher.
constexpr uint32_t kPrefetchSectors = 24;

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xE9846AF9B1A615DULL;
  x ^= x >> 32;
  x *= 0xE9846AF9B1A615DULL;
  return x ^ x >> 28;
}

uint32_t header_checksum(std::span<const std::byte> block, const BlockHeader& header) {
  BlockHeader plain = header;
  plain.checksum = 0;
  const uint32_t seed = crc32c(std::as_bytes(std::span(&plain, 1)));
  return crc32c(block.subspan(sizeof plain, header_and_table_bytes(header) - sizeof plain), seed);
}

uint16_t load_tag(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

uint32_t block_reserve(uint32_t block_bytes) {
  return front_bytes(block_bytes);
}

TagSequence::TagSequence(uint64_t epoch, uint32_t block_sequence)
    : base_(mix(epoch ^ mix(uint64_t{block_sequence} + 0x632BE59BD9B4E019ULL))) {}

uint32_t header_and_table_bytes(const BlockHeader& header) {
  return static_cast<uint32_t>(sizeof(BlockHeader)) + header.tagged_sectors * kTagBytes;
}

uint32_t seal_block(std::span<std::byte> block, BlockHeader header) {
  const auto disk_bytes = static_cast<uint32_t>(round_up(header.used_bytes, kPageBytes));
  header.tagged_sectors = tagged_sectors(header.payload_offset, header.used_bytes);
  LOOKBACK_CHECK(disk_bytes <= block.size());
  LOOKBACK_CHECK(header_and_table_bytes(header) <= header.payload_offset);
  std::memset(block.data() + header.used_bytes, 0, disk_bytes - header.used_bytes);

  const TagSequence tags(header.epoch, header.sequence);
  const uint32_t first = header.payload_offset / kSectorBytes;
  std::byte* saved = block.data() + sizeof(BlockHeader);
  std::byte* at = block.data() + uint64_t{first} * kSectorBytes + kTagAt;
  for (uint32_t i = 0; i < header.tagged_sectors; ++i, saved += kTagBytes, at += kSectorBytes) {
    __builtin_prefetch(at + kPrefetchSectors * kSectorBytes, 1);
    const uint16_t tag = tags.tag(first + i);
    std::memcpy(saved, at, kTagBytes);
    std::memcpy(at, &tag, kTagBytes);
  }
  header.checksum = header_checksum(block, header);
  std::memcpy(block.data(), &header, sizeof header);
  return disk_bytes;
}

void unseal_block(std::span<std::byte> block) {
  BlockHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  const std::byte* saved = block.data() + sizeof header;
  std::byte* at =
      block.data() + uint64_t{header.payload_offset / kSectorBytes} * kSectorBytes + kTagAt;
  for (uint32_t i = 0; i < header.tagged_sectors; ++i, saved += kTagBytes, at += kSectorBytes)
    std::memcpy(at, saved, kTagBytes);
}

bool read_header(std::span<const std::byte> head, uint64_t epoch, BlockHeader& header) {
  std::memcpy(&header, head.data(), sizeof header);
  return header.magic == kBlockMagic && header.version == kFormatVersion && header.epoch == epoch &&
         header.kind >= static_cast<uint16_t>(BlockKind::kernel) &&
         header.kind <= static_cast<uint16_t>(BlockKind::index) &&
         header.used_bytes > sizeof header && header.used_bytes <= kMaxBlockBytes &&
         header.payload_offset >= sizeof header && header.payload_offset % 8 == 0 &&
         header.payload_offset <= header.used_bytes &&
         header.tagged_sectors == tagged_sectors(header.payload_offset, header.used_bytes) &&
         header_and_table_bytes(header) <= header.payload_offset;
}

bool checksum_matches(std::span<const std::byte> block, const BlockHeader& header) {
  return block.size() >= header_and_table_bytes(header) &&
         header_checksum(block, header) == header.checksum;
}

RestoredBlock restore_block(std::span<std::byte> block, const BlockHeader& header) {
  const TagSequence tags(header.epoch, header.sequence);
  const uint32_t first = header.payload_offset / kSectorBytes;
  const std::byte* saved = block.data() + sizeof header;
  std::byte* at = block.data() + uint64_t{first} * kSectorBytes + kTagAt;
  for (uint32_t i = 0; i < header.tagged_sectors; ++i, saved += kTagBytes, at += kSectorBytes) {
    __builtin_prefetch(at + kPrefetchSectors * kSectorBytes, 1);
    const uint16_t found = load_tag(at);
    if (found != tags.tag(first + i)) {
      // Old content: see the grammar on why its neighbour goes too. Zeros cannot pass for a tag.
      const uint32_t doubtful = found != 0 && i > 0 ? 1 : 0;
      const uint32_t end = (first + i - doubtful) * kSectorBytes;
      return {std::max(end, header.payload_offset), true};
    }
    std::memcpy(at, saved, kTagBytes);
  }
  return {header.used_bytes, false};
}

bool payload_matches(std::span<const std::byte> block, const BlockHeader& header) {
  return crc32c(block.subspan(header.payload_offset, header.used_bytes - header.payload_offset)) ==
         header.payload_checksum;
}

}  // namespace lookback::store
