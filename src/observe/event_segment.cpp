#include "lookback/observe/event_segment.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/observe/event_segment_format.hpp"
#include "observe/event_segment_header.hpp"
#include "observe/live_table.hpp"

namespace lookback::observe {
namespace {

bool is_state(Kind kind) {
  return kind == Kind::checkpoint || kind == Kind::cgroup || kind == Kind::process ||
         kind == Kind::socket;
}

uint32_t record_checksum(uint16_t length, std::span<const std::byte> event) {
  return crc32c(event, crc32c(std::as_bytes(std::span(&length, 1))));
}

/// The event at the start of `bytes`, and where it ends; nothing where there is none.
std::optional<std::span<const std::byte>> record_at(std::span<const std::byte> bytes) {
  EventRecordHeader head;
  if (bytes.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.marker != kEventRecordMarker || head.length > kMostEventBytes ||
      head.length > bytes.size() - sizeof head)
    return std::nullopt;
  const auto event = bytes.subspan(sizeof head, head.length);
  if (record_checksum(head.length, event) != head.checksum) return std::nullopt;
  return event;
}

/// Where the next record may begin.
size_t next_marker(std::span<const std::byte> bytes) {
  const auto low = static_cast<std::byte>(kEventRecordMarker & 0xff);
  const auto high = static_cast<std::byte>(kEventRecordMarker >> 8);
  for (size_t at = 1; at + 1 < bytes.size(); ++at)
    if (bytes[at] == low && bytes[at + 1] == high) return at;
  return bytes.size();
}

}  // namespace

void append_event_record(const Event& event, std::string& out) {
  const size_t at = out.size();
  out.resize(at + sizeof(EventRecordHeader));
  encode_event(event, out);
  const size_t length = out.size() - at - sizeof(EventRecordHeader);
  if (length > kMostEventBytes) {  // a path or name that no kernel gives
    out.resize(at);
    return;
  }
  EventRecordHeader head{kEventRecordMarker, static_cast<uint16_t>(length), 0};
  head.checksum =
      record_checksum(head.length, as_bytes(std::string_view(out).substr(at + sizeof head)));
  std::memcpy(out.data() + at, &head, sizeof head);
}

Result<EventSegment> parse_event_segment(std::span<const std::byte> bytes) {
  TRY_ASSIGN(const EventSegmentHeader header, read_event_segment_header(bytes));
  if (header.version != kEventSegmentVersion)
    return fail(ErrorKind::corrupt, "an event segment that is packed");
  EventSegment segment;
  segment.sequence = header.sequence;
  segment.created_ns = header.created_ns;
  segment.bytes = bytes;
  if (bytes.size() > UINT32_MAX)
    return fail(ErrorKind::corrupt, "an event segment of {} bytes", bytes.size());
  bytes = bytes.subspan(sizeof header);
  while (!bytes.empty()) {
    size_t step = 0;
    if (const auto record = record_at(bytes)) {
      step = sizeof(EventRecordHeader) + record->size();
      if (const auto event = decode_event(*record))
        segment.events.push_back({event->time_ns,
                                  static_cast<uint32_t>(record->data() - segment.bytes.data()),
                                  static_cast<uint16_t>(record->size()), event->kind});
      else
        segment.damaged_bytes += step;
    } else {
      step = next_marker(bytes);
      segment.damaged_bytes += step;
    }
    bytes = bytes.subspan(step);
  }
  return segment;
}

Event EventSegment::event(const EventPlace& place) const {
  auto decoded = decode_event(bytes.subspan(place.offset, place.length));
  LOOKBACK_CHECK(decoded.has_value());  // it was, when the place was found
  return std::move(*decoded);
}

void render_member(const EventSegment& segment, TimeWindow window,
                   const std::function<void(std::string_view line, int64_t time_ns)>& take) {
  // State stands in front as it was written; a cgroup or process that turns up later is an event
  // like any other.
  LiveTable table;
  std::string boot_id, line;
  size_t at = 0;
  for (; at < segment.events.size() && is_state(segment.events[at].kind); ++at) {
    const Event event = segment.event(segment.events[at]);
    if (event.kind == Kind::checkpoint) boot_id = event.text;
    table.apply(event);
  }
  std::vector<EventPlace> events(segment.events.begin() + static_cast<ptrdiff_t>(at),
                                 segment.events.end());
  std::stable_sort(events.begin(), events.end(), [](const EventPlace& a, const EventPlace& b) {
    return a.time_ns < b.time_ns;
  });
  auto next = events.begin();
  for (; next != events.end() && next->time_ns < window.from_ns; ++next)
    table.apply(segment.event(*next));
  if (segment.created_ns >= window.to_ns) return;
  const auto write = [&](const Event& event) {
    line.clear();
    append_json(event, line);
    take(line, event.time_ns);
  };
  table.checkpoint(std::max(segment.created_ns, window.from_ns), boot_id, write);
  for (; next != events.end() && next->time_ns < window.to_ns; ++next)
    if (next->kind != Kind::checkpoint) write(segment.event(*next));
}

}  // namespace lookback::observe
