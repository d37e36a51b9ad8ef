#pragma once
// Reading segments of the event FIFO, and what an archive's member is made of them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {

/// Where an event stands in a segment. An event in memory is ten times as large as its record, so they are decoded one by one.
struct EventPlace {
  int64_t time_ns = 0;
  uint32_t offset = 0;  ///< of the encoded event
  uint16_t length = 0;
  Kind kind = Kind::lost;
};

struct EventSegment {
  uint64_t sequence = 0;
  int64_t created_ns = 0;
  std::span<const std::byte> bytes;  ///< the caller's, which outlive this
  std::vector<EventPlace> events;    ///< as they were written; each can be decoded
  uint64_t damaged_bytes = 0;        ///< passed over, a cut end included
  [[nodiscard]] Event event(const EventPlace& place) const;
};
/// corrupt: it is not a plain segment. Damage behind the header is counted.
[[nodiscard]] Result<EventSegment> parse_event_segment(std::span<const std::byte> bytes);

/// A record as it stands in a segment, appended.
void append_event_record(const Event& event, std::string& out);
[[nodiscard]] std::string event_segment_header(uint64_t sequence, int64_t created_ns);

/// What the front of a segment's file says of it.
struct EventSegmentFront {
  uint64_t sequence = 0;
  int64_t created_ns = 0;
  bool packed = false;
  uint64_t content_bytes = 0;  ///< of the segment when it is plain
};
/// So many bytes of a file, or all of a shorter one, are enough.
inline constexpr size_t kEventSegmentFrontBytes = 64;
[[nodiscard]] Result<EventSegmentFront> read_event_segment_front(std::span<const std::byte> front,
                                                                 uint64_t file_bytes);
/// A plain segment with its records in one zstd frame. corrupt: it is none; invalid: it is too
/// long.
[[nodiscard]] Result<std::string> pack_event_segment(std::span<const std::byte> bytes);
/// Fills `out` with what stands in a segment from `offset` on.
using ReadEventSegment = std::function<Result<>(std::span<std::byte> out, uint64_t offset)>;
/// The same of a segment that is read piece by piece, and is never in memory as a whole.
[[nodiscard]] Result<std::string> pack_event_segment(uint64_t bytes, const ReadEventSegment& read);
/// The plain segment, byte for byte as it was, of a plain or a packed one. corrupt: neither, a
/// frame that is cut, damaged or followed by anything, or one that declares more than
/// kMostEventSegmentBytes, none of which is decoded then.
[[nodiscard]] Result<std::string> unpack_event_segment(std::string bytes);

/// The lines of a member: a checkpoint, of the window's start where the segment begins before it,
/// then the events of the window in the order of their times. Nothing is taken where the segment
/// has neither state nor events of the window.
void render_member(const EventSegment& segment, TimeWindow window,
                   const std::function<void(std::string_view line, int64_t time_ns)>& take);

}  // namespace lookback::observe
