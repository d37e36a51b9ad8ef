#include <catch2/catch.hpp>

#include "lookback/archive/member_kind.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/observe/event_segment.hpp"
#include "node/event_member.hpp"

using namespace lookback;
using namespace lookback::node;

namespace {

constexpr int64_t kStart = 1'700'000'000'000'000'000;

std::string segment(size_t events) {
  std::string bytes = observe::event_segment_header(7, kStart);
  observe::Event event;
  event.kind = observe::Kind::checkpoint;
  event.time_ns = kStart;
  observe::append_event_record(event, bytes);
  for (size_t i = 0; i < events; ++i) {
    event = {};
    event.kind = observe::Kind::exit;
    event.time_ns = kStart + static_cast<int64_t>(i) + 1;
    event.pid = static_cast<uint32_t>(i + 1);
    event.exit_code = 0;
    observe::append_event_record(event, bytes);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a member of events holds what it declares, in frames that end with a line") {
  const std::string bytes = segment(60'000);
  const auto made = event_member(bytes, {0, INT64_MAX});
  REQUIRE(made);
  CHECK(made->whole);
  const auto& member = made->content;
  REQUIRE(member);
  archive::MemberChecker checker;
  CHECK(checker.check(*member));
  CHECK(member->packets == 0);
  REQUIRE(member->frames.size() > 2);
  CHECK(member->size <= event_content_bound({7, bytes.size(), 0, 0}));
  archive::FrameDecoder decoder;
  size_t at = 0;
  int64_t last = 0;
  for (const auto& frame : member->frames) {
    std::vector<std::byte> content(frame.content_bytes);
    REQUIRE(decoder.decode(std::span(member->compressed).subspan(at, frame.compressed_bytes),
                           content));
    at += frame.compressed_bytes;
    const auto text = as_text(content);
    CHECK(text.starts_with("{\"kind\":"));
    CHECK(text.ends_with("}\n"));
    CHECK(frame.first_ns >= last);
    CHECK(frame.last_ns > frame.first_ns);
    last = frame.last_ns;
  }
  CHECK(member->frames.front().first_ns == kStart);
  CHECK(last == kStart + 60'000);
  // Again the same.
  CHECK(event_member(bytes, {0, INT64_MAX})->content->sha256 == member->sha256);
}

TEST_CASE("a window before the segment has no member of it; what is not a segment is an error") {
  const auto none = event_member(segment(1), {0, kStart});
  REQUIRE(none);
  CHECK(none->whole);
  CHECK_FALSE(none->content);
  CHECK_FALSE(event_member("nonsense", {0, INT64_MAX}));
}

TEST_CASE("a member of a damaged segment says that it is not whole") {
  std::string bytes = segment(1000);
  bytes[bytes.size() / 2] ^= 4;
  const auto made = event_member(bytes, {0, INT64_MAX});
  REQUIRE(made);
  CHECK_FALSE(made->whole);
  CHECK(made->content);
}

TEST_CASE("indexes of members: those of events are apart from those of packets, in order") {
  CHECK(event_member_index({1, 0, 0, 0}) == event_member_index({0, 0, 0, 0}) + 1);
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{49'999'999}, uint64_t{50'000'000}, UINT64_MAX}) {
    const uint32_t index = event_member_index({sequence, 0, 0, 0});
    CHECK(index <= archive::kMaxMemberIndex);
    CHECK(archive::kind_of_index(index) == archive::MemberKind::os_events);
  }
}
