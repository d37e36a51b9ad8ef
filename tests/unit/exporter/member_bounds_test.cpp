#include "lookback/exporter/member_bounds.hpp"

#include <catch2/catch.hpp>

#include "lookback/exporter/member_builder.hpp"
#include "unit/exporter/support/packets.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

/// Several frames, with packets that are not in order.
archive::MemberContent built() {
  MemberBuilder builder("n1", {packet::Interface{}}, "test");
  for (int i = 0; i < 3000; ++i) {
    const Bytes data(1000, 'x');
    packet::PacketView packet;
    packet.data = view(data);
    packet.original_length = 1000;
    packet.time_ns = 1'000'000 + (i * 7919) % 1000;
    builder.add(packet);
  }
  return builder.finish();
}

}  // namespace

TEST_CASE("a member's frames are held against their packets", "[member]") {
  archive::MemberContent member = built();
  REQUIRE(member.frames.size() > 2);
  MemberBounds bounds;
  archive::MemberChecker checker;
  const archive::FrameVisitor visit = [&](const archive::FrameEntry& frame,
                                          std::span<const std::byte> content) {
    return bounds.check(frame, content);
  };
  SECTION("as they are built they agree") {
    CHECK(checker.check(member, visit));
  }
  SECTION("the first, declared earlier") {
    member.frames[0].first_ns = 0;
    const auto checked = checker.check(member, visit);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().kind == ErrorKind::corrupt);
    CHECK_THAT(checked.error().message, Catch::Contains("frame 1 of"));
  }
  SECTION("a later one, declared to end before it does") {
    member.frames[1].last_ns -= 1;
    CHECK_FALSE(checker.check(member, visit));
  }
  SECTION("packets that are not there") {
    ++member.frames[1].packets;
    --member.frames[0].packets;
    CHECK_FALSE(checker.check(member, visit));
  }
  SECTION("without a visitor only bytes count") {
    member.frames[1].last_ns -= 1;
    CHECK(checker.check(member));
  }
}
