#pragma once
// The header of an event segment's file, of either form.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "lookback/base/result.hpp"
#include "lookback/observe/event_segment_format.hpp"

namespace lookback::observe {

/// corrupt: no header, one that is damaged, or of a version that is not known.
[[nodiscard]] Result<EventSegmentHeader> read_event_segment_header(
    std::span<const std::byte> bytes);
[[nodiscard]] std::string event_segment_header(uint64_t sequence, int64_t created_ns,
                                               uint32_t version);

}  // namespace lookback::observe
