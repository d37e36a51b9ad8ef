// Segments of the event FIFO, plain and packed: whatever is on the disk is read within bounds, and
// the lines made of it are whole.
#include <algorithm>
#include <cstdlib>

#include "lookback/base/fd.hpp"
#include "lookback/base/json.hpp"
#include "lookback/observe/event_segment.hpp"

using namespace lookback;
using namespace lookback::observe;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto event = decode_event(bytes)) {
    std::string again;
    encode_event(*event, again);
    const auto back = decode_event(as_bytes(again));
    if (!back || !(*back == *event)) abort();
  }
  const auto plain = unpack_event_segment({reinterpret_cast<const char*>(data), size});
  if (!plain) return 0;
  const auto front =
      read_event_segment_front(bytes.first(std::min(size, kEventSegmentFrontBytes)), size);
  if (!front || front->content_bytes != plain->size()) abort();
  const auto packed = pack_event_segment(as_bytes(*plain));
  if (!packed || *unpack_event_segment(*packed) != *plain) abort();
  const auto segment = parse_event_segment(as_bytes(*plain));
  if (!segment) abort();
  for (const TimeWindow window :
       {TimeWindow{INT64_MIN, INT64_MAX}, TimeWindow{segment->created_ns + 1, INT64_MAX}})
    render_member(*segment, window, [](std::string_view line, int64_t) {
      if (!line.ends_with("}\n") || line.find('\n') != line.size() - 1 || !parse_json(line, "line"))
        abort();
    });
  return 0;
}
