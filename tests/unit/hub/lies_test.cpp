// Nodes that lie: whatever they send, the archive stays whole, and what is bad is named.
#include <zstd.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "lookback/archive/reader.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/packet/pcapng.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub::test;

namespace {

int64_t now_ns() {
  return Clock::system().realtime_ns();
}

std::vector<std::byte> frame_of(std::span<const std::byte> content) {
  archive::FrameEncoder encoder;
  std::vector<std::byte> out;
  encoder.encode(content, out);
  return out;
}

/// A member whose frame really holds `content` but is announced as `declared` bytes.
archive::MemberContent member_saying(std::span<const std::byte> content, uint64_t declared) {
  archive::MemberContent member;
  member.compressed = frame_of(content);
  member.size = declared;
  member.sha256 = sha256_hex(content);
  member.frames.push_back({member.compressed.size(), declared, 0, 0, 0, {}});
  return member;
}

std::vector<std::byte> with_header(const std::string& json, std::span<const std::byte> frames) {
  std::vector<std::byte> wire(8);
  std::memcpy(wire.data(), "LBM1", 4);
  for (size_t i = 0; i < 4; ++i) wire[4 + i] = static_cast<std::byte>(json.size() >> (8 * i) & 255);
  const auto text = as_bytes(json);
  wire.insert(wire.end(), text.begin(), text.end());
  wire.insert(wire.end(), frames.begin(), frames.end());
  return wire;
}

/// One liar and one honest node: the honest one is whole, the archive verifies, the liar has one
/// good member and a reason.
void check_lie(FakeNode& liar, const std::string& expected_reason,
               int64_t deadline_ns = 6'000'000'000) {
  HubFixture hub;
  auto client = hub.client();
  FakeNode honest("honest");
  honest.add_member(make_member("honest", now_ns() - 5'000'000'000, 50));
  honest.start();
  liar.start();
  client.beat(honest);
  client.beat(liar);
  REQUIRE(client.create("x", {{"deadline_ns", deadline_ns}}).status == 202);
  const Json done = client.wait("x");
  INFO(done.dump(2));
  CHECK(done.at("state") == "completed");
  CHECK(done.at("complete") == false);
  for (const Json& node : done.at("nodes")) {
    if (node.at("name") == "honest") {
      CHECK(node.at("status") == "complete");
      continue;
    }
    CHECK(node.at("status") != "complete");
    CHECK(node.at("reason").get<std::string>().find(expected_reason) != std::string::npos);
  }
  const auto verified = archive::verify_archive(hub.archive("x"));
  if (!verified) FAIL(verified.error().message);
  const auto reader = archive::ArchiveReader::open(hub.archive("x"));
  REQUIRE(reader);
  for (const auto& member : (*reader)->manifest().members) {
    CHECK(member.name.starts_with("nodes/"));
    CHECK(member.packets == 50);
  }
}

FakeNode& with_good_member(FakeNode& liar) {
  liar.add_member(make_member("liar", now_ns() - 5'000'000'000, 50));
  return liar;
}

}  // namespace

TEST_CASE("a member with a wrong hash is left out") {
  FakeNode liar("liar");
  with_good_member(liar);
  auto member = make_member("liar", now_ns(), 50);
  member.sha256[0] = member.sha256[0] == '0' ? '1' : '0';
  liar.add_member(member);
  check_lie(liar, "SHA-256");
  CHECK(liar.gets().at(1) == 2);  // tried once more: the network may have been to blame
}

TEST_CASE("a frame whose declared bounds are not its packets' is refused") {
  FakeNode liar("liar");
  with_good_member(liar);
  auto member = make_member("liar", now_ns() - 4'000'000'000, 50);
  SECTION("times that would keep it open") {
    member.frames[0].first_ns = 0;
  }
  SECTION("times that would hide it") {
    member.frames[0].last_ns -= 1;
  }
  SECTION("a number of packets") {
    member.packets += 1;
    member.frames[0].packets += 1;
  }
  liar.add_member(member);
  check_lie(liar, "declared");
}

TEST_CASE("a member of packets that no export could read is refused") {
  FakeNode liar("liar");
  with_good_member(liar);
  const std::vector<std::byte> content(512, std::byte{'x'});
  liar.add_member(member_saying(content, 512));
  check_lie(liar, "impossible length");
}

TEST_CASE("a member damaged on the way once is fetched again") {
  HubFixture hub;
  auto client = hub.client();
  const auto good = make_member("web-1", now_ns(), 50);
  std::atomic<int> asked{0};
  FakeNode node("web-1");
  node.add_member(good);
  node.hook = [&](uint32_t) -> std::optional<http::Response> {
    if (++asked > 1) return std::nullopt;
    auto wire = wire_of(good);
    wire[wire.size() - 20] ^= std::byte{1};
    http::Response response;
    response.body.assign(reinterpret_cast<const char*>(wire.data()), wire.size());
    return response;
  };
  node.start();
  client.beat(node);
  REQUIRE(client.create("x").status == 202);
  CHECK(client.wait("x").at("complete") == true);
}

TEST_CASE("a frame that decodes to more than declared smuggles nothing in") {
  FakeNode liar("liar");
  with_good_member(liar);
  // 512 declared bytes, then a tar header for a file outside, which a naive concatenation would put
  // into the stream.
  std::vector<std::byte> content(512, std::byte{'x'});
  const auto evil = archive::encode_tar_header({"evil", 0, 0});
  content.insert(content.end(), evil.begin(), evil.end());
  liar.add_member(member_saying(content, 512));
  check_lie(liar, "frame 1 of 1");
}

TEST_CASE("a frame that decodes to less than declared makes nothing unreadable") {
  FakeNode liar("liar");
  with_good_member(liar);
  liar.add_member(member_saying(std::vector<std::byte>(512, std::byte{'x'}), 1024));
  check_lie(liar, "frame 1 of 1");
}

TEST_CASE("a second frame behind the declared one is refused") {
  FakeNode liar("liar");
  with_good_member(liar);
  const std::vector<std::byte> content(512, std::byte{'x'});
  auto member = member_saying(content, 512);
  const auto more = frame_of(archive::encode_tar_header({"evil", 0, 0}));
  member.compressed.insert(member.compressed.end(), more.begin(), more.end());
  member.frames[0].compressed_bytes = member.compressed.size();
  liar.add_member(member);
  check_lie(liar, "frame 1 of 1");
}

TEST_CASE("a node's name that leaves the archive is refused at the door") {
  HubFixture hub;
  auto client = hub.client();
  FakeNode liar("../../x");
  with_good_member(liar);
  liar.start();
  CHECK(client.beat(liar).status == 404);  // the path is another one
  for (const char* name : {"..%2F..%2Fx", "%2e%2e", "a%2Fb", "a%00b", "%5C..%5Cx"}) {
    INFO(name);
    const auto answer = client.call("POST", fmt::format("/api/v1/nodes/{}/heartbeat", name),
                                    parse_json(liar.heartbeat(), "heartbeat").value());
    CHECK((answer.status == 400 || answer.status == 404));
  }
  CHECK(client.get("/api/v1/nodes").json.at("nodes").empty());
}

TEST_CASE("a huge zstd window is refused") {
  FakeNode liar("liar");
  with_good_member(liar);
  const std::vector<std::byte> content(3 << 20, std::byte{'x'});
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::vector<std::byte> out(ZSTD_compressBound(content.size()));
  ZSTD_inBuffer in{content.data(), content.size(), 0};
  ZSTD_outBuffer target{out.data(), out.size(), 0};
  while (in.pos < in.size) ZSTD_compressStream2(context, &target, &in, ZSTD_e_continue);
  while (ZSTD_compressStream2(context, &target, &in, ZSTD_e_end) != 0) {
  }
  ZSTD_freeCCtx(context);
  out.resize(target.pos);
  archive::MemberContent member;
  member.compressed = out;
  member.size = content.size();
  member.sha256 = sha256_hex(content);
  member.frames.push_back({out.size(), content.size(), 0, 0, 0, {}});
  liar.add_member(member);
  check_lie(liar, "frame 1 of 1");
}

TEST_CASE("an endless body is cut off") {
  std::atomic<uint64_t> sent{0};
  FakeNode liar("liar");
  with_good_member(liar);
  liar.add_wire(std::vector<std::byte>(10), 1000);
  liar.hook = [&](uint32_t index) -> std::optional<http::Response> {
    if (index != 1) return std::nullopt;
    http::Response endless;
    endless.stream = [&](const http::BodyWriter& write) -> Result<> {
      const std::vector<std::byte> block(1 << 20);
      for (;;) {
        TRY(write(block));
        sent += block.size();
      }
    };
    return endless;
  };
  check_lie(liar, "larger than");
  CHECK(sent < (200ULL << 20));
}

TEST_CASE("bodies that are no member are refused") {
  const auto content = std::vector<std::byte>(100, std::byte{'x'});
  const auto frame = frame_of(content);
  const std::string frames = fmt::format("[[{},100,0,0,0,\"\"]]", frame.size());
  const std::string hash = sha256_hex(content);
  const std::vector<std::vector<std::byte>> wires = {
      {},
      std::vector<std::byte>(5, std::byte{'L'}),
      with_header("{not json", frame),
      with_header("[]", frame),
      with_header(
          fmt::format(R"({{"size":100,"sha256":"{}","packets":0,"frames":{}}})", hash, "[[1]]"),
          frame),
      with_header(
          fmt::format(R"({{"size":-1,"sha256":"{}","packets":0,"frames":{}}})", hash, frames),
          frame),
      with_header(
          fmt::format(R"({{"size":100,"sha256":"../../x","packets":0,"frames":{}}})", frames),
          frame),
      with_header(fmt::format(R"({{"size":99999999999,"sha256":"{}","packets":0,"frames":{}}})",
                              hash, frames),
                  frame),
      with_header(std::string(100'000, '['), frame),
  };
  for (size_t i = 0; i < wires.size(); ++i) {
    INFO(i);
    FakeNode liar("liar");
    with_good_member(liar);
    liar.add_wire(wires[i], 1000);
    check_lie(liar, "damaged and are left out");
  }
}

TEST_CASE("a wrong Content-Length and a body that breaks off end in a named member") {
  for (const bool too_long : {false, true}) {
    FakeNode liar("liar");
    with_good_member(liar);
    liar.add_wire(std::vector<std::byte>(10), 1000);
    liar.hook = [&](uint32_t index) -> std::optional<http::Response> {
      if (index != 1) return std::nullopt;
      http::Response wrong;
      wrong.content_length = too_long ? 100'000 : 5;
      wrong.stream = [too_long](const http::BodyWriter& write) {
        return write(std::vector<std::byte>(too_long ? 10 : 5));
      };
      return wrong;
    };
    check_lie(liar, too_long ? "not transferred" : "damaged");
  }
}

TEST_CASE("a freeze that cannot be used fails its node only") {
  const std::vector<std::function<void(Json&)>> changes = {
      [](Json& freeze) { freeze = "nonsense"; },
      [](Json& freeze) { freeze["id"] = "another"; },
      [](Json& freeze) { freeze.erase("complete"); },
      [](Json& freeze) { freeze["members"] = 7; },
      [](Json& freeze) { freeze["members"].push_back(freeze["members"][0]); },
      [](Json& freeze) { freeze["members"][0]["index"] = -1; },
      [](Json& freeze) { freeze["members"][0]["content_bytes"] = 1ULL << 60; },
      [](Json& freeze) { freeze["clock"][0]["offset_ns"] = INT64_MAX; },
      [](Json& freeze) { freeze["clock"][0]["error_ns"] = -5; },
      [](Json& freeze) { freeze["interfaces"][0]["name"] = std::string(100'000, 'x'); },
      [](Json& freeze) { freeze["gaps"] = Json::array({5}); },
      [](Json& freeze) { freeze["oldest"] = "yesterday"; },
      [](Json& freeze) { freeze["from"] = freeze["to"]; },
      [](Json& freeze) { freeze.erase("content_bytes"); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    INFO(i);
    FakeNode liar("liar");
    with_good_member(liar);
    liar.change_freeze = changes[i];
    check_lie(liar, "freeze cannot be used");
  }
}

TEST_CASE("a huge list of members fails its node only") {
  FakeNode liar("liar");
  with_good_member(liar);
  const auto announce = [](Json& freeze, size_t members, uint64_t content_bytes) {
    Json list = Json::array();
    for (size_t i = 0; i < members; ++i)
      list.push_back({{"index", i}, {"packets", 1}, {"content_bytes", content_bytes}});
    freeze["members"] = std::move(list);
  };
  std::string reason;
  SECTION("of nothing") {
    liar.change_freeze = [&](Json& freeze) { announce(freeze, 100'000, 10); };
    reason = "it lists 100000 members for 1000000 bytes";
  }
  SECTION("beyond its own estimate") {
    liar.change_freeze = [&](Json& freeze) { announce(freeze, 1000, 8 << 20); };
    reason = "its 1000 members have 8388608000 bytes of content, it estimates";
  }
  SECTION("beyond its own storage") {
    liar.quota_bytes = 10ULL << 30;
    liar.change_freeze = [&](Json& freeze) {
      announce(freeze, 10'000, 8 << 20);
      freeze["content_bytes"] = 10'000ULL * (8 << 20);
      freeze["compressed_bytes"] = 1000;
    };
    reason = "it announces 78.1 GiB, but its storage holds 10.0 GiB";
  }
  // To make the list takes the fake node seconds where every access is checked.
  check_lie(liar, reason, 60'000'000'000);
  CHECK(eventually([&] { return liar.freezes() == 0; }));
}

TEST_CASE("a freeze that is gone by the time of the transfer fails its node") {
  FakeNode liar("liar");
  with_good_member(liar);
  liar.hook = [](uint32_t) {
    return http::Response::problem({ErrorKind::not_found, "no such freeze"});
  };
  check_lie(liar, "no longer has the frozen window");
}

TEST_CASE("lists that would fill the manifest are refused") {
  FakeNode liar("liar");
  with_good_member(liar);
  constexpr size_t kFrames = 1000;
  for (size_t i = 0; i < 13; ++i) {
    packet::Buffer head, interface, whole;
    packet::append_section_header(head, "liar " + std::to_string(i));
    packet::append_interface(interface, {"eth0", "node liar", 1, 0, "", ""});
    archive::MemberContent member;
    for (size_t k = 0; k < kFrames; ++k) {
      const packet::Buffer& content = k == 0 ? head : interface;
      const auto frame = frame_of(content);
      member.compressed.insert(member.compressed.end(), frame.begin(), frame.end());
      member.frames.push_back({frame.size(), content.size(), 0, 0, 0, std::string(3000, 'a')});
      whole.insert(whole.end(), content.begin(), content.end());
    }
    member.size = whole.size();
    member.sha256 = sha256_hex(whole);
    const auto wire = wire_of(member);
    REQUIRE(archive::decode_member(wire));
    liar.add_wire(wire, member.size);
  }
  HubFixture hub;
  auto client = hub.client();
  liar.start();
  client.beat(liar);
  REQUIRE(client.create("x").status == 202);
  const Json done = client.wait("x");
  CHECK(done.at("state") == "completed");
  CHECK(done.at("complete") == false);
  CHECK(done.at("nodes")[0].at("reason").get<std::string>().find(
            "its lists of frames are too long for the manifest") != std::string::npos);
  CHECK(archive::verify_archive(hub.archive("x")));
}
