#include "lookback/packet/summary.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "lookback/base/hash.hpp"
#include "packet/summary_format.hpp"
#include "unit/packet/support/build.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}
IpAddress v4(uint32_t number) {
  return IpAddress::v4(view(be32(number)).data());
}
Cidr net(std::string_view text) {
  return Cidr::parse(text).value();
}

Headers flow(const IpAddress& source, const IpAddress& destination, uint16_t from, uint16_t to) {
  Headers headers;
  headers.ip_count = 1;
  headers.ip[0].source = source;
  headers.ip[0].destination = destination;
  headers.ip[0].has_ports = true;
  headers.ip[0].source_port = from;
  headers.ip[0].destination_port = to;
  return headers;
}

Summary through_text(const Summary& summary) {
  const auto parsed = Summary::parse(summary.to_text());
  REQUIRE(parsed);
  REQUIRE(parsed->to_text() == summary.to_text());
  return *parsed;
}

}  // namespace

TEST_CASE("a small summary is exact and short") {
  SummaryBuilder builder;
  for (uint16_t i = 0; i < 4; ++i)
    builder.add(flow(ip("10.244.1.7"), ip(i % 2 == 0 ? "10.244.2.9" : "10.96.0.1"),
                     static_cast<uint16_t>(40000 + i), 443));
  builder.add(flow(ip("fd00::1"), ip("fd00::2"), 53, 5353));
  const Summary summary = through_text(builder.take());
  CHECK(summary.to_text().size() <= 100);
  for (const char* present : {"10.244.1.7", "10.244.2.9", "10.96.0.1", "fd00::1", "fd00::2"})
    CHECK(summary.may_have_address(ip(present)));
  for (const char* absent :
       {"10.244.1.8", "0.0.0.0", "255.255.255.255", "fd00::3", "::", "::ffff:1.2.3.4"})
    CHECK_FALSE(summary.may_have_address(ip(absent)));
  for (const uint16_t present : {443, 40000, 40003, 53, 5353})
    CHECK(summary.may_have_port(present));
  for (const uint16_t absent : {0, 80, 40004, 65535}) CHECK_FALSE(summary.may_have_port(absent));
  CHECK(summary.may_have_port_in(400, 450));
  CHECK_FALSE(summary.may_have_port_in(444, 5000));
  for (const char* present : {"10.0.0.0/8", "10.244.0.0/16", "0.0.0.0/0", "::/0", "fd00::/64",
                              "10.244.1.7", "10.244.1.6/31"})
    CHECK(summary.may_have_network(net(present)));
  for (const char* absent : {"192.168.0.0/16", "10.245.0.0/16", "fd01::/16", "10.244.1.4/31",
                             "fd00::4/126", "11.0.0.0/8"})
    CHECK_FALSE(summary.may_have_network(net(absent)));
  // take() started afresh.
  const Summary nothing = through_text(builder.take());
  CHECK_FALSE(nothing.may_have_address(ip("10.244.1.7")));
  CHECK_FALSE(nothing.may_have_network(net("::/0")));
  CHECK_FALSE(nothing.may_have_port(443));
}

TEST_CASE("an opaque packet and no summary at all mean anything") {
  SummaryBuilder builder;
  builder.add(flow(ip("10.0.0.1"), ip("10.0.0.2"), 1, 2));
  Headers opaque;
  opaque.opaque = true;
  builder.add(opaque);
  const Summary summary = builder.take();
  CHECK(summary.to_text().empty());
  for (const Summary& any : {summary, Summary(), Summary::parse("").value()}) {
    CHECK(any.may_have_address(ip("1.2.3.4")));
    CHECK(any.may_have_network(net("fd00::/8")));
    CHECK(any.may_have_port(1));
  }
  // And only until take().
  builder.add(flow(ip("10.0.0.1"), ip("10.0.0.2"), 1, 2));
  CHECK_FALSE(builder.take().may_have_port(3));
}

TEST_CASE("ARP, tunnels and packets without ports are in it") {
  SummaryBuilder builder;
  const auto add = [&](const Bytes& frame) {
    builder.add(decode(link_type::kEthernet, view(frame)));
  };
  add(ethernet(0x0806, arp("10.0.0.1", "10.0.0.254")));
  add(ethernet(0x88cc, Bytes(40, '\1')));
  add(ethernet(
      0x0800,
      ipv4("192.0.2.1", "192.0.2.2", 17,
           udp(1000, 4789,
               vxlan(7, ethernet(0x0800, ipv4("172.16.0.1", "172.16.0.2", 6, tcp(2000, 80))))))));
  add(ethernet(0x86dd, ipv6("::", "ff02::1", 58, icmp())));
  const Summary summary = through_text(builder.take());
  for (const char* present : {"10.0.0.1", "10.0.0.254", "192.0.2.1", "172.16.0.2", "::", "ff02::1"})
    CHECK(summary.may_have_address(ip(present)));
  for (const uint16_t present : {1000, 4789, 2000, 80}) CHECK(summary.may_have_port(present));
  CHECK_FALSE(summary.may_have_address(ip("10.0.0.2")));
}

TEST_CASE("what was added is found, however much it was") {
  std::mt19937 random(8);
  for (const size_t hosts : {1u, 2u, 31u, 32u, 33u, 64u, 500u, 4096u, 4097u, 9000u}) {
    for (const int kind : {0, 1, 2}) {  // scattered IPv4, one network's IPv4, IPv6
      CAPTURE(hosts, kind);
      std::set<IpAddress> addresses;
      while (addresses.size() < hosts) {
        IpAddress address =
            v4(kind == 0 ? static_cast<uint32_t>(random()) : 0x0af40000u + random() % 20000);
        if (kind == 2) {
          for (uint8_t& byte : address.bytes) byte = static_cast<uint8_t>(random());
        }
        addresses.insert(address);
      }
      SummaryBuilder builder;
      std::set<uint16_t> ports;
      for (const IpAddress& address : addresses) {
        const auto port = static_cast<uint16_t>(random());
        ports.insert(port);
        builder.add(flow(address, address, port, port));
      }
      const Summary summary = through_text(builder.take());
      for (const IpAddress& address : addresses) {
        if (!summary.may_have_address(address)) FAIL("lost " << address.to_string());
        if (!summary.may_have_network({address, 128})) FAIL("lost as network");
      }
      for (const uint16_t port : ports) {
        if (!summary.may_have_port(port)) FAIL("lost port " << port);
      }
      // Ports are exact up to the limit, addresses nearly so.
      size_t false_ports = 0, false_addresses = 0;
      for (unsigned port = 0; port <= 0xffff; ++port)
        false_ports += summary.may_have_port(static_cast<uint16_t>(port)) &&
                       !ports.contains(static_cast<uint16_t>(port));
      for (int i = 0; i < 4000; ++i) {
        const IpAddress other = v4(static_cast<uint32_t>(random()));
        false_addresses += summary.may_have_address(other) && !addresses.contains(other);
      }
      CHECK((false_ports == 0) == (ports.size() <= Summary::kMaxKeys));
      if (hosts > Summary::kMaxKeys) {
        CHECK(false_addresses > 3900);
      } else {
        CHECK(false_addresses < 80);  // 2 %
        // 24 bits a host and 16 a port at most, and a third more for base64.
        CHECK(summary.to_text().size() <=
              40 + (16 * hosts + (hosts <= 32 ? 112 * hosts : 0) + 16 * ports.size()) / 6);
      }
    }
  }
}

TEST_CASE("hosts of one network cost little") {
  SummaryBuilder builder;
  for (uint32_t i = 0; i < 200; ++i)
    builder.add(flow(v4(0x0af40101u + i * 3), v4(0x08080808), 40000 + i % 8, 443));
  const Summary summary = builder.take();
  CHECK(summary.to_text().size() < 200);
  CHECK_FALSE(summary.may_have_network(net("192.168.0.0/16")));
}

TEST_CASE("the text form does not change") {
  SummaryBuilder builder;
  builder.add(flow(ip("10.0.0.1"), ip("10.0.0.2"), 40000, 443));
  CHECK(builder.take().to_text() == "AgABAgAAAAAUAAAFAAECCe7AnIQ=");
  // Version 1 did not tell of addresses that it could not read.
  for (const auto& [text, unread] : {std::pair("AgABAgAAAAAUAAAFAAECCe7AnIQ=", false),
                                     std::pair("AQECAAAAABQAAAUAAQIJ7sCchA==", true)}) {
    const auto summary = Summary::parse(text);
    REQUIRE(summary);
    CHECK(summary->may_have_address(ip("10.0.0.2")));
    CHECK_FALSE(summary->may_have_address(ip("10.0.0.3")));
    CHECK(summary->has_unread() == unread);
    const Cidr absent = net("10.0.0.3/32");
    CHECK(Prefilter::of_networks({&absent, 1}).may_match(*summary) == unread);
    CHECK_FALSE(Prefilter::of_expression("host 10.0.0.3").may_match(*summary));
  }
}

TEST_CASE("a version to come is anything, damage is an error") {
  const auto text_of = [](std::string_view bytes) {
    return to_base64(std::as_bytes(std::span(bytes.data(), bytes.size())));
  };
  CHECK(Summary::parse(text_of("\x03whatever"))->may_have_port(1));
  for (const std::string& bytes :
       {std::string("\0", 1), std::string("\1", 1), std::string("\1\3", 2),
        std::string("\1\0\2", 3), std::string("\1\0\0x", 4), std::string("\1\2\0\0", 4),
        std::string("\1\2\5abc", 6), std::string("\2\2\0\0", 4), std::string("\2", 1)}) {
    const auto parsed = Summary::parse(text_of(bytes));
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind == ErrorKind::corrupt);
  }
  CHECK_FALSE(Summary::parse("not base64!"));
  SummaryBuilder builder;
  for (uint32_t i = 0; i < 40; ++i)
    builder.add(flow(v4(i * 77777777), ip("fd00::7"), static_cast<uint16_t>(i * 999), 443));
  const std::string text = builder.take().to_text();
  const std::string whole = from_base64(text).value();
  for (size_t length = 1; length < whole.size(); ++length)
    CHECK_FALSE(Summary::parse(text_of(whole.substr(0, length))));
  std::mt19937 random(9);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = whole;
    for (unsigned i = 0; i < 1 + random() % 3; ++i)
      bytes[1 + random() % (bytes.size() - 1)] = static_cast<char>(random());
    if (const auto parsed = Summary::parse(text_of(bytes)))
      (void)parsed->may_have_network(net("10.0.0.0/8"));
  }
}

TEST_CASE("sets of any shape come back") {
  std::mt19937 random(10);
  for (int round = 0; round < 300; ++round) {
    std::set<uint32_t> elements;
    const size_t count = random() % 200;
    const unsigned shift = random() % 32;
    while (elements.size() < count)
      elements.insert(static_cast<uint32_t>(random()) >>
                      (elements.size() % 7 == 0 ? 0 : shift % 24));
    if (round % 5 == 0) elements.insert({0u, UINT32_MAX});
    const std::vector<uint32_t> sorted(elements.begin(), elements.end());
    std::string bytes;
    append_set(bytes, sorted);
    SummaryReader reader(bytes);
    REQUIRE(reader.set(UINT32_MAX) == sorted);
    REQUIRE(reader.at_end());
  }
}

TEST_CASE("the short way into a summary leads where the long one does") {
  const Bytes data(40, 'x');
  std::vector<Bytes> packets;
  for (const uint16_t port : {80, 53, 4789, 8472, 6081}) {
    packets.push_back(ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 17, udp(1000, port, data))));
    packets.push_back(ethernet(0x0800, ipv4("10.0.0.3", "10.0.0.4", 6, tcp(1001, port, data))));
    packets.push_back(ethernet(0x0800, ipv4("10.0.0.5", "10.0.0.6", 17, udp(1002, port, data), 0x2000)));
    packets.push_back(ethernet(0x0800, ipv4("10.0.0.7", "10.0.0.8", 17, udp(1003, port, data), 0x2005)));
    packets.push_back(ethernet(0x0800, ipv4("10.0.0.9", "10.0.0.10", 6, tcp(1004, port), 0, Bytes(8, '\1'))));
    packets.push_back(ethernet(0x86dd, ipv6("fd00::1", "fd00::2", 6, tcp(1005, port))));
    packets.push_back(vlan(7, 0x0800, ipv4("10.0.1.1", "10.0.1.2", 6, tcp(1006, port))));
  }
  const Bytes inside = ethernet(0x0800, ipv4("10.9.0.1", "10.9.0.2", 6, tcp(7, 9)));
  packets.push_back(ethernet(0x0800, ipv4("10.0.2.1", "10.0.2.2", 17, udp(1007, 4789, vxlan(5, inside)))));
  packets.push_back(ethernet(0x0800, ipv4("10.0.2.3", "10.0.2.4", 1, icmp())));
  packets.push_back(ethernet(0x0806, arp("10.0.3.1", "10.0.3.2")));

  SummaryBuilder shorter, longer;
  const auto compare = [&](uint16_t link_type, std::span<const std::byte> packet) {
    shorter.add(link_type, packet);
    longer.add(decode(link_type, packet));
    CHECK(shorter.take().to_text() == longer.take().to_text());
  };
  for (const Bytes& packet : packets) {
    for (size_t length = 0; length <= packet.size(); ++length)
      compare(link_type::kEthernet, view(packet).first(length));
    compare(link_type::kRaw, view(packet));
    for (size_t bit = 0; bit < 8 * std::min<size_t>(packet.size(), 60); ++bit) {
      Bytes changed = packet;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
      compare(link_type::kEthernet, view(changed));
    }
  }
  // What is opaque stays so, whatever comes behind it.
  shorter.add(link_type::kEthernet, view(packets[0]).first(20));
  shorter.add(link_type::kEthernet, view(packets[0]));
  CHECK(shorter.take().may_have_address(ip("192.0.2.1")));
}
