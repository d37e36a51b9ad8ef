// What a capture file says beside packets' bytes: stamps, options, processes, statistics, and in which byte order.
#include <catch2/catch.hpp>

#include "lookback/packet/section_walker.hpp"
#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

template <class Write>
Bytes ordered(bool big_endian, Write write) {
  BlockWriter writer(big_endian);
  write(writer);
  const auto bytes = writer.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
Bytes number32(bool big_endian, uint32_t value) {
  return ordered(big_endian, [&](BlockWriter& w) { w.u32(value); });
}
Bytes number64(bool big_endian, uint64_t value) {
  return ordered(big_endian, [&](BlockWriter& w) { w.u64(value); });
}

struct Kept {
  StampState state;
  RawStamp stamp;
  int64_t time_ns;
  uint32_t process, interface;
  Bytes data, options;
};
struct Contents {
  std::vector<Kept> packets;
  std::vector<PcapngInterface> interfaces;
  std::vector<PcapngProcess> processes;
  std::vector<std::optional<ReadStatistics>> statistics;
  std::vector<std::string> origins;
  LeftOut left_out;
  std::string error;
};

Bytes bytes_of(std::span<const std::byte> from) { return {reinterpret_cast<const char*>(from.data()), from.size()}; }

Contents contents_of(const BlockWriter& file) {
  auto reader = CaptureReader::open(source_of(file.bytes(), 7)).value();
  Contents contents;
  for (;;) {
    const auto next = reader.next();
    if (!next) contents.error = next.error().message;
    if (!next || !*next) break;
    const ReadPacket& read = **next;
    contents.packets.push_back({read.stamp_state, read.stamp, read.view.time_ns, read.process, read.view.interface, bytes_of(read.view.data),
                                bytes_of(read.options)});
  }
  contents.interfaces = reader.interfaces();
  contents.processes = reader.processes();
  contents.statistics = reader.statistics();
  contents.origins = reader.origins();
  contents.left_out = reader.left_out();
  return contents;
}

void write_packet_block(BlockWriter& file, uint32_t interface, uint64_t ticks, const Bytes& data) {
  file.begin(kPcapngEnhancedPacket).u32(interface).u32(static_cast<uint32_t>(ticks >> 32)).u32(static_cast<uint32_t>(ticks));
  file.u32(static_cast<uint32_t>(data.size())).u32(static_cast<uint32_t>(data.size())).raw(data);
}

}  // namespace

TEST_CASE("stamps say how well nanoseconds from 1970 to 2261 hold them") {
  struct Row {
    uint8_t resolution;
    uint64_t ticks;
    int64_t offset;
    StampState state;
    const char* text;
  };
  const Row rows[] = {{6, 0, 0, StampState::exact, "0.000000"},
                      {6, 1'700'000'000'000'000'001, 0, StampState::outside, "1700000000000.000001"},
                      {9, static_cast<uint64_t>(kLatestStampNs), 0, StampState::exact, "9214646399.999999998"},
                      {9, static_cast<uint64_t>(kLatestStampNs) + 1, 0, StampState::outside, "9214646399.999999999"},
                      {9, UINT64_MAX, 0, StampState::outside, "18446744073.709551615"},
                      {6, 500'000, -3, StampState::outside, "-2.500000"},
                      {6, 0, -3, StampState::outside, "-3.000000"},
                      {6, 1, -3, StampState::outside, "-2.999999"},
                      {6, 3'000'000, -3, StampState::exact, "0.000000"},
                      {12, 1'500, 0, StampState::finer, "0.000000001500"},
                      {12, 2'000, 0, StampState::exact, "0.000000002000"},
                      {15, 1, 0, StampState::finer, "0.000000000000001"},
                      {0, 7, 5, StampState::exact, "12"},
                      {0, UINT64_MAX, INT64_MAX, StampState::outside, "27670116110564327422"},
                      {0, 0, INT64_MIN, StampState::outside, "-9223372036854775808"},
                      {0x80 | 10, 1536, 0, StampState::exact, "1.5"},
                      {0x80 | 32, 1, 0, StampState::finer, "0.00000000023283064"},
                      {0x80 | 1, 3, -2, StampState::outside, "-0.5"},
                      {0x80, 9, 0, StampState::exact, "9"},
                      {0xff, UINT64_MAX, 0, StampState::finer, "0"}};
  for (const Row& row : rows) {
    CAPTURE(int{row.resolution}, row.ticks, row.offset);
    BlockWriter file(true);
    file.section().begin(kPcapngInterface).u16(1).u16(0).u32(0);
    file.option(9, std::string(1, static_cast<char>(row.resolution)));
    file.option(14, number64(true, static_cast<uint64_t>(row.offset))).end();
    write_packet_block(file, 0, row.ticks, "");
    file.end();
    const Contents contents = contents_of(file);
    REQUIRE(contents.packets.size() == 1);
    CHECK(contents.packets[0].state == row.state);
    CHECK_THAT(contents.packets[0].stamp.text(), Catch::StartsWith(std::string(row.text).substr(0, 15)));
  }
  BlockWriter simple(false);
  simple.section().interface(1, 0).begin(kPcapngSimplePacket).u32(3).raw("abc").end();
  CHECK(contents_of(simple).packets.at(0).state == StampState::absent);
}

TEST_CASE("pseudo-headers in the writer's byte order are the same from either") {
  struct Row {
    const char* name;
    uint16_t link_type;
    void (*write)(BlockWriter&);
  };
  const Bytes sll_can = Bytes("\0\1\1\x18\0\0\0\0\0\0\0\0\0\0", 14);
  static const Bytes sll = sll_can;
  const Row rows[] = {
      {"null", 0, [](BlockWriter& w) { w.u32(2).unpadded("E rest"); }},
      {"sll with CAN", 113, [](BlockWriter& w) { w.unpadded(sll + be16(0x000c)).u32(0x123).unpadded(Bytes("\4\0\0\0data", 8)); }},
      {"sll with CAN FD", 113, [](BlockWriter& w) { w.unpadded(sll + be16(0x000d)).u32(0x80000123).unpadded("rest"); }},
      {"sll with CAN XL", 113,
       [](BlockWriter& w) { w.unpadded(sll + be16(0x000e)).u32(0x00050123).unpadded("\x80\x01").u16(300).u32(0xabcdef01).unpadded("rest"); }},
      {"sll with IPv4", 113, [](BlockWriter& w) { w.unpadded(sll + be16(0x0800) + "E and so on"); }},
      {"sll2 with CAN", 276, [](BlockWriter& w) { w.unpadded(be16(0x000c) + Bytes(18, '\1')).u32(0x77).unpadded("rest"); }},
      {"pflog", 117,
       [](BlockWriter& w) {
         w.unpadded("\x3d" + Bytes("\2\1\0", 3) + Bytes(16, 'i') + Bytes(16, 'r') + be32(7) + be32(8));
         w.u32(1000).u32(4711).u32(0).u32(12).unpadded(Bytes("\1\0\0\0E rest", 10));
       }},
      {"pflog without processes", 117, [](BlockWriter& w) { w.unpadded("\x2c" + Bytes(43, 'x') + "E rest and more of it"); }},
      {"usb", 189,
       [](BlockWriter& w) {
         w.u64(0xffff880012345678).unpadded("S\2\x81\5").u16(3).unpadded("-<").u64(1'700'000'000).u32(5).u32(static_cast<uint32_t>(-115)).u32(64).u32(0);
         w.unpadded(Bytes("\x80\6\0\1\0\0\x40\0", 8));
       }},
      {"usb, isochronous, mapped", 220,
       [](BlockWriter& w) {
         w.u64(0x1122334455667788).unpadded(Bytes("C\0\x81\5", 4)).u16(300).unpadded("-=").u64(1'700'000'000).u32(5).u32(0).u32(64).u32(32);
         w.u32(1).u32(2).u32(8).u32(99).u32(0x200).u32(2);
         for (uint32_t i = 0; i < 2; ++i) w.u32(i).u32(16 * i).u32(16).u32(0);
         w.unpadded("payload in no order");
       }},
      {"nflog", 239,
       [](BlockWriter& w) {
         w.unpadded(Bytes("\2\0\0\5", 4)).u16(8).u16(1).unpadded(be16(0x0800) + Bytes("\1\0", 2));
         w.u16(11).u16(10).unpadded(Bytes("prefix\0\0", 8)).u16(12).u16(9).unpadded("E packet");
       }},
      {"nflog of an unknown version", 239, [](BlockWriter& w) { w.unpadded("\2\1\0\5 anything"); }},
      {"Ethernet", 1, [](BlockWriter& w) { w.unpadded(ethernet(0x0800, "E and so on")); }},
      {"OpenBSD loopback, which is in network order", 108, [](BlockWriter& w) { w.unpadded(be32(2) + "E rest"); }}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const Bytes expected = ordered(false, row.write);
    for (const bool big_endian : {false, true}) {
      const Bytes data = ordered(big_endian, row.write);
      for (size_t cut = 0; cut <= data.size(); ++cut) {
        const Bytes part = data.substr(0, cut);
        BlockWriter classic(big_endian), blocks(big_endian);
        classic.u32(0xa1b2c3d4).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(row.link_type);
        classic.u32(1).u32(2).u32(static_cast<uint32_t>(cut)).u32(static_cast<uint32_t>(data.size())).unpadded(part);
        blocks.section().interface(row.link_type, 0);
        write_packet_block(blocks, 0, 5, part);
        blocks.end();
        blocks.begin(kPcapngSimplePacket).u32(static_cast<uint32_t>(cut)).raw(part).end();
        for (const BlockWriter* file : {&classic, &blocks}) {
          for (const Kept& packet : contents_of(*file).packets) {
            REQUIRE(packet.data.size() == cut);
            // A field that is cut in the middle cannot be turned.
            if (cut == data.size()) REQUIRE(packet.data == expected);
            if (!big_endian) REQUIRE(packet.data == part);
          }
        }
      }
    }
  }
}

TEST_CASE("options that can be copied are the same from either byte order, others are counted") {
  Bytes options[2];
  for (const bool big_endian : {false, true}) {
    BlockWriter file(big_endian);
    file.section().interface(1, 0);
    write_packet_block(file, 0, 5, "packet");
    file.option(1, "a comment").option(1, "another").option(kEpbFlags, number32(big_endian, 0x01000005));
    file.option(3, "\2hash").option(kEpbDropCount, number64(big_endian, 17)).option(5, number64(big_endian, 77));
    file.option(6, number32(big_endian, 3)).option(7, "\1" + number64(big_endian, 2)).option(7, Bytes("\0\1", 2));
    file.option(kEpbProcess, number32(big_endian, 4242) + number32(big_endian, 4243));
    file.option(2988, number32(big_endian, 32473) + "text").option(0x8004, number32(big_endian, 9));
    file.option(19372, number32(big_endian, 32473) + "not to be copied").option(6, "wrong length");
    file.option(0x8003, number32(big_endian, 0)).option(0x9999, "local").u32(0).end();
    const Contents contents = contents_of(file);
    CHECK(contents.error.empty());
    options[big_endian] = contents.packets.at(0).options;
    CHECK(contents.left_out == LeftOut{{"custom options that are not to be copied", 1},
                                       {"queues of packets", 1},
                                       {"references to effective process blocks", 1},
                                       {"options 39321 of packets", 1}});
  }
  CHECK(options[0] == options[1]);
  const Bytes expected = ordered(false, [](BlockWriter& w) {
    w.option(kEpbFlags, number32(false, 0x01000005)).option(1, "a comment").option(1, "another").option(3, "\2hash");
    w.option(kEpbDropCount, number64(false, 17)).option(5, number64(false, 77)).option(6, number32(false, 3));
    w.option(7, "\1" + number64(false, 2)).option(7, Bytes("\0\1", 2)).option(kEpbProcess, number32(false, 4242) + number32(false, 4243));
    w.option(2988, number32(false, 32473) + "text").option(0x8004, number32(false, 9));
  });
  CHECK(options[0] == expected);
}

TEST_CASE("a packet written with options is read with them") {
  const Bytes data = "packet";
  PacketView packet;
  packet.data = view(data);
  packet.original_length = 60;
  packet.time_ns = 5;
  packet.direction = Direction::outbound;
  Buffer options;
  append_packet_comment(options, packet, "told");
  Buffer file;
  append_section_header(file, "t");
  append_interface(file, {});
  const size_t start = file.size();
  file.resize(start + packet_block_size(packet, options));
  write_packet(file.data() + start, packet, options);
  auto reader = CaptureReader::open(source_of(file)).value();
  const auto read = reader.next().value();
  REQUIRE(read);
  CHECK(read->first_comment == "told");
  CHECK(read->view.direction == Direction::outbound);
  CHECK(bytes_of(read->view.data) == data);
  CHECK(bytes_of(read->options) == bytes_of(options));
  SectionWalker walker(file);
  RawPacket raw;
  REQUIRE(walker.next(raw));
  CHECK(raw.view.direction == Direction::outbound);
  CHECK_FALSE(walker.next(raw));
  CHECK_FALSE(walker.error());
}

TEST_CASE("more options than a frame holds are left out") {
  BlockWriter file(false);
  file.section().interface(1, 0);
  write_packet_block(file, 0, 5, "packet");
  for (int i = 0; i < 10; ++i) file.option(1, Bytes(60'000, 'c'));
  file.u32(0).end();
  const Contents contents = contents_of(file);
  CHECK(contents.packets.at(0).options.size() <= 256 << 10);
  CHECK(contents.left_out == LeftOut{{"comments", 6}});
}

TEST_CASE("packets refer to the process blocks of their section") {
  for (const bool big_endian : {false, true}) {
    BlockWriter file(big_endian);
    file.section().interface(1, 0);
    file.begin(kPcapngProcess).u32(10).option(2, "first").u32(0).end();
    file.begin(kPcapngProcess).u32(20).option(2, "second").u32(0).end();
    write_packet_block(file, 0, 1, "a");
    file.option(kEpbProcessBlock, number32(big_endian, 1)).u32(0).end();
    write_packet_block(file, 0, 2, "b");
    file.option(kEpbProcessBlock, number32(big_endian, 2)).u32(0).end();
    file.section().interface(1, 0);
    file.begin(kPcapngProcess).u32(30).option(2, "third").u32(0).end();
    write_packet_block(file, 0, 3, "c");
    file.option(kEpbFlags, number32(big_endian, 1)).option(kEpbProcessBlock, number32(big_endian, 0)).u32(0).end();
    const Contents contents = contents_of(file);
    REQUIRE(contents.packets.size() == 3);
    REQUIRE(contents.processes.size() == 3);
    CHECK(contents.processes[contents.packets[0].process] == PcapngProcess{20, "second"});
    CHECK(contents.packets[1].process == ReadPacket::kNoProcess);
    CHECK(contents.processes[contents.packets[2].process] == PcapngProcess{30, "third"});
    CHECK(contents.packets[2].options == ordered(false, [](BlockWriter& w) { w.option(kEpbFlags, number32(false, 1)); }));
    CHECK(contents.left_out == LeftOut{{"references to process blocks", 1}});
  }
}

TEST_CASE("statistics, origins and interface options are read in either byte order") {
  for (const bool big_endian : {false, true}) {
    CAPTURE(big_endian);
    BlockWriter file(big_endian);
    file.begin(kPcapngSectionHeader).u32(0x1A2B3C4D).u16(1).u16(0).u64(~uint64_t{0});
    file.option(2, "x86").option(4, "a recorder").option(1, "in a rack").u32(0).end();
    file.begin(kPcapngInterface).u16(1).u16(0).u32(0).option(2, "eth0").option(3, "uplink").option(8, number64(big_endian, 10'000));
    file.option(15, "ixgbe").option(11, Bytes("\1code", 5)).option(1, "noted").u32(0).end();
    file.interface(1, 0);
    const auto time = [&](uint64_t ns) { return number32(big_endian, static_cast<uint32_t>(ns / 1000 >> 32)) + number32(big_endian, static_cast<uint32_t>(ns / 1000)); };
    for (const uint64_t dropped : {5, 9}) {
      file.begin(kPcapngStatistics).u32(0).u32(0).u32(7).option(2, time(1'000'000)).option(3, time(9'000'000));
      file.option(4, number64(big_endian, 100)).option(5, number64(big_endian, dropped)).option(7, number64(big_endian, 1)).u32(0).end();
    }
    file.begin(kPcapngStatistics).u32(1).u32(0).u32(7).option(4, number64(big_endian, 100)).u32(0).end();
    file.begin(kPcapngStatistics).u32(7).u32(0).u32(7).end();
    file.begin(kPcapngNameResolution).u32(0).end().begin(9).raw("MESSAGE=x").end().begin(0xbad).u32(1).end();
    file.begin(kPcapngDecryptionSecrets).u32(1).u32(0).end().begin(0x40000bad).u32(1).end().begin(0x77).end();
    const Contents contents = contents_of(file);
    CHECK(contents.error.empty());
    CHECK(contents.origins == std::vector<std::string>{"x86", "a recorder", "in a rack"});
    REQUIRE(contents.interfaces.size() == 2);
    Bytes expected = ordered(false, [](BlockWriter& w) { w.option(8, number64(false, 10'000)).option(15, "ixgbe"); });
    if (!big_endian) expected += ordered(false, [](BlockWriter& w) { w.option(11, Bytes("\1code", 5)); });
    expected += ordered(false, [](BlockWriter& w) { w.option(1, "noted"); });
    CHECK(bytes_of(contents.interfaces[0].options) == expected);
    REQUIRE(contents.statistics.size() == 2);
    CHECK(contents.statistics[0]->lost() == 9);
    CHECK(contents.statistics[0]->received == 100);
    CHECK(contents.statistics[0]->start_ns == 1'000'000);
    CHECK(contents.statistics[0]->end_ns == 9'000'000);
    CHECK_FALSE(contents.statistics[1]->lost());
    LeftOut left_out{{"name resolution blocks", 1}, {"systemd journal entries", 1}, {"custom blocks", 1}, {"custom blocks that are not to be copied", 1},
                     {"blocks of decryption secrets (TLS keys)", 1}, {"blocks of the unknown type 0x00000077", 1}, {"statistics that cannot be read", 1}};
    if (big_endian) left_out["filters of interfaces that are not text"] = 1;
    CHECK(contents.left_out == left_out);
  }
}

TEST_CASE("a section that goes on where an earlier one ended has its interfaces, one beside it has others") {
  BlockWriter file(false);
  const auto section = [&](std::initializer_list<uint64_t> ticks) {
    file.section().interface(1, 0);
    for (const uint64_t one : ticks) {
      write_packet_block(file, 0, one, "p");
      file.end();
    }
    file.begin(kPcapngStatistics).u32(0).u32(0).u32(7).option(5, number64(false, 1)).u32(0).end();
  };
  section({10, 12, 11, 20});
  section({20, 30});  // goes on
  section({5, 6});    // at the same time
  const Contents contents = contents_of(file);
  std::vector<uint32_t> interfaces;
  for (const Kept& packet : contents.packets) interfaces.push_back(packet.interface);
  CHECK(interfaces == std::vector<uint32_t>{0, 0, 0, 0, 0, 0, 1, 1});
  REQUIRE(contents.statistics.size() == 2);
  CHECK(contents.statistics[0]->lost() == 2);
  CHECK(contents.statistics[1]->lost() == 1);
}

TEST_CASE("what an interface block of ours says of equal names comes back") {
  PcapngInterface first, second;
  first.name = second.name = "eth0";
  second.same_name = 1;
  Buffer file;
  append_section_header(file, "t");
  append_interface(file, first);
  append_interface(file, second);
  auto reader = CaptureReader::open(source_of(file)).value();
  CHECK_FALSE(reader.next().value());
  CHECK(reader.interfaces() == std::vector<PcapngInterface>{first, second});
}
