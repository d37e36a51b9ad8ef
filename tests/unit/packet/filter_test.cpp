#include "lookback/packet/filter.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "lookback/packet/packet.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/packet/support/capture_files.hpp"
#include "unit/packet/support/carriers.hpp"
#include "unit/packet/support/traffic.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

// libpcap's interpreter, the reference. Declared here with our layout of its instruction: the sizes
// are held against each other where both are known.
extern "C" unsigned bpf_filter(const BpfInstruction* program, const unsigned char* packet,
                               unsigned original_length, unsigned captured_length);

namespace {

bool libpcap_matches(const Filter& filter, const RandomPacket& packet) {
  return bpf_filter(filter.program().data(),
                    reinterpret_cast<const unsigned char*>(packet.data.data()),
                    packet.original_length, static_cast<unsigned>(packet.data.size())) != 0;
}

constexpr uint16_t kLinkTypes[] = {1, 113, 276, 101, 0};

}  // namespace

TEST_CASE("our interpreter and libpcap's agree on every expression and packet") {
  size_t matches = 0, comparisons = 0;
  for (const uint16_t link_type : kLinkTypes) {
    Traffic traffic(link_type + 1);
    std::vector<RandomPacket> packets;
    for (int i = 0; i < 1500; ++i) packets.push_back(traffic.packet(link_type));
    size_t compiled = 0;
    for (const std::string& expression : common_expressions()) {
      const auto filter = Filter::compile(expression, link_type);
      if (!filter) continue;  // Ethernet addresses on raw IP and the like
      ++compiled;
      CAPTURE(expression, link_type);
      for (const RandomPacket& packet : packets) {
        const bool ours = filter->matches(view(packet.data), packet.original_length);
        if (ours != libpcap_matches(*filter, packet)) FAIL("different");
        matches += ours;
        ++comparisons;
      }
    }
    CHECK(compiled >=
          (link_type == 1 ? common_expressions().size() : common_expressions().size() - 30));
  }
  // Both answers must be common, or nothing was tested.
  CHECK(matches > comparisons / 20);
  CHECK(matches < comparisons / 2);
}

TEST_CASE("random expressions too") {
  Traffic traffic(77);
  size_t compiled = 0;
  for (int round = 0; round < 1500; ++round) {
    const uint16_t link_type = kLinkTypes[static_cast<size_t>(round) % std::size(kLinkTypes)];
    const std::string expression = traffic.expression();
    const auto filter = Filter::compile(expression, link_type);
    if (!filter) continue;
    ++compiled;
    CAPTURE(expression, link_type);
    for (int i = 0; i < 60; ++i) {
      const RandomPacket packet = traffic.packet(link_type);
      if (filter->matches(view(packet.data), packet.original_length) !=
          libpcap_matches(*filter, packet))
        FAIL("different");
    }
  }
  CHECK(compiled > 500);
}

TEST_CASE("random programs, random packets") {
  // Every opcode in any order, which libpcap's optimizer would never make; jumps go forward, so
  // each program ends.
  std::mt19937 random(5);
  const uint16_t kCodes[] = {0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1, 0x80, 0x81, 0x00, 0x01, 0x60,
                             0x61, 0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44,
                             0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac,
                             0x07, 0x87, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x15,
                             0x15, 0x25, 0x35, 0x45, 0x54, 0x28, 0x30, 0x20, 0x06, 0x16};
  Traffic traffic(6);
  size_t matches = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<BpfInstruction> program;
    const size_t length = 2 + random() % 24;
    for (size_t slot = 0; slot < 16; ++slot)
      program.push_back({0x02, 0, 0, static_cast<uint32_t>(slot)});  // memory is set
    for (size_t i = 0; i < length; ++i) {
      const size_t left = length - i;  // instructions behind this one, the final return included
      const uint16_t code = kCodes[random() % std::size(kCodes)];
      BpfInstruction instruction{code, static_cast<uint8_t>(random() % left),
                                 static_cast<uint8_t>(random() % left),
                                 static_cast<uint32_t>(random() % (random() % 2 ? 16 : 80))};
      const bool memory = code == 0x60 || code == 0x61 || code == 0x02 || code == 0x03;
      if (memory) instruction.k %= 16;
      if (code == 0x05) instruction.k = static_cast<uint32_t>(random() % left);
      if (code == 0x34 || code == 0x94) instruction.k += 1;
      if (code == 0x64 || code == 0x74) instruction.k %= 32;  // more is undefined in libpcap
      program.push_back(instruction);
    }
    program.push_back({0x16, 0, 0, 0});
    const auto filter = Filter::from_program(program);
    REQUIRE(filter);
    for (int i = 0; i < 5; ++i) {
      const RandomPacket packet = traffic.packet(1);
      const bool ours = filter->matches(view(packet.data), packet.original_length);
      if (ours != libpcap_matches(*filter, packet)) FAIL("different in round " << round);
      matches += ours;
    }
  }
  CHECK(matches > 10000);
}

TEST_CASE("impossible programs are refused") {
  const auto refused = [](std::vector<BpfInstruction> program) {
    const auto filter = Filter::from_program(std::move(program));
    return !filter && filter.error().kind == ErrorKind::invalid;
  };
  CHECK(refused({}));
  CHECK(refused({{0x20, 0, 0, 0}}));                   // no return
  CHECK(refused({{0x15, 1, 0, 0}, {0x06, 0, 0, 1}}));  // jumps past the end
  CHECK(refused({{0x05, 0, 0, 1}, {0x06, 0, 0, 1}}));
  CHECK(refused({{0x05, 0, 0, 0xfffffff0}, {0x06, 0, 0, 1}}));  // and before the start
  CHECK(refused({{0x02, 0, 0, 16}, {0x06, 0, 0, 1}}));          // memory
  CHECK(refused({{0x34, 0, 0, 0}, {0x06, 0, 0, 1}}));           // division
  CHECK(refused({{0xe0, 0, 0, 0}, {0x06, 0, 0, 1}}));           // no such load
  CHECK_FALSE(refused({{0x64, 0, 0, 40}, {0x06, 0, 0, 1}}));
}

TEST_CASE("what an expression may be") {
  CHECK(Filter::compile("", 1)->matches_all());
  CHECK(Filter::compile("  \n", 1)->matches_all());
  CHECK(Filter().matches({}, 0));
  const auto broken = Filter::compile("host and port", 1);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().kind == ErrorKind::invalid);
  CHECK(broken.error().message.find("syntax error") != std::string::npos);
  CHECK_FALSE(Filter::compile(std::string("tcp\0 or udp", 11), 1));
  // Nothing on raw IP is ARP: a capture of several interfaces can still be filtered by it.
  const auto nothing = Filter::compile("arp", 101);
  REQUIRE(nothing);
  CHECK(nothing->matches_nothing());
  CHECK_FALSE(nothing->matches_all());
  CHECK_FALSE(nothing->matches(view(ipv4("1.1.1.1", "2.2.2.2", 6, tcp(1, 2))), 40));
  CHECK_FALSE(Filter::compile("ifindex 3", 1));
  CHECK_FALSE(Filter::compile("inbound", 1));
  CHECK(Filter::compile("inbound", 113));
  for (const uint16_t link_type : {127, 105, 0, 101}) {
    const auto inbound = Filter::compile("inbound", link_type);
    REQUIRE_FALSE(inbound);
    CHECK(inbound.error().message.find("not supported") != std::string::npos);
  }
}

TEST_CASE("names are not looked up") {
  for (const char* expression : {"host web-1.example", "src web-1", "ip6 host web-1", "net backbone", "host 10.0.0.1 or web-1.example"}) {
    CAPTURE(expression);
    const auto filter = Filter::compile(expression, 1);
    REQUIRE_FALSE(filter);
    CHECK(filter.error().kind == ErrorKind::invalid);
    CHECK(filter.error().message.find("is a name, and names are not looked up") != std::string::npos);
  }
  for (const char* expression : {"host 10.0.0.1", "host fd00::1", "net 10.0.0.0/8", "net fd00::/8", "port http", "ip proto \\tcp",
                                 "ether host 02:00:00:00:00:01"}) {
    CAPTURE(expression);
    CHECK(Filter::compile(expression, 1));
  }
}

TEST_CASE("an expression has a size") {
  const auto many = [](size_t count, std::string_view first, std::string_view next) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += fmt::format("{}{}", i == 0 ? first : next, 1 + i);
    return text;
  };
  const auto refused = [](const std::string& expression) {
    const auto filter = Filter::compile(expression, 1);
    return !filter && filter.error().kind == ErrorKind::invalid && filter.error().message.find("allowed") != std::string::npos;
  };
  CHECK(refused(many(400, "port ", " or port ")));
  CHECK(refused(many(257, "port ", " or ")));
  CHECK(refused(many(300, "host 10.0.0.", " or host 10.10.10.")));
  CHECK(refused("port 1" + std::string(5000, ' ')));
  const auto largest = Filter::compile(many(256, "port ", " or "), 1);
  REQUIRE(largest);
  const auto sent = [&](uint16_t port) { return ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 6, tcp(40000, port))); };
  CHECK(largest->matches(view(sent(1)), 54));
  CHECK(largest->matches(view(sent(256)), 54));
  CHECK_FALSE(largest->matches(view(sent(257)), 54));
}

TEST_CASE("BSD loopback matches in either byte order") {
  for (const uint32_t family : {2u, 24u, 28u, 30u, 7u}) {
    const Bytes big = be32(family), little(big.rbegin(), big.rend());
    const Bytes inner = family == 2 ? ipv4("10.1.1.1", "10.1.1.2", 6, tcp(1, 80)) : ipv6("fd00::1", "fd00::2", 6, tcp(1, 80));
    for (const char* expression : {"ip", "ip6", "not ip", "not ip6", "tcp port 80", "host 10.1.1.1 or host fd00::1"}) {
      CAPTURE(family, expression);
      const auto filter = Filter::compile(expression, link_type::kNull);
      REQUIRE(filter);
      CHECK(filter->matches(view(little + inner), 60) == filter->matches(view(big + inner), 60));
    }
    CHECK(Filter::compile("ip", link_type::kNull)->matches(view(big + inner), 60) == (family == 2));
    CHECK(Filter::compile("ip6", link_type::kNull)->matches(view(big + inner), 60) == (family > 20));
  }
}

TEST_CASE("filters give what tcpdump gives on a file of any link type") {
  const char* const kExpressions[] = {"ip", "ip6", "arp", "not ip", "tcp port 80", "udp", "host 10.1.1.1", "net fd00::/16", "port 53",
                                      "greater 60", "inbound", "outbound", "ifindex 3", "vlan", "mpls", "ether host 02:00:00:00:00:01",
                                      "link[0] = 2", "type data", "ip[0] & 0xf != 5", "broadcast", "pppoes", "icmp6"};
  if (!output_of("tcpdump --version")) {
    WARN("tcpdump is not installed: nothing was compared");
    return;
  }
  std::map<uint16_t, std::vector<Bytes>> packets;
  std::mt19937 random(12);
  for (const Carrier& carrier : carriers()) {
    std::vector<Bytes>& list = packets[carrier.link_type];
    if (list.size() > 40) continue;
    if (carrier.name == "BSD loopback, the other order") continue;  // of another file
    list.push_back(carrier.data);
    for (int i = 0; i < 3; ++i) {
      Bytes other = carrier.data.substr(0, 1 + random() % carrier.data.size());
      other[random() % std::min<size_t>(other.size(), 24)] = static_cast<char>(random() % 4);
      list.push_back(other);
    }
  }
  for (const uint32_t family : {2u, 10u, 24u, 28u, 30u, 7u}) {
    for (const bool swapped : {false, true}) {
      const Bytes big = be32(family);
      if (!swapped) packets[0].push_back(Bytes(big.rbegin(), big.rend()) + ipv6("fd00::1", "fd00::2", 6, tcp(1, 80)));
      packets[108].push_back((swapped ? big : Bytes(big.rbegin(), big.rend())) + ipv4("10.1.1.1", "10.0.0.2", 6, tcp(1, 80)));
    }
  }
  const auto path = std::filesystem::temp_directory_path() / ("lookback-filters-" + std::to_string(getpid()) + ".pcap");
  size_t matched = 0, refused = 0;
  for (const auto& [link_type, list] : packets) {
    Buffer file;
    append_pcap_header(file, link_type, 0);
    const auto append = [](Buffer& out, const Bytes& data, size_t number) {
      PacketView packet;
      packet.time_ns = static_cast<int64_t>(number) * 1'000'000'000;
      packet.data = view(data);
      packet.original_length = static_cast<uint32_t>(data.size());
      append_pcap_record(out, packet);
    };
    for (size_t i = 0; i < list.size(); ++i) append(file, list[i], i);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
    for (const char* expression : kExpressions) {
      CAPTURE(link_type, expression);
      // A capture file, whose packets bear their number as the second.
      const std::string text = output_of(fmt::format("tcpdump -r {} -w - '{}' 2>/dev/null || echo refused", path.string(), expression)).value();
      const auto filter = Filter::compile(expression, link_type);
      if (text.ends_with("refused\n")) {
        CHECK((!filter || filter->matches_nothing()));
        ++refused;
        continue;
      }
      REQUIRE(filter);
      std::set<size_t> theirs, ours;
      for (size_t at = 24; at + 16 <= text.size();) {
        uint32_t record[4];
        std::memcpy(record, text.data() + at, sizeof record);
        theirs.insert(record[0]);
        at += sizeof record + record[2];
      }
      for (size_t i = 0; i < list.size(); ++i)
        if (filter->matches(view(list[i]), static_cast<uint32_t>(list[i].size()))) ours.insert(i);
      CHECK(ours == theirs);
      matched += ours.size();
    }
  }
  std::filesystem::remove(path);
  CHECK(matched > 300);
  CHECK(refused > 20);
}

TEST_CASE("filters compile and run on many threads") {
  const Bytes frame = ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 80)));
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const uint16_t port = t % 2 == 0 ? 80 : 81;
        const auto filter =
            Filter::compile(fmt::format("tcp port {} and host 10.0.0.{}", port, 1 + i % 2), 1);
        good += filter && filter->matches(view(frame), 54) == (port == 80);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 200);
}
