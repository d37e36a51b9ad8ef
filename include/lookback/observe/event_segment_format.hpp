#pragma once
// Segments of the event FIFO on disk. Little-endian. They never leave the node.
//
//   header                EventSegmentHeader
//   records               EventRecordHeader and its event (encode_event), one behind the other, to
//                         the end of the file; under kPackedEventSegmentVersion one zstd frame
//                         (RFC 8878), with content size and checksum, whose content are the records
//
// A segment is written plain, and packed once it has ended: the packed file is made beside it and
// renamed over it, so a crash leaves one of the two, whole. It keeps the time of its last event as
// the time of its last change.
//
// The first record is a checkpoint and the state behind it (event.hpp), so that each segment can be
// read by itself. A writer that was killed leaves a last record that is cut off; one that is
// damaged costs itself: a reader goes on at the next place where a marker, a length and a checksum
// agree.

#include <cstddef>
#include <cstdint>

namespace lookback::observe {

inline constexpr char kEventSegmentMagic[8] = {'L', 'B', 'E', 'V', 'S', 'E', 'G', '1'};
inline constexpr uint32_t kEventSegmentVersion = 1, kPackedEventSegmentVersion = 2;
inline constexpr uint16_t kEventRecordMarker = 0x1be5;
/// An event is never longer: what the kernel hands over is cut to about a tenth of it.
inline constexpr size_t kMostEventBytes = 16 << 10;
/// A segment, header and plain records: no reader takes a longer one.
inline constexpr uint64_t kMostEventSegmentBytes = 64 << 20;

struct EventSegmentHeader {
  char magic[8];
  uint32_t version;
  uint32_t checksum;   ///< CRC-32C of the header with 0 here
  uint64_t sequence;   ///< as in the file's name; one more than its predecessor's
  int64_t created_ns;  ///< node time of the checkpoint
};
static_assert(sizeof(EventSegmentHeader) == 32);

struct EventRecordHeader {
  uint16_t marker;
  uint16_t length;    ///< of the event behind it
  uint32_t checksum;  ///< CRC-32C of length and event
};
static_assert(sizeof(EventRecordHeader) == 8);

}  // namespace lookback::observe
