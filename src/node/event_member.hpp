#pragma once
// A frozen segment of the event FIFO → a member of an archive.

#include <cstdint>
#include <optional>
#include <string>

#include "lookback/archive/member.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/observe/event_store.hpp"

namespace lookback::node {

/// By its sequence number, so that it stays the same however often a freeze is described.
[[nodiscard]] uint32_t event_member_index(const observe::FrozenSegment& segment);
/// The content that it makes as lines, with room to spare.
[[nodiscard]] uint64_t event_content_bound(const observe::FrozenSegment& segment);

struct EventMember {
  std::optional<archive::MemberContent> content;  ///< nothing where there are no lines
  bool whole = true;                              ///< false: some events are not in it
};
/// The lines of the window, cut into frames between lines. The same segment gives the same bytes.
[[nodiscard]] Result<EventMember> event_member(const std::string& segment, TimeWindow window);

}  // namespace lookback::node
