#include "node/event_member.hpp"

#include <algorithm>

#include "lookback/archive/member_kind.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "lookback/observe/event_segment.hpp"

namespace lookback::node {
namespace {

constexpr size_t kFrameBytes = 1 << 20;
/// Lines against records: about three to one by the field names, more where text has to be escaped.
constexpr uint64_t kMostGrowth = 5;

class Builder {
 public:
  void add(std::string_view line, int64_t time_ns) {
    if (!content_.empty() && content_.size() + line.size() > kFrameBytes) end_frame();
    if (content_.empty()) frame_.first_ns = frame_.last_ns = time_ns;
    frame_.first_ns = std::min(frame_.first_ns, time_ns);
    frame_.last_ns = std::max(frame_.last_ns, time_ns);
    content_ += line;
  }
  [[nodiscard]] uint64_t size() const { return member_.size + content_.size(); }
  [[nodiscard]] archive::MemberContent finish() {
    if (!content_.empty()) end_frame();
    member_.sha256 = to_hex(hash_.finish());
    return std::move(member_);
  }

 private:
  void end_frame() {
    const auto bytes = as_bytes(content_);
    hash_.update(bytes);
    frame_.content_bytes = bytes.size();
    frame_.compressed_bytes = encoder_.encode(bytes, member_.compressed);
    member_.size += bytes.size();
    member_.frames.push_back(std::exchange(frame_, {}));
    content_.clear();
  }

  archive::FrameEncoder encoder_;
  Sha256 hash_;
  std::string content_;
  archive::FrameEntry frame_;
  archive::MemberContent member_;
};

}  // namespace

uint32_t event_member_index(const observe::FrozenSegment& segment) {
  constexpr auto kKind = archive::MemberKind::os_events;
  return archive::info_of(kKind).first_index + static_cast<uint32_t>(segment.sequence % archive::most_members(kKind));
}

uint64_t event_content_bound(const observe::FrozenSegment& segment) {
  return std::min(archive::kMaxMemberContent, segment.bytes * kMostGrowth);
}

Result<EventMember> event_member(const std::string& segment, TimeWindow window) {
  TRY_ASSIGN(const auto parsed, observe::parse_event_segment(as_bytes(segment)));
  if (parsed.damaged_bytes != 0)
    log_warning("event segment {}: {} bytes are damaged", parsed.sequence, parsed.damaged_bytes);
  Builder builder;
  uint64_t left_out = 0;
  observe::render_member(parsed, window, [&](std::string_view line, int64_t time_ns) {
    if (builder.size() + line.size() > archive::kMaxMemberContent)
      ++left_out;
    else
      builder.add(line, time_ns);
  });
  if (left_out != 0)
    log_warning("event segment {}: {} events do not fit", parsed.sequence, left_out);
  EventMember member;
  member.whole = parsed.damaged_bytes == 0 && left_out == 0;
  if (builder.size() != 0) member.content = builder.finish();
  return member;
}

}  // namespace lookback::node
