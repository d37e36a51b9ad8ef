#include <catch2/catch.hpp>

#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/section_walker.hpp"
#include "lookback/packet/summary.hpp"
#include "unit/exporter/support/captures.hpp"

using namespace lookback;
using namespace lookback::exporter;
using lookback::test::udp_packet;

namespace {

const std::vector<packet::Interface> kInterfaces{{2, "eth0", packet::link_type::kEthernet, "02:00:00:00:00:01", 1500},
                                                 {3, "tun0", packet::link_type::kRaw, "", 1400}};
constexpr int64_t kTime = 1'772'366'400'000'000'000;

MemberBuilder new_builder() { return {"web-1", kInterfaces, "lookback test"}; }

std::vector<std::byte> content_of(const archive::MemberContent& member) {
  archive::FrameDecoder decoder;
  std::vector<std::byte> content(member.size);
  size_t at = 0, from = 0;
  for (const auto& frame : member.frames) {
    REQUIRE(decoder.decode(std::span(member.compressed).subspan(from, frame.compressed_bytes), std::span(content).subspan(at, frame.content_bytes)));
    at += frame.content_bytes;
    from += frame.compressed_bytes;
  }
  return content;
}

}  // namespace

TEST_CASE("packets become frames that can be read one by one") {
  MemberBuilder builder = new_builder();
  std::vector<test::Stored> packets;
  for (uint32_t i = 0; i < 3000; ++i) {
    // Not in order of time, some of the size of a super-packet.
    const int64_t time = kTime + (i % 7) * 1'000'000 + i * 1000;
    packets.push_back({udp_packet(i, i % 100 == 0 ? 60'000 : 900), time, i % 2});
    builder.add(packets.back().view());
  }
  REQUIRE(builder.packets() == packets.size());
  const uint64_t expected_bytes = builder.content_bytes();
  const archive::MemberContent member = builder.finish();
  REQUIRE(member.size == expected_bytes);
  REQUIRE(member.packets == packets.size());
  REQUIRE(member.frames.size() >= 4);
  archive::MemberChecker checker;
  REQUIRE(checker.check(member));

  const auto content = content_of(member);
  std::vector<packet::PcapngInterface> interfaces;
  size_t at = 0, number = 0;
  for (const archive::FrameEntry& frame : member.frames) {
    const auto bytes = std::span(content).subspan(at, frame.content_bytes);
    REQUIRE(frame.content_bytes <= kMemberFrameBytes);
    packet::SectionWalker walker = at == 0 ? packet::SectionWalker(bytes) : packet::SectionWalker(bytes, interfaces.size());
    packet::RawPacket raw;
    int64_t first = INT64_MAX, last = INT64_MIN;
    uint64_t count = 0;
    const auto summary = packet::Summary::parse(frame.summary).value();
    while (walker.next(raw)) {
      const test::Stored& original = packets.at(number++);
      REQUIRE(raw.view.time_ns == original.time_ns);
      REQUIRE(raw.view.interface == original.interface);
      REQUIRE(std::equal(raw.view.data.begin(), raw.view.data.end(), original.bytes.begin(), original.bytes.end()));
      first = std::min(first, raw.view.time_ns);
      last = std::max(last, raw.view.time_ns);
      ++count;
      if (original.interface == 0) {  // the raw interface's packets are Ethernet bytes, so not understood
        const auto headers = packet::decode(packet::link_type::kEthernet, raw.view.data);
        REQUIRE(summary.may_have_address(headers.ip[0].source));
      }
    }
    REQUIRE_FALSE(walker.error());
    REQUIRE(walker.offset() == bytes.size());
    REQUIRE(frame.first_ns == first);
    REQUIRE(frame.last_ns == last);
    REQUIRE(frame.packets == count);
    if (at == 0) interfaces = walker.interfaces();
    at += frame.content_bytes;
  }
  REQUIRE(number == packets.size());
  REQUIRE(interfaces.size() == 2);
  REQUIRE(interfaces[0].name == "eth0");
  REQUIRE(interfaces[0].description == "node web-1");
  REQUIRE(interfaces[1].link_type == packet::link_type::kRaw);

  // The same packets give the same bytes, from a used builder too.
  for (const auto& packet : packets) builder.add(packet.view());
  const archive::MemberContent again = builder.finish();
  REQUIRE(again.compressed == member.compressed);
  REQUIRE(again.frames == member.frames);
  REQUIRE(again.sha256 == member.sha256);
}

TEST_CASE("a member without packets, and one with odd packets") {
  MemberBuilder builder = new_builder();
  archive::MemberChecker checker;
  const auto empty = builder.finish();
  REQUIRE(empty.packets == 0);
  REQUIRE(checker.check(empty));

  const auto bytes = udp_packet(1, 100);
  const std::vector<std::byte> huge(3 << 20);
  builder.add({.time_ns = -5, .data = bytes, .original_length = 142});
  builder.add({.time_ns = kTime, .data = {}, .original_length = 60});
  builder.add({.time_ns = kTime, .data = huge, .original_length = 3 << 20, .interface = 1});
  builder.add({.time_ns = kTime + 1, .data = bytes, .original_length = 142});
  const auto member = builder.finish();
  REQUIRE(checker.check(member));
  REQUIRE(member.packets == 4);
  REQUIRE(member.frames.front().first_ns == 0);
  const auto content = content_of(member);
  packet::SectionWalker walker(content);
  packet::RawPacket raw;
  REQUIRE(walker.next(raw));
  REQUIRE(raw.view.time_ns == 0);
  REQUIRE(walker.next(raw));
  REQUIRE(raw.view.data.empty());
  REQUIRE(walker.next(raw));
  REQUIRE(raw.view.data.size() == kMaxPacketBytes);
  REQUIRE(raw.view.original_length == 3 << 20);
}

TEST_CASE("interfaces that become known as packets come are described in front of them all") {
  std::vector<test::Stored> packets;
  for (uint32_t i = 0; i < 2000; ++i) packets.push_back({udp_packet(i, 900), kTime + i, i < 1500 ? 0u : 1u});
  MemberBuilder knowing = new_builder();
  for (const auto& packet : packets) knowing.add(packet.view());
  const auto expected = knowing.finish();

  MemberBuilder learning("web-1", {}, "lookback test");
  learning.set_interfaces({kInterfaces[0]});
  for (const auto& packet : packets) {
    if (packet.interface == 1) learning.set_interfaces(kInterfaces);
    learning.add(packet.view());
  }
  REQUIRE(learning.content_bytes() == expected.size);
  const auto member = learning.finish();
  REQUIRE(member.compressed == expected.compressed);
  REQUIRE(member.frames == expected.frames);
  REQUIRE(member.sha256 == expected.sha256);

  // What was added and then forgotten leaves no trace.
  learning.add(packets[0].view());
  learning.clear();
  REQUIRE(learning.packets() == 0);
  learning.set_interfaces(kInterfaces);
  for (const auto& packet : packets) learning.add(packet.view());
  REQUIRE(learning.finish().sha256 == expected.sha256);
}

TEST_CASE("more interfaces than fit in front of the packets fill frames of their own") {
  std::vector<packet::Interface> many;
  for (uint32_t i = 0; i < 60'000; ++i)
    many.push_back({i + 1, fmt::format("interface-{}", i), packet::link_type::kEthernet, "", 1500});
  MemberBuilder builder("web-1", many, "lookback test");
  const auto bytes = udp_packet(1, 100);
  builder.add({.time_ns = kTime, .data = bytes, .original_length = 142, .interface = 59'999});
  const uint64_t expected_bytes = builder.content_bytes();
  const auto member = builder.finish();
  REQUIRE(member.size == expected_bytes);
  REQUIRE(member.frames.size() >= 3);
  archive::MemberChecker checker;
  REQUIRE(checker.check(member));
  const auto content = content_of(member);
  packet::SectionWalker walker(content);
  packet::RawPacket raw;
  REQUIRE(walker.next(raw));
  REQUIRE(walker.interfaces().at(raw.view.interface).name == "interface-59999");
  REQUIRE_FALSE(walker.next(raw));
}
