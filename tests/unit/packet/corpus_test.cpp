// Writes the fuzz targets' seeds anew: LOOKBACK_CORPUS=tests/fuzz/corpus test_packet [corpus]
#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "lookback/base/hash.hpp"
#include "lookback/packet/pcapng.hpp"
#include "lookback/packet/summary.hpp"
#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"
#include "unit/packet/support/carriers.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

void write_seed(const std::string& target, const std::string& name, std::string_view bytes) {
  const std::filesystem::path folder =
      std::filesystem::path(std::getenv("LOOKBACK_CORPUS")) / target;
  std::filesystem::create_directories(folder);
  std::ofstream(folder / name, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Frame {
  const char* name;
  uint16_t link_type;
  Bytes data;
};

std::vector<Frame> frames() {
  const Bytes inner = ipv4("10.9.0.1", "10.9.0.2", 6, tcp(40000, 80, "GET /"));
  const Bytes six = ipv6("fd00::1", "fd00::2", 17, udp(53, 5353, "name"));
  Bytes extension(8, '\0');
  extension[0] = 44;
  Bytes fragment(8, '\0');
  fragment[0] = 6;
  fragment[3] = 1;
  return {{"tcp", 1, ethernet(0x0800, inner)},
          {"udp6", 1, ethernet(0x86dd, six)},
          {"vlan", 1, ethernet(0x88a8, vlan(7, 0x8100, vlan(8, 0x0800, inner)))},
          {"snap", 1, ethernet(60, Bytes("\xaa\xaa\x03\0\0\0", 6) + be16(0x0800) + inner)},
          {"arp", 1, ethernet(0x0806, arp("10.0.0.1", "10.0.0.2"))},
          {"vxlan", 1,
           ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", 17,
                                 udp(9, 4789, vxlan(5, ethernet(0x0800, inner)))))},
          {"geneve", 1,
           ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", 17,
                                 udp(9, 6081, geneve(0x6558, ethernet(0x86dd, six), 2))))},
          {"gre", 1,
           ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", 47,
                                 gre(0x6558, ethernet(0x0800, inner), 0xb000)))},
          {"extensions", 101, ipv6("fd00::1", "fd00::2", 0, extension + fragment + tcp(1, 2))},
          {"raw", 101, inner},
          {"sll", 113, Bytes(14, '\0') + be16(0x0800) + inner},
          {"sll2", 276, be16(0x86dd) + Bytes(18, '\0') + six},
          {"null", 0, Bytes("\2\0\0\0", 4) + inner}};
}

}  // namespace

TEST_CASE("the seeds of the packet module's fuzz targets", "[.][corpus]") {
  REQUIRE(std::getenv("LOOKBACK_CORPUS") != nullptr);
  for (const Frame& frame : frames()) {
    const Bytes type{static_cast<char>(frame.link_type), static_cast<char>(frame.link_type >> 8)};
    write_seed("decode", frame.name, type + frame.data);
  }
  for (const Carrier& carrier : carriers()) {
    const Bytes type{static_cast<char>(carrier.link_type), static_cast<char>(carrier.link_type >> 8)};
    std::string name = fmt::format("carrier_{}_{}", carrier.link_type, carrier.name);
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
    write_seed("decode", name, type + carrier.data);
  }

  Buffer ours, pcap;
  append_section_header(ours, "seed", "comment");
  append_interface(ours, {"eth0", "node a", 1, 0, "port 80", "Linux"});
  append_pcap_header(pcap, 1, 0);
  const std::vector<std::string> comments = {"a comment"};
  const std::vector<Frame> all = frames();
  for (size_t i = 0; i < 4; ++i) {
    PacketView packet;
    packet.time_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i);
    packet.data = view(all[i].data);
    packet.original_length = static_cast<uint32_t>(packet.data.size());
    packet.direction = static_cast<Direction>(i % 3);
    append_packet(ours, packet, i == 3 ? std::span(comments) : std::span<const std::string>());
    append_pcap_record(pcap, packet);
  }
  PcapngStatistics statistics;
  statistics.received = 4;
  append_statistics(ours, statistics);
  append_decryption_secrets(ours, 0x544c534b, "CLIENT_RANDOM 00 11\n");
  write_seed("pcapng", "ours.pcapng", text(ours));
  write_seed("pcapng", "nanoseconds.pcap", text(pcap));
  for (const bool big_endian : {false, true}) {
    BlockWriter file(big_endian);
    file.section()
        .begin(kPcapngInterface)
        .u16(1)
        .u16(0)
        .u32(96)
        .option(2, "eth0")
        .option(9, "\x8a")
        .u32(0)
        .end();
    file.begin(kPcapngEnhancedPacket)
        .u32(0)
        .u32(1)
        .u32(2)
        .u32(5)
        .u32(60)
        .raw("hello")
        .option(1, "text")
        .u32(0)
        .end();
    file.begin(kPcapngSimplePacket).u32(3).raw("abc").end();
    file.begin(2).u16(0).u16(4).u32(0).u32(9).u32(3).u32(3).raw("old").end();
    file.begin(0x80000001).raw("unknown").end();
    write_seed("pcapng", big_endian ? "blocks_be.pcapng" : "blocks_le.pcapng", text(file.bytes()));
    BlockWriter told(big_endian);
    const auto number = [big_endian](uint32_t value) {
      BlockWriter writer(big_endian);
      return std::string(text(writer.u32(value).bytes()));
    };
    told.section().interface(220, 0);
    told.begin(kPcapngInterface).u16(239).u16(0).u32(0).option(2, "nflog").option(3, "uplink");
    told.option(8, number(1) + number(2)).option(9, "\xa0").option(14, number(0xffffffff) + number(0xfffffff0)).u32(0).end();
    told.begin(kPcapngProcess).u32(10).option(2, "curl").u32(0).end();
    told.begin(kPcapngEnhancedPacket).u32(0).u32(1).u32(2).u32(80).u32(80).raw(std::string(9, 'u') + std::string(71, '\0'));
    told.option(2, number(0x01000005)).option(7, "\1" + number(0) + number(2)).option(kEpbProcess, number(10) + number(11));
    told.option(kEpbProcessBlock, number(0)).option(19372, number(1)).u32(0).end();
    told.begin(kPcapngEnhancedPacket).u32(1).u32(0).u32(2).u32(16).u32(16).raw(std::string("\2\0\0\5\0\10\0\1\0\0\0\0\0\4\0\1", 16)).end();
    told.begin(kPcapngStatistics).u32(0).u32(0).u32(9).option(3, number(0) + number(9)).option(5, number(0) + number(3)).u32(0).end();
    told.section().interface(220, 0);
    told.begin(kPcapngEnhancedPacket).u32(0).u32(0).u32(1).u32(0).u32(0).end();
    write_seed("pcapng", big_endian ? "told_be.pcapng" : "told_le.pcapng", text(told.bytes()));
    for (const uint16_t link_type : {0, 113, 117, 189}) {
      BlockWriter pseudo(big_endian);
      pseudo.u32(0xa1b23c4d).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(link_type);
      pseudo.u32(1).u32(2).u32(64).u32(64).unpadded("\x3d" + std::string(13, '\0') + std::string("\0\14", 2) + std::string(48, 'p'));
      write_seed("pcapng", fmt::format("link_type_{}_{}.pcap", link_type, big_endian ? "be" : "le"), text(pseudo.bytes()));
    }
    BlockWriter classic(big_endian);
    classic.u32(0xa1b2cd34).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(1);
    classic.u32(1).u32(2).u32(5).u32(60).u64(0).unpadded("hello");
    write_seed("pcapng", big_endian ? "long_records_be.pcap" : "long_records_le.pcap",
               text(classic.bytes()));
  }

  const auto write_summary = [](const std::string& name, uint32_t hosts, uint32_t step) {
    SummaryBuilder builder;
    for (uint32_t i = 0; i < hosts; ++i) {
      const std::string host =
          fmt::format("10.{}.{}.{}", i * step >> 16 & 255, i * step >> 8 & 255, i * step & 255);
      builder.add(decode(
          1, view(ethernet(0x0800,
                           ipv4(host, "8.8.8.8", 6, tcp(static_cast<uint16_t>(40000 + i), 443))))));
      builder.add(decode(1, view(ethernet(0x86dd, ipv6("fd00::1", "fd00::2", 58, icmp())))));
    }
    write_seed("summary", name, from_base64(builder.take().to_text()).value());
  };
  write_summary("one", 1, 1);
  write_summary("near", 60, 3);
  write_summary("bloom", 60, 267913);

  const char* const expressions[] = {"host 10.9.0.1 and not port 22",
                                     "tcp port 80 or 443",
                                     "src net 10.9.0.0/16 or ip6 host fd00::2",
                                     "(port 1 or port 80) and (host 10.0.0.1 or 10.9.0.2)",
                                     "tcp[tcpflags] & tcp-syn = 0 && portrange 79-81",
                                     "vlan and host 10.9.0.1",
                                     "arp host 10.0.0.2",
                                     "host (10.0.0.1 or 10.9.0.1) and len > 20"};
  int number = 0;
  for (const char* expression : expressions) {
    const Bytes& frame = all[number % 5 == 2 ? 1 : number == 5 ? 2 : number == 6 ? 4 : 0].data;
    write_seed("prefilter", fmt::format("expression_{}", number++),
               expression + Bytes(1, '\0') + frame);
  }

  // A block of two packets as linux/if_packet.h lays them out, in a machine's byte order.
  BlockWriter block(false);
  block.unpadded(Bytes(1, '\2') + Bytes(48, '\0'));
  for (const uint32_t next : {96u, 0u}) {
    block.u32(next).u32(1700000000).u32(5).u32(6).u32(60).u32(0x51).u16(82).u16(96);
    block.u32(0).u32(7).u16(0x88a8).u16(0).u64(0);
    block.u16(17)
        .u16(8)
        .u32(2)
        .u16(1)
        .unpadded(Bytes("\4\6", 2))
        .u64(0)
        .unpadded(Bytes(14, '\0') + "packet" + Bytes(8, '\0'));
  }
  write_seed("kernel_block", "two", text(block.bytes()));
}
