#include "lookback/packet/section_walker.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

struct Section {
  Buffer bytes;
  std::vector<size_t> block_ends;
  std::vector<Bytes> data;
};

Section make_section() {
  Section section;
  const auto mark = [&] { section.block_ends.push_back(section.bytes.size()); };
  append_section_header(section.bytes, "t");
  mark();
  append_interface(section.bytes, {"eth0", "node a", 1, 0, "", ""});
  mark();
  append_interface(section.bytes, {"eth1", "node a", 101, 0, "", ""});
  mark();
  const std::vector<std::string> comments = {"text"};
  for (uint32_t i = 0; i < 12; ++i) {
    section.data.push_back(Bytes(i, static_cast<char>('a' + i)));
    PacketView packet;
    packet.time_ns = 1'700'000'000'000'000'000 + i;
    packet.data = view(section.data.back());
    packet.original_length = i + 100;
    packet.interface = i % 2;
    packet.direction = static_cast<Direction>(i % 3);
    append_packet(section.bytes, packet,
                  i % 4 == 3 ? std::span(comments) : std::span<const std::string>());
    mark();
    if (i == 5) {
      append_statistics(section.bytes, {});
      mark();
    }
  }
  return section;
}

/// Walks and returns the packets' blocks; checks what must hold for any input.
std::vector<Bytes> walk(SectionWalker& walker, std::span<const std::byte> bytes,
                        size_t described_before = 0) {
  std::vector<Bytes> blocks;
  RawPacket packet;
  const std::byte* last_end = bytes.data();
  while (walker.next(packet)) {
    REQUIRE(packet.block.data() >= last_end);
    last_end = packet.block.data() + packet.block.size();
    REQUIRE(last_end <= bytes.data() + bytes.size());
    REQUIRE(packet.view.data.data() >= packet.block.data());
    REQUIRE(packet.view.data.data() + packet.view.data.size() <= last_end);
    REQUIRE(packet.view.interface < described_before + walker.interfaces().size());
    blocks.emplace_back(reinterpret_cast<const char*>(packet.block.data()), packet.block.size());
  }
  REQUIRE_FALSE(walker.next(packet));
  return blocks;
}

}  // namespace

TEST_CASE("a section is walked") {
  const Section section = make_section();
  SectionWalker walker(section.bytes);
  RawPacket packet;
  Buffer copied;
  for (uint32_t i = 0; i < 12; ++i) {
    CAPTURE(i);
    REQUIRE(walker.next(packet));
    CHECK(packet.view.time_ns == 1'700'000'000'000'000'000 + i);
    CHECK(Bytes(reinterpret_cast<const char*>(packet.view.data.data()), packet.view.data.size()) ==
          section.data[i]);
    CHECK(packet.view.original_length == i + 100);
    CHECK(packet.view.interface == i % 2);
    CHECK(packet.view.direction == static_cast<Direction>(i % 3));
    copied.insert(copied.end(), packet.block.begin(), packet.block.end());
  }
  CHECK_FALSE(walker.next(packet));
  CHECK_FALSE(walker.error());
  CHECK(walker.offset() == section.bytes.size());
  REQUIRE(walker.interfaces().size() == 2);
  CHECK(walker.interfaces()[1].name == "eth1");
  CHECK(walker.interfaces()[1].link_type == 101);
  // Blocks copied behind another header are a section again.
  Buffer other;
  append_section_header(other, "copy");
  append_interface(other, {});
  append_interface(other, {});
  other.insert(other.end(), copied.begin(), copied.end());
  CHECK(read_all(other).packets.size() == 12);
}

TEST_CASE("a section cut at any block boundary is walked in two parts") {
  const Section section = make_section();
  for (const size_t cut : section.block_ends) {
    CAPTURE(cut);
    const Buffer front(section.bytes.begin(), section.bytes.begin() + static_cast<ptrdiff_t>(cut));
    const Buffer back(section.bytes.begin() + static_cast<ptrdiff_t>(cut), section.bytes.end());
    SectionWalker first(front);
    const size_t packets = walk(first, front).size();
    CHECK_FALSE(first.error());
    SectionWalker second(back, first.interfaces().size());
    CHECK(packets + walk(second, back, first.interfaces().size()).size() == 12);
    CHECK_FALSE(second.error());
  }
}

TEST_CASE("a section cut anywhere else ends in an error") {
  const Section section = make_section();
  for (size_t length = 0; length < section.bytes.size(); ++length) {
    CAPTURE(length);
    const Buffer cut(section.bytes.begin(), section.bytes.begin() + static_cast<ptrdiff_t>(length));
    SectionWalker walker(cut);
    (void)walk(walker, cut);
    const bool boundary = std::find(section.block_ends.begin(), section.block_ends.end(), length) !=
                          section.block_ends.end();
    CHECK(walker.error().has_value() != boundary);
    if (walker.error()) CHECK(walker.error()->kind == ErrorKind::corrupt);
  }
}

TEST_CASE("flipped bits are damage or different content, never a way out") {
  const Section section = make_section();
  std::mt19937 random(4);
  for (int round = 0; round < 10000; ++round) {
    Buffer bytes = section.bytes;
    for (unsigned i = 0; i < 1 + random() % 3; ++i)
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
    SectionWalker walker(bytes);
    (void)walk(walker, bytes);
  }
}

TEST_CASE("what our writer does not write is damage") {
  const auto error_of = [](auto&& write) {
    BlockWriter file(false);
    write(file);
    SectionWalker walker(file.bytes());
    RawPacket packet;
    while (walker.next(packet)) {
    }
    return walker.error() ? walker.error()->message : std::string();
  };
  CHECK(error_of([](auto& f) { f.interface(1, 0); }).starts_with("no section header at offset 0"));
  CHECK(error_of([](auto& f) {
          f.section().interface(1, 0);
        }).starts_with("an interface whose times"));
  CHECK(error_of([](auto& f) { f.section().section(); }).starts_with("a second section header"));
  CHECK(error_of([](auto& f) {
          f.section().begin(6).u32(0).u32(0).u32(0).u32(0).u32(0).end();
        }).starts_with("a packet of an interface that was not described"));
  CHECK(error_of([](auto& f) {
          f.section().begin(1).u16(1).u16(0).u32(0).option(9, "\x09").end();
          f.begin(6).u32(0).u32(0x80000000).u32(0).u32(0).u32(0).end();
        }).starts_with("a time beyond"));
  CHECK(error_of([](auto& f) {
          f.section().begin(3).u32(0).end();
        }).starts_with("a packet in a kind of block"));
  CHECK(error_of([](auto& f) { f.section().begin(kPcapngNameResolution).u32(0).end(); }).empty());
  BlockWriter big(true);
  big.section();
  SectionWalker walker(big.bytes());
  RawPacket packet;
  CHECK_FALSE(walker.next(packet));
  CHECK(walker.error());
}
