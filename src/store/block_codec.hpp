#pragma once
// Turns a block in memory into its form on disk and back: header, checksum, sector tags.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lookback/store/segment_format.hpp"

namespace lookback::store {

/// The tag of a sector; never zero, so that space never written to is told for sure.
class TagSequence {
 public:
  TagSequence(uint64_t epoch, uint32_t block_sequence);
  [[nodiscard]] uint16_t tag(uint32_t sector) const {
    const uint64_t mixed = (base_ ^ sector * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    const auto tag = static_cast<uint16_t>(mixed >> 48);
    return tag != 0 ? tag : static_cast<uint16_t>(0x5AA5);
  }

 private:
  uint64_t base_;
};

/// Writes header and tag table in front of the payload, swaps the tags in and zeroes the last page
/// behind used_bytes. `header` has epoch, sequence, kind, payload_offset, used_bytes, packets,
/// times and payload_checksum; the rest is filled in. The payload offset leaves room for the table,
/// the block is whole pages. Returns the bytes to write.
uint32_t seal_block(std::span<std::byte> block, BlockHeader header);

/// Puts the payload back as it was before seal_block.
void unseal_block(std::span<std::byte> block);

/// Judges the fixed fields only: magic, version, epoch, offsets that fit each other. `head` holds
/// sizeof(BlockHeader) bytes or more. False: nothing of this segment starts here.
[[nodiscard]] bool read_header(std::span<const std::byte> head, uint64_t epoch,
                               BlockHeader& header);

/// The bytes at the front of a block that hold header and tag table.
[[nodiscard]] uint32_t header_and_table_bytes(const BlockHeader& header);

/// Holds header and table against their checksum; `block` has at least header_and_table_bytes.
[[nodiscard]] bool checksum_matches(std::span<const std::byte> block, const BlockHeader& header);

struct RestoredBlock {
  uint32_t valid_bytes = 0;  ///< from the block's start; equals used_bytes where nothing is stale
  bool torn = false;
};

/// Compares every sector's tag, and puts the bytes back up to the first stale one. `block` is the
/// used bytes rounded up to a sector; where the file ended early, the rest is zeros.
[[nodiscard]] RestoredBlock restore_block(std::span<std::byte> block, const BlockHeader& header);

/// Whether a note's or index's payload matches its checksum, in a restored block.
[[nodiscard]] bool payload_matches(std::span<const std::byte> block, const BlockHeader& header);

}  // namespace lookback::store
