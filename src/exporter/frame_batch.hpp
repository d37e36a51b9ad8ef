#pragma once
// The packets of one frame that go into the output, ready to be written.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "exporter/dedup_key.hpp"
#include "exporter/packet_digest.hpp"
#include "lookback/packet/network_filter.hpp"

namespace lookback::exporter {

/// One packet of a batch. Its record begins where its predecessor's ends.
struct PacketRef {
  int64_t time_ns;     ///< as written
  uint32_t end;        ///< offset in the batch's bytes behind its record
  uint32_t interface;  ///< of the output
};

/// Built by one worker, then read by the merger. The records (enhanced packet blocks, or classic
/// pcap records) stand in output order, back to back, with output interface numbers and stamps in
/// place.
struct FrameBatch {
  std::vector<std::byte> bytes;
  uint32_t begin = 0;                ///< offset of the first record
  std::vector<PacketRef> packets;    ///< by (time, interface), stored order among equals
  std::vector<DedupKey> keys;        ///< one a packet where duplicates are looked for, else empty
  std::vector<PacketDigest> digests;  ///< one a packet where the plan asks for them, else empty
  std::vector<Fragment> fragments;    ///< that digests tell of, in any order
  std::vector<uint32_t> interfaces;  ///< those that occur
  uint64_t packets_read = 0;
  packet::UnreadCounts unread{};     ///< packets kept because their addresses could not be read
  uint64_t cut_packets = 0;          ///< longer on the wire than packet::kMaxCapturedBytes, and cut there
  bool outside_bounds =
      false;  ///< packets stand outside the times that the manifest declares for the frame

  [[nodiscard]] uint32_t start_of(size_t packet) const {
    return packet == 0 ? begin : packets[packet - 1].end;
  }
  /// What it takes, unused room included.
  [[nodiscard]] size_t memory_bytes() const {
    return bytes.capacity() + packets.capacity() * sizeof(PacketRef) +
           keys.capacity() * sizeof(DedupKey) + digests.capacity() * sizeof(PacketDigest) +
           fragments.capacity() * sizeof(Fragment);
  }
};

/// Packets [first, last) in memory of their own size.
[[nodiscard]] std::unique_ptr<FrameBatch> copy_of(const FrameBatch& batch, size_t first,
                                                  size_t last);

}  // namespace lookback::exporter
