// The block format: compact records, sector tags, what a reader makes of a block that is not whole.
#include <linux/if_packet.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "store/block_codec.hpp"
#include "unit/store/support/store_fixture.hpp"

using namespace lookback;
using namespace lookback::store;
using namespace lookback::store::testing;

namespace {

BlockHeader header_for(const TestBlock& made, uint64_t epoch, uint32_t sequence) {
  BlockHeader header;
  header.kind = static_cast<uint16_t>(made.info.kind);
  header.epoch = epoch;
  header.sequence = sequence;
  header.payload_offset = made.info.first_packet;
  header.used_bytes = made.info.used_bytes;
  header.packets = made.info.packets;
  header.first_ns = made.info.first_ns;
  header.last_ns = made.info.last_ns;
  return header;
}

}  // namespace

TEST_CASE("a compact record keeps every field") {
  const auto record =
      CompactRecord::make(-5, kCompactMaxBytes, kCompactMaxBytes, kCompactMaxInterface,
                          packet::Direction::outbound, packet::Reception::promiscuous);
  CHECK(static_cast<int64_t>(record.time_ns) == -5);
  CHECK(record.captured() == kCompactMaxBytes);
  CHECK(record.original() == kCompactMaxBytes);
  CHECK(record.interface() == kCompactMaxInterface);
  CHECK(record.direction() == 2);
  CHECK(record.reception() == 4);
  CHECK(record.zero() == 0);
  const auto other =
      CompactRecord::make(7, 60, 9000, 3, packet::Direction::inbound, packet::Reception::unicast);
  CHECK(other.captured() == 60);
  CHECK(other.original() == 9000);
  CHECK(other.interface() == 3);
  CHECK(CompactRecord::make(7, 60, 5'000'000, 3, {}, {}).original() == kCompactMaxBytes);
}

TEST_CASE("a VLAN tag goes in behind the addresses") {
  TestPacket packet = marked_packet(1, 2, 60, 5);
  packet::PacketView view;
  view.data = packet.data;
  view.original_length = 1500;
  std::vector<std::byte> out(kCompactHeaderBytes + 64);
  const VlanTag tag{0x88A8, 0x2064};
  REQUIRE(append_compact(out.data(), view, &tag) == out.size());
  CompactRecord record;
  std::memcpy(&record, out.data(), sizeof record);
  CHECK(record.captured() == 64);
  CHECK(record.original() == 1504);
  const std::byte* data = out.data() + sizeof record;
  CHECK(std::memcmp(data, packet.data.data(), 12) == 0);
  CHECK(data[12] == std::byte{0x88});
  CHECK(data[13] == std::byte{0xA8});
  CHECK(data[14] == std::byte{0x20});
  CHECK(data[15] == std::byte{0x64});
  CHECK(std::memcmp(data + 16, packet.data.data() + 12, 48) == 0);
}

TEST_CASE("small flushes take one page, full blocks little more than their packets") {
  std::vector<TestPacket> few;
  for (uint16_t i = 0; i < 5; ++i) few.push_back(marked_packet(1, i, 393, i));  // 2,045 bytes
  const TestBlock small = compact_block(few, 1 << 20);
  CHECK(round_up(small.info.used_bytes, kPageBytes) == kPageBytes);

  AlignedBuffer memory(1 << 20);
  CompactBlock full(memory.span(1 << 20));
  const TestPacket packet = marked_packet(1, 1, 350, 1);
  packet::PacketView view;
  view.data = packet.data;
  view.original_length = 350;
  while (full.append(view)) {
  }
  const auto finished = full.finish();
  const double pcap = 366.0 * finished.info.packets;  // pcap: 16 bytes a packet, as here
  CHECK(round_up(finished.info.used_bytes, kPageBytes) <= 1.06 * pcap);
  CHECK(finished.block.size() >= round_up(finished.info.used_bytes, kPageBytes));
  // The table never reaches into the packets, whatever the fill.
  for (size_t bytes = 4 * kPageBytes; bytes <= (1 << 20); bytes += 3 * kPageBytes) {
    AlignedBuffer other(bytes);
    CompactBlock builder(other.span(bytes));
    while (builder.append(view)) {
      const auto info = builder.finish().info;
      REQUIRE(sizeof(BlockHeader) +
                  kTagBytes * tagged_sectors(info.first_packet, info.used_bytes) <=
              info.first_packet);
    }
  }
}

TEST_CASE("the largest packet fits, a larger one never does") {
  AlignedBuffer memory(2 << 20);
  CompactBlock builder(memory.span(2 << 20));
  CHECK(builder.fits_empty(kCompactMaxBytes - kVlanTagBytes));
  CHECK_FALSE(builder.fits_empty(kCompactMaxBytes));
  std::vector<std::byte> data(kCompactMaxBytes - kVlanTagBytes);
  packet::PacketView view;
  view.data = data;
  CHECK(builder.append(view));
  data.resize(kCompactMaxBytes);
  view.data = data;
  builder.clear();
  CHECK_FALSE(builder.append(view));
}

TEST_CASE("a block is restored byte by byte, and its bytes can be taken back") {
  const bool kernel = GENERATE(true, false);
  std::vector<TestPacket> packets;
  for (uint16_t i = 0; i < 40; ++i) packets.push_back(marked_packet(3, i, 300, 1000 + i));
  TestBlock made = kernel ? kernel_block(packets, 64 << 10) : compact_block(packets);
  const std::vector<std::byte> payload(made.block.begin() + made.info.first_packet,
                                       made.block.begin() + made.info.used_bytes);
  const auto same = [&] {
    return std::equal(payload.begin(), payload.end(), made.block.begin() + made.info.first_packet);
  };

  const uint32_t bytes = seal_block(made.block, header_for(made, 42, 7));
  CHECK(bytes == round_up(made.info.used_bytes, kPageBytes));
  CHECK_FALSE(same());
  for (uint32_t i = made.info.used_bytes; i < bytes; ++i) {
    const uint32_t in_sector = i % kSectorBytes;
    const bool tag = in_sector >= kSectorBytes - kTagBytes &&
                     i / kSectorBytes == (made.info.used_bytes - 1) / kSectorBytes;
    if (!tag) REQUIRE(made.block[i] == std::byte{0});
  }
  SECTION("taken back") {
    unseal_block(made.block);
    CHECK(same());
  }
  SECTION("read") {
    BlockHeader header;
    REQUIRE(read_header(made.block, 42, header));
    REQUIRE(checksum_matches(made.block, header));
    const auto restored = restore_block(made.block.first(bytes), header);
    CHECK_FALSE(restored.torn);
    CHECK(restored.valid_bytes == made.info.used_bytes);
    CHECK(same());
  }
  SECTION("another segment's") {
    BlockHeader header;
    CHECK_FALSE(read_header(made.block, 43, header));
  }
  SECTION("the kernel sees a block in use") {
    // struct tpacket_block_desc: version, offset_to_priv, then the block's status.
    uint32_t status;
    std::memcpy(&status,
                made.block.data() + offsetof(tpacket_block_desc, hdr) +
                    offsetof(tpacket_hdr_v1, block_status),
                4);
    CHECK((status & TP_STATUS_USER) != 0);
  }
}

TEST_CASE("the reserve of a ring leaves room for the tags of a full block") {
  for (const uint32_t bytes : {64U << 10, 1U << 20, 4U << 20, 16U << 20}) {
    const uint32_t reserve = block_reserve(bytes);
    CHECK(reserve % 8 == 0);
    CHECK(reserve > 48);  // struct tpacket_block_desc
    CHECK(sizeof(BlockHeader) + kTagBytes * tagged_sectors(reserve, bytes) <= reserve);
    CHECK(reserve < bytes / 100);
  }
}

TEST_CASE("tags are never zero and differ between blocks") {
  size_t equal = 0;
  const TagSequence one(1, 0), two(2, 0), three(1, 1);
  for (uint32_t sector = 0; sector < 100'000; ++sector) {
    REQUIRE(one.tag(sector) != 0);
    equal += one.tag(sector) == two.tag(sector);
    equal += one.tag(sector) == three.tag(sector);
  }
  CHECK(equal < 20);  // 3 in the mean
}
