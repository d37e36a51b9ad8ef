// Whatever a snapshot lacks of a node is a gap of that node: members that did not come, and what
// the node found out late.
#include "hub/losses.hpp"

#include <catch2/catch.hpp>

#include "lookback/archive/reader.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/base/time.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub;
using namespace lookback::hub::test;

namespace {

using Gaps = std::vector<Gap>;

const archive::NodeEntry& entry_of(const archive::ArchiveReader& reader, const std::string& name) {
  const auto* entry = reader.manifest().find_node(name);
  REQUIRE(entry != nullptr);
  return *entry;
}

Gaps with_reason(const archive::NodeEntry& node, GapReason reason) {
  Gaps found;
  for (const auto& gap : node.gaps)
    if (gap.reason == name_of(reason)) found.push_back(gap);
  return found;
}

/// Members of 100 packets each, a second apart; the node tells their time to the nanosecond.
struct Members {
  static constexpr int64_t kApart = kNsPerSecond, kLength = 99'000'000;
  int64_t start_ns = Clock::system().realtime_ns() - 30 * kNsPerSecond;

  [[nodiscard]] int64_t first(size_t i) const {
    return start_ns + static_cast<int64_t>(i) * kApart;
  }
  [[nodiscard]] int64_t end(size_t i) const { return first(i) + kLength + 1; }
  void add_to(FakeNode& node, size_t count) const {
    for (size_t i = 0; i < count; ++i) node.add_member(make_member(node.name(), first(i), 100));
    node.change_freeze = [*this](Json& freeze) {
      for (Json& member : freeze["members"]) {
        const auto i = member.at("index").get<size_t>();
        member["first"] = format_time_ns(first(i));
        member["last"] = format_time_ns(end(i) - 1);
      }
    };
  }
};

http::Response gone() {
  return http::Response::problem({ErrorKind::not_found, "given up"}, 410);
}

Json gap_json(int64_t start_ns, int64_t end_ns, uint64_t packets, GapReason reason) {
  return {{"start", format_time_ns(start_ns)},
          {"end", format_time_ns(end_ns)},
          {"packets", packets},
          {"reason", name_of(reason)}};
}

std::shared_ptr<archive::ArchiveReader> snapshot_of(HubFixture& hub, Json order = {}) {
  auto client = hub.client();
  order["deadline_ns"] = 6 * kNsPerSecond;
  REQUIRE(client.create("x", order).status == 202);
  const Json done = client.wait("x");
  REQUIRE(done.at("state") == "completed");
  auto reader = archive::ArchiveReader::open(hub.archive("x"));
  REQUIRE(reader);
  CHECK(done.at("complete") == (*reader)->manifest().complete);
  return *reader;
}

}  // namespace

TEST_CASE("members that did not come are gaps with their time and number") {
  HubFixture hub;
  const Members members;
  FakeNode quota("quota"), broken("broken"), cut("cut"), before("before");
  for (FakeNode* node : {&quota, &broken, &cut, &before}) members.add_to(*node, 4);
  quota.hook = [](uint32_t index) { return index == 1 ? std::optional(gone()) : std::nullopt; };
  broken.hook = [](uint32_t index) -> std::optional<http::Response> {
    if (index != 2) return std::nullopt;
    return http::Response::text("no member");
  };
  cut.hook = [](uint32_t index) -> std::optional<http::Response> {
    if (index < 2) return std::nullopt;
    return http::Response::problem({ErrorKind::failed, "the disk cannot be read"}, 500);
  };
  before.given_up = {0};
  for (FakeNode* node : {&quota, &broken, &cut, &before}) {
    node->start();
    hub.client().beat(*node);
  }
  const auto reader = snapshot_of(hub);
  CHECK_FALSE(reader->manifest().complete);
  const auto only = [&](const char* name, GapReason reason, size_t first, size_t last) {
    const auto& node = entry_of(*reader, name);
    CAPTURE(name, node.reason);
    CHECK(node.status == "partial");
    REQUIRE(node.gaps.size() == last - first + 1);
    for (size_t i = first; i <= last; ++i)
      CHECK(node.gaps[i - first] ==
            Gap{members.first(i), members.end(i), 100, to_string(reason)});
  };
  only("quota", GapReason::freeze_quota, 1, 1);
  only("broken", GapReason::damaged_member, 2, 2);
  only("cut", GapReason::not_transferred, 2, 3);
  only("before", GapReason::freeze_quota, 0, 0);
}

TEST_CASE("where a filter or the window cuts a member, the number lost is not known") {
  HubFixture hub;
  Members members;
  FakeNode node("n1");
  members.add_to(node, 3);
  node.hook = [](uint32_t index) { return index == 1 ? std::optional(gone()) : std::nullopt; };
  node.start();
  hub.client().beat(node);
  const auto reader = snapshot_of(hub, {{"networks", {"10.0.0.0/8"}}});
  REQUIRE(entry_of(*reader, "n1").gaps.size() == 1);
  CHECK(entry_of(*reader, "n1").gaps[0].packets == 0);
  CHECK(entry_of(*reader, "n1").gaps[0].start_ns == members.first(1));
}

TEST_CASE("what a node finds missing while members are read is in the same snapshot") {
  HubFixture hub;
  const Members members;
  const Json damage =
      gap_json(members.first(1) + 5, members.end(1), 17, GapReason::damaged_segment);
  std::atomic<size_t> sent_before{0};
  FakeNode node("n1"), same("n2");
  members.add_to(node, 3);
  members.add_to(same, 3);
  node.change_description = [&](Json& answer) {
    sent_before = node.whole().size();
    answer["complete"] = false;
    answer["reason"] = "damaged segment (17 packets lost)";
    answer["gaps"].push_back(damage);
    return true;
  };
  for (FakeNode* one : {&node, &same}) {
    one->start();
    hub.client().beat(*one);
  }
  const auto reader = snapshot_of(hub);
  CHECK(sent_before == 3);  // asked after its last member
  CHECK_FALSE(reader->manifest().complete);
  CHECK(entry_of(*reader, "n1").status == "partial");
  CHECK(entry_of(*reader, "n1").reason == "damaged segment (17 packets lost)");
  CHECK(entry_of(*reader, "n1").gaps ==
        Gaps{{members.first(1) + 5, members.end(1), 17, to_string(GapReason::damaged_segment)}});
  CHECK(entry_of(*reader, "n2").status == "complete");
  CHECK(entry_of(*reader, "n2").gaps.empty());
}

TEST_CASE("damage is told also where no packet of a member is left") {
  HubFixture hub;
  const Members members;
  FakeNode node("n1");
  members.add_to(node, 1);
  node.hook = [](uint32_t) -> std::optional<http::Response> {
    http::Response empty;
    empty.status = 204;
    return empty;
  };
  node.change_description = [&](Json& answer) {
    answer["complete"] = false;
    answer["gaps"].push_back(
        gap_json(members.first(0), members.end(0), 100, GapReason::damaged_segment));
    return true;
  };
  node.start();
  hub.client().beat(node);
  const auto reader = snapshot_of(hub);
  CHECK(entry_of(*reader, "n1").status == "partial");
  CHECK(with_reason(entry_of(*reader, "n1"), GapReason::damaged_segment).size() == 1);
}

TEST_CASE("a node that does not say at the end what its members lack has a gap for it") {
  HubFixture hub;
  const Members members;
  FakeNode silent("silent"), lying("lying"), forgetful("forgetful");
  for (FakeNode* node : {&silent, &lying, &forgetful}) members.add_to(*node, 2);
  silent.change_description = [](Json&) { return false; };
  lying.change_description = [](Json& answer) {
    answer["gaps"] = 5;
    return true;
  };
  forgetful.change_description = [](Json& answer) {
    answer["id"] = "another";
    return true;
  };
  for (FakeNode* node : {&silent, &lying, &forgetful}) {
    node->start();
    hub.client().beat(*node);
  }
  const auto reader = snapshot_of(hub);
  const TimeWindow window = reader->manifest().window;
  for (const char* name : {"silent", "lying", "forgetful"}) {
    const auto& node = entry_of(*reader, name);
    CAPTURE(name);
    CHECK(node.status == "partial");
    CHECK(node.packets == 200);
    CHECK(node.reason.find("did not say") != std::string::npos);
    CHECK(node.gaps ==
          Gaps{{window.from_ns, window.to_ns, 0, to_string(GapReason::not_confirmed)}});
  }
}

TEST_CASE("a node that did not freeze lacks the whole window") {
  HubFixture hub;
  FakeNode good("good"), refusing("refusing");
  Members().add_to(good, 1);
  refusing.refuses_freeze = true;
  for (FakeNode* node : {&good, &refusing}) {
    node->start();
    hub.client().beat(*node);
  }
  const auto reader = snapshot_of(hub);
  const TimeWindow window = reader->manifest().window;
  CHECK(entry_of(*reader, "refusing").gaps ==
        Gaps{{window.from_ns, window.to_ns, 0, to_string(GapReason::not_frozen)}});
}

TEST_CASE("gaps of members: what touches is one, what is told is not told again") {
  const auto member = [](int64_t from, int64_t to, uint64_t packets, bool os_events = false) {
    FrozenMember one;
    one.packets = packets;
    if (os_events) one.kind = archive::MemberKind::os_events;
    one.stamps = TimeWindow{from, to};
    return one;
  };
  const TimeWindow window{100, 1000};
  Gaps gaps = {{150, 250, 9, "freeze quota"}};
  add_lost(gaps,
           {{member(150, 200, 5), GapReason::freeze_quota},  // the node said so itself
            {member(300, 400, 5), GapReason::not_transferred},
            {member(390, 500, 7), GapReason::not_transferred},
            {member(50, 120, 3), GapReason::not_transferred},  // cut by the window
            {member(600, 700, 0, true), GapReason::damaged_member},
            {FrozenMember{}, GapReason::damaged_member}},
           window, true);
  CHECK(gaps == Gaps{{100, 1000, 0, "damaged member"},
                     {100, 120, 0, "not transferred"},
                     {150, 250, 9, "freeze quota"},
                     {300, 500, 12, "not transferred"},
                     {600, 700, 0, "os events missing"}});
  // Too many for a manifest: none gets lost.
  std::vector<LostMember> many;
  for (int64_t i = 0; i < 15'000; ++i)
    many.push_back({member(200 + i * 10, 205 + i * 10, 1), GapReason::not_transferred});
  gaps.clear();
  add_lost(gaps, many, {0, 1'000'000}, true);
  CHECK(gaps.size() <= kMaxGaps);
  uint64_t packets = 0;
  for (const auto& gap : gaps) packets += gap.packets;
  CHECK(packets == 15'000);
  CHECK(gaps.front().start_ns == 200);
  CHECK(gaps.back().end_ns == 200 + 14'999 * 10 + 5);
}
