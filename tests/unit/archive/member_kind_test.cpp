#include "lookback/archive/member_kind.hpp"

#include <catch2/catch.hpp>

namespace lookback::archive {

namespace {

std::optional<MemberKind> kind_of_path(const std::string& path, const std::string& node = "web-1") {
  MemberEntry member;
  member.name = path;
  member.node = node;
  return kind_of(member);
}

}  // namespace

TEST_CASE("a member's kind is known by where it stands") {
  for (const MemberKindInfo& one : kMemberKinds) {
    const std::string path = member_path(one.kind, "web-1", 7);
    CHECK(kind_of_path(path) == one.kind);
    CHECK_FALSE(kind_of_path(path, "web-2"));
    CHECK_FALSE(kind_of_path(path, "web"));
    CHECK_FALSE(kind_of_path(path, ""));
    CHECK_FALSE(kind_of_path(path + "x"));
    CHECK(member_kind(one.name) == one.kind);
  }
  CHECK(member_path(MemberKind::packets, "web-1", 7) == "nodes/web-1/packets/00000007.pcapng");
  CHECK_FALSE(kind_of_path("nodes/web-1/secrets/00000000.json"));
  CHECK_FALSE(kind_of_path("nodes/web-1/packets"));
  CHECK_FALSE(kind_of_path("nodes/web-1"));
  CHECK_FALSE(kind_of_path("nodes/web-1/packets/00000000.ndjson"));
  CHECK_FALSE(member_kind("secrets"));
}

TEST_CASE("the numbers of members tell their kinds") {
  uint64_t all = 0;
  for (const MemberKindInfo& one : kMemberKinds) {
    CHECK(kind_of_index(one.first_index) == one.kind);
    CHECK(kind_of_index(one.first_index + most_members(one.kind) - 1) == one.kind);
    all += most_members(one.kind);
  }
  CHECK(all == uint64_t{kMaxMemberIndex} + 1);
}

}  // namespace lookback::archive
