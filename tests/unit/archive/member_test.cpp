#include <catch2/catch.hpp>

#include "lookback/archive/member.hpp"
#include "lookback/base/fd.hpp"
#include "unit/archive/support/samples.hpp"

using namespace lookback;
using namespace lookback::archive;
using Catch::Contains;
using lookback::test::sample_content;
using lookback::test::sample_member;

namespace {

using Bytes = std::vector<std::byte>;

Bytes wire_of(const MemberContent& member) {
  Bytes wire = encode_member_header(member);
  wire.insert(wire.end(), member.compressed.begin(), member.compressed.end());
  return wire;
}

Bytes wire_with_header(std::string_view header, std::span<const std::byte> frames = {}) {
  Bytes wire;
  for (const char c : {'L', 'B', 'M', '1'}) wire.push_back(static_cast<std::byte>(c));
  for (size_t i = 0; i < 4; ++i) wire.push_back(static_cast<std::byte>(header.size() >> (8 * i)));
  wire.insert(wire.end(), as_bytes(header).begin(), as_bytes(header).end());
  wire.insert(wire.end(), frames.begin(), frames.end());
  return wire;
}

std::string error_of(const Result<>& result) {
  if (result) return "no error";
  REQUIRE(result.error().kind == ErrorKind::corrupt);
  return result.error().message;
}

}  // namespace

TEST_CASE("a member travels and is checked") {
  const Bytes content = sample_content(250'000);
  const MemberContent member = sample_member(content, 64 << 10);
  MemberChecker checker;
  REQUIRE(checker.check(member));
  const auto arrived = decode_member(wire_of(member)).value();
  REQUIRE(arrived.frames == member.frames);
  REQUIRE(arrived.compressed == member.compressed);
  REQUIRE(arrived.sha256 == member.sha256);
  REQUIRE(arrived.size == member.size);
  REQUIRE(arrived.packets == member.packets);
  REQUIRE(checker.check(arrived));
  FrameDecoder decoder;
  REQUIRE(check_member(arrived, decoder));
  REQUIRE(check_member(arrived, decoder));

  const MemberContent empty = sample_member({}, 1);
  REQUIRE(checker.check(decode_member(wire_of(empty)).value()));
}

TEST_CASE("a lying member is found out") {
  const Bytes content = sample_content(10'000);
  const MemberContent honest = sample_member(content, 4096);
  MemberChecker checker;
  const auto refused = [&](auto change) {
    MemberContent member = honest;
    change(member);
    const std::string error = error_of(checker.check(member));
    REQUIRE(checker.check(honest));  // and the checker goes on
    return error;
  };
  REQUIRE_THAT(refused([](auto& m) { m.sha256[5] ^= 1; }), Contains("SHA-256"));
  REQUIRE_THAT(refused([](auto& m) { m.sha256 = "ABC"; }), Contains("SHA-256"));
  REQUIRE_THAT(refused([](auto& m) { m.size += 1; }), Contains("declare"));
  REQUIRE_THAT(refused([](auto& m) { m.packets += 1; }), Contains("packets"));
  REQUIRE_THAT(refused([](auto& m) { m.compressed.push_back({}); }), Contains("are there"));
  REQUIRE_THAT(refused([](auto& m) { m.compressed.pop_back(); }), Contains("are there"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[1].first_ns = m.frames[1].last_ns + 1; }), Contains("before"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].summary = "a\nb"; }), Contains("summary"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].packets = m.packets = ~0ULL; }), Contains("packets"));
  REQUIRE_THAT(refused([](auto& m) { std::swap(m.frames[0], m.frames[2]); }), Contains("frame 1 of 3"));
  // Less is declared than decodes, and more: what a smuggled tar header would need.
  REQUIRE_THAT(refused([](auto& m) { m.frames[2].content_bytes -= 512, m.size -= 512; }), Contains("frame 3 of 3"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[2].content_bytes += 512, m.size += 512; }), Contains("frame 3 of 3"));
  // The boundary between two frames moved.
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].compressed_bytes += 1, m.frames[1].compressed_bytes -= 1; }), Contains("frame 1 of 3"));
  // Two frames sold as one.
  REQUIRE_THAT(refused([](auto& m) {
                 m.frames[0].compressed_bytes += m.frames[1].compressed_bytes;
                 m.frames[0].content_bytes += m.frames[1].content_bytes;
                 m.frames[0].packets += m.frames[1].packets;
                 m.frames[0].last_ns = m.frames[1].last_ns;
                 m.frames.erase(m.frames.begin() + 1);
               }),
               Contains("frame 1 of 2"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].content_bytes = 0; }), Contains("empty"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].content_bytes = kMaxFrameContent + 1; }), Contains("allowed"));
  REQUIRE_THAT(refused([](auto& m) { m.frames[0].compressed_bytes = 1ULL << 63; }), Contains("bytes for"));
  REQUIRE_THAT(refused([](auto& m) { m.frames.resize(kMaxWireFrames + 1); }), Contains("frames"));
}

TEST_CASE("every truncation and every flipped byte of a member is survived") {
  const Bytes content = sample_content(3000);
  const MemberContent member = sample_member(content, 1000);
  const Bytes wire = wire_of(member);
  MemberChecker checker;
  for (size_t length = 0; length < wire.size(); ++length)
    REQUIRE_FALSE(decode_member(Bytes(wire.begin(), wire.begin() + static_cast<ptrdiff_t>(length))));
  for (size_t at = 0; at < wire.size(); ++at) {
    Bytes damaged = wire;
    damaged[at] ^= std::byte{0x04};
    const auto decoded = decode_member(std::move(damaged));
    // Bounds, packet counts and summaries are hints of the node's own; the content is what is proven.
    if (decoded && checker.check(*decoded)) REQUIRE(decoded->sha256 == member.sha256);
  }
}

TEST_CASE("member headers from hell") {
  const auto error = [](Bytes wire) {
    const auto member = decode_member(std::move(wire));
    return member ? std::string("accepted") : member.error().message;
  };
  const std::string zeros(64, '0');
  REQUIRE(error(wire_with_header(R"({"size":0,"sha256":")" + zeros + R"(","packets":0,"frames":[],"later":{}})")) == "accepted");
  REQUIRE_THAT(error({}), Contains("LBM1"));
  REQUIRE_THAT(error(wire_with_header("{")), Contains("JSON"));
  REQUIRE_THAT(error(wire_with_header("[]")), Contains("size"));
  REQUIRE_THAT(error(wire_with_header(std::string(100'000, '['))), Contains("deep"));
  REQUIRE_THAT(error(wire_with_header(std::string(kMaxMemberHeader + 1, ' '))), Contains("allowed"));
  REQUIRE_THAT(error(wire_with_header(R"({"size":0,"sha256":")" + zeros + R"(","packets":0})")), Contains("frames"));
  REQUIRE_THAT(error(wire_with_header(R"({"size":-1,"sha256":")" + zeros + R"(","packets":0,"frames":[]})")), Contains("size"));
  REQUIRE_THAT(error(wire_with_header(R"({"size":1,"sha256":")" + zeros + R"(","packets":0,"frames":[[9,1,0,0]]})")), Contains("six"));
  REQUIRE_THAT(error(wire_with_header(R"({"size":1,"sha256":")" + zeros + R"(","packets":0,"frames":[[9,1,0,18446744073709551615,0,""]]})")),
               Contains("range"));
}
