#include <catch2/catch.hpp>
#include <random>

#include "lookback/packet/pcapng.hpp"
#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

std::string be_or_le64(bool big_endian, uint64_t value) {
  BlockWriter writer(big_endian);
  writer.u64(value);
  const auto bytes = writer.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string be_or_le32(bool big_endian, uint32_t value) {
  BlockWriter writer(big_endian);
  writer.u32(value);
  const auto bytes = writer.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Every kind of block that the reader knows, and some that it does not.
BlockWriter every_block(bool big_endian) {
  BlockWriter file(big_endian);
  file.section();
  file.begin(kPcapngInterface).u16(1).u16(0).u32(96);
  file.option(2, "eth0").option(9, "\x09").option(1, "ignored").u32(0).end();
  file.begin(kPcapngInterface).u16(113).u16(0).u32(0);
  file.option(14, be_or_le64(big_endian, 1000)).end();  // microseconds, an hour late, no end marker
  file.begin(kPcapngNameResolution).u32(0).end();
  file.begin(kPcapngEnhancedPacket).u32(0).u32(0x17).u32(0x98).u32(5).u32(60).raw("hello");
  file.option(1, "first").option(1, "second").option(kEpbFlags, be_or_le32(big_endian, 2 | 3 << 2));
  file.option(kEpbDropCount, be_or_le64(big_endian, 9)).u32(0).end();
  file.begin(kPcapngEnhancedPacket).u32(1).u32(0).u32(5'000'001).u32(4).u32(4).raw("four").end();
  file.begin(kPcapngSimplePacket).u32(3).raw("abc").end();
  file.begin(2).u16(1).u16(0xffff).u32(0).u32(2'000'000).u32(3).u32(3).raw("old").end();
  file.begin(2).u16(1).u16(4).u32(0).u32(2'000'000).u32(3).u32(3).raw("old");
  file.option(kEpbFlags, be_or_le32(big_endian, 1)).u32(0).end();
  file.begin(0x80000001).raw("an unknown block").end();
  return file;
}

}  // namespace

TEST_CASE("every block, in both byte orders") {
  for (const bool big_endian : {false, true}) {
    CAPTURE(big_endian);
    const BlockWriter file = every_block(big_endian);
    const Outcome outcome = read_all(file.bytes(), 5);
    CHECK(outcome.error.empty());
    REQUIRE(outcome.interfaces.size() == 2);
    CHECK(outcome.interfaces[0].name == "eth0");
    CHECK(outcome.interfaces[0].snaplen == 96);
    CHECK(outcome.interfaces[1].link_type == 113);
    REQUIRE(outcome.packets.size() == 5);
    const Read& full = outcome.packets[0];
    CHECK(full.view.time_ns == (int64_t{0x17} << 32) + 0x98);
    CHECK(full.data == "hello");
    CHECK(full.view.original_length == 60);
    CHECK(full.comment == "first");
    CHECK(full.drop_count == 9);
    CHECK(full.view.direction == Direction::outbound);
    CHECK(full.view.reception == Reception::broadcast);
    CHECK(outcome.packets[1].view.time_ns == 1005'000'001'000);
    CHECK(outcome.packets[1].view.interface == 1);
    CHECK(outcome.packets[2].data == "abc");
    CHECK(outcome.packets[2].view.time_ns == 0);
    CHECK(outcome.packets[3].view.time_ns == 1002'000'000'000);
    CHECK(outcome.packets[3].drop_count == 0);
    CHECK(outcome.packets[4].drop_count == 4);
    CHECK(outcome.packets[4].view.direction == Direction::inbound);
  }
}

TEST_CASE("time resolutions of both bases") {
  struct Row {
    uint8_t resolution;
    uint64_t ticks;
    int64_t offset;
    int64_t ns;
  };
  const Row rows[] = {{0, 7, 0, 7'000'000'000},
                      {3, 1500, 0, 1'500'000'000},
                      {6, 1, 0, 1000},
                      {9, 123, 0, 123},
                      {12, 1'999'999, 0, 1999},
                      {127, UINT64_MAX, 0, 0},
                      {0x80, 3, 0, 3'000'000'000},
                      {0x80 | 10, 1536, 0, 1'500'000'000},
                      {0x80 | 32, 3ULL << 31, 0, 1'500'000'000},
                      {0xff, UINT64_MAX, 0, 0},
                      {6, 5, -3, -2'999'995'000},
                      {0, UINT64_MAX, 0, INT64_MAX},
                      {6, 0, INT64_MIN, INT64_MIN}};
  for (const Row& row : rows) {
    CAPTURE(int{row.resolution}, row.ticks);
    BlockWriter file(false);
    file.section().begin(kPcapngInterface).u16(1).u16(0).u32(0);
    file.option(9, std::string(1, static_cast<char>(row.resolution)));
    file.option(14, be_or_le64(false, static_cast<uint64_t>(row.offset))).end();
    file.begin(kPcapngEnhancedPacket).u32(0).u32(static_cast<uint32_t>(row.ticks >> 32));
    file.u32(static_cast<uint32_t>(row.ticks)).u32(0).u32(0).end();
    const Outcome outcome = read_all(file.bytes());
    REQUIRE(outcome.packets.size() == 1);
    CHECK(outcome.packets[0].view.time_ns == row.ns);
  }
}

TEST_CASE("sections are flattened, the same interface is kept once") {
  Buffer file;
  const PcapngInterface a{"eth0", "node a", 1, 0, "", ""}, b{"eth0", "node b", 1, 0, "", ""};
  const auto section = [&](std::initializer_list<PcapngInterface> interfaces) {
    append_section_header(file, "t");
    for (const PcapngInterface& interface : interfaces) append_interface(file, interface);
    for (uint32_t i = 0; i < interfaces.size(); ++i) {
      PacketView packet;
      packet.interface = i;
      append_packet(file, packet);
    }
  };
  section({a});
  section({b, a});
  section({a, a, b});  // two that look the same are two
  section({a, a});
  const Outcome outcome = read_all(file);
  CHECK(outcome.error.empty());
  REQUIRE(outcome.interfaces == std::vector<PcapngInterface>{a, b, a});
  std::vector<uint32_t> indexes;
  for (const Read& read : outcome.packets) indexes.push_back(read.view.interface);
  CHECK(indexes == std::vector<uint32_t>{0, 1, 0, 0, 2, 1, 0, 2});
}

TEST_CASE("sections of different byte order follow each other") {
  const BlockWriter little = every_block(false), big = every_block(true);
  std::vector<std::byte> file(little.bytes().begin(), little.bytes().end());
  file.insert(file.end(), big.bytes().begin(), big.bytes().end());
  const Outcome outcome = read_all(file);
  CHECK(outcome.error.empty());
  CHECK(outcome.packets.size() == 10);
  CHECK(outcome.interfaces.size() == 2);
}

TEST_CASE("classic pcap in all its dialects") {
  struct Row {
    uint32_t magic;
    int64_t tick_ns;
    bool long_records;
  };
  for (const Row& row :
       {Row{0xa1b2c3d4, 1000, false}, Row{0xa1b23c4d, 1, false}, Row{0xa1b2cd34, 1000, true}}) {
    for (const bool big_endian : {false, true}) {
      CAPTURE(row.magic, big_endian);
      BlockWriter file(big_endian);
      // The link type's upper bits say "frame check sequence of 2 words".
      file.u32(row.magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(0x24000000 | 1);
      file.u32(4000000000u).u32(999).u32(5).u32(60);
      if (row.long_records) file.u64(0);
      file.unpadded("hello").u32(1).u32(2).u32(0).u32(0);
      if (row.long_records) file.u64(0);
      const Outcome outcome = read_all(file.bytes(), 3);
      CHECK(outcome.error.empty());
      REQUIRE(outcome.interfaces.size() == 1);
      CHECK(outcome.interfaces[0].link_type == 1);
      CHECK(outcome.interfaces[0].snaplen == 65535);
      REQUIRE(outcome.packets.size() == 2);
      CHECK(outcome.packets[0].view.time_ns == 4000000000'000000000 + 999 * row.tick_ns);
      CHECK(outcome.packets[0].data == "hello");
      CHECK(outcome.packets[0].view.original_length == 60);
      CHECK(outcome.packets[1].data.empty());
    }
  }
}

TEST_CASE("very old pcap files have their lengths the other way round") {
  for (const uint16_t minor : {2, 3}) {
    BlockWriter file(false);
    file.u32(0xa1b2c3d4).u16(2).u16(minor).u32(0).u32(0).u32(65535).u32(1);
    file.u32(1).u32(0).u32(60).u32(4).unpadded("four");
    const Outcome outcome = read_all(file.bytes());
    CHECK(outcome.error.empty());
    REQUIRE(outcome.packets.size() == 1);
    CHECK(outcome.packets[0].data == "four");
    CHECK(outcome.packets[0].view.original_length == 60);
  }
}

TEST_CASE("what is not a capture is refused with a reason") {
  const auto open_error = [](std::string_view bytes) {
    const auto reader =
        CaptureReader::open(source_of(std::as_bytes(std::span(bytes.data(), bytes.size()))));
    REQUIRE_FALSE(reader);
    CHECK(reader.error().kind == ErrorKind::invalid);
    return reader.error().message;
  };
  CHECK(open_error("").find("0 bytes") != std::string::npos);
  CHECK(open_error("GIF89a").find("47494638") != std::string::npos);
  CHECK(open_error("\x1f\x8b\x08\x08 and so on").find("gzip -d") != std::string::npos);
  CHECK(open_error("\x28\xb5\x2f\xfd and so on").find("zstd -d") != std::string::npos);
  const auto failing = CaptureReader::open([](std::span<std::byte>) -> Result<size_t> {
    return fail(ErrorKind::failed, "the disk is gone");
  });
  REQUIRE_FALSE(failing);
  CHECK(failing.error().message == "the disk is gone");
}

TEST_CASE("damaged blocks are named with their offset") {
  const auto error_after_header = [](auto&& write) {
    BlockWriter file(false);
    file.section().interface(1, 0);
    write(file);
    return read_all(file.bytes()).error;
  };
  CHECK(error_after_header([](auto& f) { f.begin(6).u32(1).u32(0).u32(0).u32(0).u32(0).end(); }) ==
        "a packet of interface 1, which was not described, at offset 48 of the pcapng file");
  CHECK(error_after_header([](auto& f) {
          f.begin(6).u32(0).u32(0).u32(0).u32(9).u32(0).u32(0).end();
        }).starts_with("a packet longer than its block at offset 48"));
  CHECK(error_after_header([](auto& f) {
          f.begin(6).u32(0).end();
        }).starts_with("a packet block that is too short"));
  CHECK(error_after_header([](auto& f) {
          f.begin(6).u32(0).u32(0).u32(0).u32(0).u32(0).u16(1).u16(40).end();
        }).starts_with("a packet option that leaves its block"));
  CHECK(error_after_header([](auto& f) {
          f.u32(6).u32(0xfffffff0).u32(0);
        }).starts_with("a block of 4294967280 bytes"));
  CHECK(error_after_header([](auto& f) {
          f.u32(6).u32(12).u32(16);
        }).starts_with("a block whose two lengths differ"));
  CHECK(error_after_header([](auto& f) {
          f.u32(6).u32(13).u64(13);
        }).starts_with("a block of 13 bytes"));
  CHECK(error_after_header([](auto& f) {
          f.u32(6).u32(0).u32(0);
        }).starts_with("a block of 0 bytes"));
  BlockWriter big(false);
  big.u32(0xa1b2c3d4)
      .u16(2)
      .u16(4)
      .u32(0)
      .u32(0)
      .u32(0)
      .u32(1)
      .u32(0)
      .u32(0)
      .u32(0x7fffffff)
      .u32(0);
  CHECK(read_all(big.bytes()).error ==
        "a packet of 2147483647 bytes at offset 24 of the pcap file");
}

TEST_CASE("a file cut anywhere gives its whole packets, then an error or its end") {
  Buffer pcap;
  append_pcap_header(pcap, 1, 0);
  PacketView packet;
  const Bytes data = "0123456789";
  packet.data = view(data);
  for (int i = 0; i < 5; ++i) append_pcap_record(pcap, packet);
  const BlockWriter blocks = every_block(true);
  const Buffer pcapng(blocks.bytes().begin(), blocks.bytes().end());
  for (const Buffer* file : std::initializer_list<const Buffer*>{&pcap, &pcapng}) {
    size_t clean_ends = 0, packets_before = 0;
    for (size_t length = 0; length <= file->size(); ++length) {
      const Buffer cut(file->begin(), file->begin() + static_cast<ptrdiff_t>(length));
      const Outcome outcome = read_all(cut);
      REQUIRE(outcome.packets.size() >= packets_before);
      packets_before = outcome.packets.size();
      clean_ends += outcome.error.empty();
    }
    CHECK(packets_before == 5);
    // Header and five records; section, two interfaces, six packet-like and two other blocks.
    CHECK(clean_ends == (file == &pcap ? 6u : 10u));
  }
}

TEST_CASE("flipped bits never lead outside the file") {
  std::mt19937 random(3);
  Buffer pcap;
  append_pcap_header(pcap, 1, 0);
  PacketView packet;
  const Bytes data = "0123456789";
  packet.data = view(data);
  for (int i = 0; i < 5; ++i) append_pcap_record(pcap, packet);
  for (int round = 0; round < 4000; ++round) {
    const BlockWriter blocks = every_block(round % 2 != 0);
    Buffer file = round % 3 == 0 ? pcap : Buffer(blocks.bytes().begin(), blocks.bytes().end());
    for (unsigned i = 0; i < 1 + random() % 4; ++i)
      file[random() % file.size()] ^= static_cast<std::byte>(1u << random() % 8);
    const Outcome outcome = read_all(file, 64);
    size_t bytes = 0;
    for (const Read& read : outcome.packets) bytes += read.data.size();
    REQUIRE(bytes <= file.size());
    for (const Read& read : outcome.packets)
      REQUIRE(read.view.interface < outcome.interfaces.size());
  }
}
