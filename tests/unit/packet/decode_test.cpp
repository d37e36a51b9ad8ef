#include "lookback/packet/decode.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "unit/packet/support/build.hpp"

using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {
Headers decode_ethernet(const Bytes& frame) {
  return decode(link_type::kEthernet, view(frame));
}
IpAddress ip(const char* text) {
  return IpAddress::parse(text).value();
}
}  // namespace

TEST_CASE("a plain TCP segment") {
  const Bytes frame = ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 6, tcp(40000, 80, "GET /")));
  const Headers headers = decode_ethernet(frame);
  CHECK(headers.ether_type == 0x0800);
  CHECK(headers.network_offset == 14);
  CHECK_FALSE(headers.opaque);
  REQUIRE(headers.ip_count == 1);
  const IpLayer& layer = headers.ip[0];
  CHECK(layer.source == ip("10.0.0.1"));
  CHECK(layer.destination == ip("10.0.0.2"));
  CHECK(layer.protocol == 6);
  CHECK(layer.has_ports);
  CHECK(layer.source_port == 40000);
  CHECK(layer.destination_port == 80);
  CHECK(layer.transport_offset == 34);
  CHECK(layer.payload_end == frame.size());
  const auto segment = decode_tcp(layer, view(frame));
  REQUIRE(segment);
  CHECK(segment->sequence == 1000);
  CHECK(segment->acknowledgment == 2000);
  CHECK(segment->flags == 0x18);
  CHECK(segment->window == 4096);
  CHECK(segment->payload_offset == 54);
  CHECK(segment->payload_length == 5);
  // Padding behind the datagram is not payload, a cut packet still has its length.
  const Bytes padded =
      ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 2))) + Bytes(6, '\0');
  const Headers padded_headers = decode_ethernet(padded);
  CHECK(decode_tcp(padded_headers.ip[0], view(padded))->payload_length == 0);
  const Bytes cut = frame.substr(0, 54);
  const Headers cut_headers = decode_ethernet(cut);
  CHECK(decode_tcp(cut_headers.ip[0], view(cut))->payload_length == 5);
  const Bytes shorter = frame.substr(0, 53);
  CHECK_FALSE(decode_tcp(decode_ethernet(shorter).ip[0], view(shorter)));
}

TEST_CASE("VLAN tags and SNAP are stepped over") {
  const Bytes inner = ipv4("1.1.1.1", "2.2.2.2", 17, udp(53, 5353));
  const Bytes frame = ethernet(0x88a8, vlan(100, 0x8100, vlan(0x2007, 0x0800, inner)));
  const Headers headers = decode_ethernet(frame);
  CHECK(headers.vlan_count == 2);
  CHECK(headers.vlan_ids[0] == 100);
  CHECK(headers.vlan_ids[1] == 7);
  CHECK(headers.network_offset == 22);
  CHECK(headers.ether_type == 0x0800);
  REQUIRE(headers.ip_count == 1);
  CHECK(headers.ip[0].source_port == 53);
  const Bytes snap = ethernet(60, Bytes("\xaa\xaa\x03\0\0\0", 6) + be16(0x0800) + inner);
  CHECK(decode_ethernet(snap).ip_count == 1);
  CHECK_FALSE(decode_ethernet(snap).opaque);
  const Bytes stp = ethernet(38, Bytes("\x42\x42\x03", 3) + Bytes(35, '\0'));
  CHECK(decode_ethernet(stp).ip_count == 0);
  CHECK_FALSE(decode_ethernet(stp).opaque);
  Bytes many = inner;
  for (int i = 0; i < 9; ++i) many = vlan(1, i == 0 ? 0x0800 : 0x8100, many);
  CHECK(decode_ethernet(ethernet(0x8100, many)).opaque);
}

TEST_CASE("IPv6 extension headers lead to the transport") {
  const Bytes hop(8, '\0');
  Bytes options = hop;
  options[0] = 43;  // routing
  Bytes routing(24, '\0');
  routing[0] = 51;  // AH
  routing[1] = 2;
  Bytes ah(24, '\0');
  ah[0] = 60;
  ah[1] = 4;
  Bytes destination(8, '\0');
  destination[0] = 6;
  const Bytes frame = ethernet(
      0x86dd, ipv6("fd00::1", "fd00::2", 0, options + routing + ah + destination + tcp(1, 443)));
  const Headers headers = decode_ethernet(frame);
  REQUIRE(headers.ip_count == 1);
  CHECK(headers.ip[0].v6);
  CHECK(headers.ip[0].protocol == 6);
  CHECK(headers.ip[0].destination_port == 443);
  CHECK(headers.ip[0].source == ip("fd00::1"));
  CHECK_FALSE(headers.opaque);
}

TEST_CASE("only the first fragment has ports") {
  const Bytes first = ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 17, udp(53, 99), 0x2000));
  CHECK(decode_ethernet(first).ip[0].has_ports);
  CHECK(decode_ethernet(first).ip[0].more_fragments);
  const Bytes later = ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 17, udp(53, 99), 0x2001));
  CHECK_FALSE(decode_ethernet(later).ip[0].has_ports);
  CHECK(decode_ethernet(later).ip[0].fragment);
  CHECK_FALSE(decode_ethernet(later).opaque);
  const auto fragment_header = [](uint16_t field) {
    return Bytes("\x11\0", 2) + be16(field) + be32(7) + udp(53, 99);
  };
  CHECK(decode_ethernet(ethernet(0x86dd, ipv6("::1", "::2", 44, fragment_header(1))))
            .ip[0]
            .source_port == 53);
  const Headers v6_later =
      decode_ethernet(ethernet(0x86dd, ipv6("::1", "::2", 44, fragment_header(8))));
  CHECK(v6_later.ip[0].fragment);
  CHECK(v6_later.ip[0].protocol == 17);
  CHECK_FALSE(v6_later.ip[0].has_ports);
  CHECK(v6_later.ip[0].transport_offset == 0);
}

TEST_CASE("tunnels are opened") {
  const Bytes inner = ipv4("10.9.0.1", "10.9.0.2", 6, tcp(1, 8080));
  const auto inner_is_found = [&](const Bytes& frame) {
    const Headers headers = decode_ethernet(frame);
    return headers.ip_count == 2 && headers.ip[1].source == ip("10.9.0.1") &&
           headers.ip[1].destination_port == 8080 && !headers.opaque &&
           decode_tcp(headers.ip[1], view(frame));
  };
  const auto outer = [](uint8_t protocol, const Bytes& payload) {
    return ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", protocol, payload));
  };
  CHECK(inner_is_found(outer(4, inner)));
  CHECK(inner_is_found(outer(47, gre(0x0800, inner))));
  CHECK(inner_is_found(outer(47, gre(0x0800, inner, 0xb000))));
  CHECK(inner_is_found(outer(47, gre(0x6558, ethernet(0x8100, vlan(3, 0x0800, inner))))));
  CHECK(inner_is_found(outer(17, udp(999, 4789, vxlan(5, ethernet(0x0800, inner))))));
  CHECK(inner_is_found(outer(17, udp(999, 8472, vxlan(5, ethernet(0x0800, inner))))));
  CHECK(inner_is_found(outer(17, udp(999, 6081, geneve(0x6558, ethernet(0x0800, inner), 3)))));
  CHECK(inner_is_found(outer(17, udp(999, 6081, geneve(0x0800, inner)))));
  CHECK(inner_is_found(ethernet(0x86dd, ipv6("fd00::1", "fd00::2", 4, inner))));
  const Headers six = decode_ethernet(outer(41, ipv6("fd00::1", "fd00::2", 58, icmp())));
  CHECK(six.ip_count == 2);
  CHECK(six.ip[1].v6);
  // Inner tags do not count as the frame's.
  CHECK(decode_ethernet(outer(47, gre(0x6558, ethernet(0x8100, vlan(3, 0x0800, inner)))))
            .vlan_count == 0);
  Bytes deep = inner;
  for (int i = 0; i < 4; ++i) deep = ipv4("1.1.1.1", "2.2.2.2", 4, deep);
  const Headers headers = decode_ethernet(ethernet(0x0800, deep));
  CHECK(headers.ip_count == 4);
  CHECK(headers.unread == Unread::nesting);
}

TEST_CASE("what is not followed is opaque, what needs no following is not") {
  for (const uint16_t ether_type : {0x8847, 0x8848, 0x8864, 0x1234}) {
    CAPTURE(ether_type);
    CHECK(decode_ethernet(ethernet(ether_type, Bytes(60, '\0'))).opaque);
  }
  for (const uint16_t ether_type : {0x88cc, 0x8809, 0x888e, 0x8863}) {
    CAPTURE(ether_type);
    CHECK_FALSE(decode_ethernet(ethernet(ether_type, Bytes(60, '\0'))).opaque);
  }
  CHECK(decode(9, view(Bytes(60, '\0'))).opaque);
  CHECK(decode_ethernet(ethernet(0x0800, Bytes(40, '\x11'))).opaque);  // not version 4
  const auto unread = [](uint8_t protocol, const Bytes& payload) {
    const Headers headers = decode_ethernet(ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", protocol, payload)));
    CHECK_FALSE(headers.opaque);  // a filter expression sees the outer header alone
    return headers.unread;
  };
  CHECK(unread(47, gre(0x1234, Bytes(40, '\0'))) == Unread::protocol);
  CHECK(unread(253, Bytes(40, '\0')) == Unread::protocol);
  CHECK(unread(50, Bytes(30, 'x')) == Unread::encrypted);
  CHECK(unread(17, udp(500, 4500, Bytes(30, 'x'))) == Unread::encrypted);
  CHECK(unread(17, udp(4500, 4500, Bytes(30, '\0'))) == Unread::nothing);
  CHECK(unread(17, udp(999, 51820, Bytes("\4\0\0\0", 4) + Bytes(60, 'x'))) == Unread::encrypted);
  CHECK(unread(17, udp(999, 9999, Bytes("\4\0\0\0", 4) + Bytes(60, 'x'))) == Unread::encrypted);
  CHECK(unread(17, udp(999, 53, Bytes(60, 'x'))) == Unread::nothing);
  CHECK(unread(1, icmp()) == Unread::nothing);
  CHECK_FALSE(decode_ethernet(ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 1, icmp()))).opaque);
  CHECK_FALSE(
      decode_ethernet(ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 50, Bytes(30, 'x')))).opaque);
}

TEST_CASE("ARP has its addresses") {
  const Headers headers = decode_ethernet(ethernet(0x0806, arp("10.0.0.1", "10.0.0.9")));
  CHECK(headers.arp);
  CHECK(headers.arp_sender == ip("10.0.0.1"));
  CHECK(headers.arp_target == ip("10.0.0.9"));
  CHECK_FALSE(headers.opaque);
  const Headers cut = decode_ethernet(ethernet(0x0806, arp("10.0.0.1", "10.0.0.9")).substr(0, 40));
  CHECK(cut.arp_sender == ip("10.0.0.1"));
  CHECK(cut.opaque);
}

TEST_CASE("link types other than Ethernet") {
  const Bytes inner4 = ipv4("1.1.1.1", "2.2.2.2", 17, udp(53, 54));
  const Bytes inner6 = ipv6("::1", "::2", 17, udp(53, 54));
  struct Row {
    uint16_t link_type;
    Bytes front;
    const Bytes& inner;
    uint16_t ether_type;
  };
  const Row rows[] = {{link_type::kRaw, "", inner4, 0},
                      {link_type::kRaw, "", inner6, 0},
                      {link_type::kIpv4, "", inner4, 0},
                      {link_type::kIpv6, "", inner6, 0},
                      {link_type::kNull, Bytes("\2\0\0\0", 4), inner4, 0},
                      {link_type::kNull, Bytes("\0\0\0\x1e", 4), inner6, 0},
                      {link_type::kLoop, Bytes("\0\0\0\2", 4), inner4, 0},
                      {link_type::kLinuxSll, Bytes(14, '\0') + be16(0x0800), inner4, 0x0800},
                      {link_type::kLinuxSll,
                       Bytes(14, '\0') + be16(0x8100) + be16(5) + be16(0x86dd), inner6, 0x86dd},
                      {link_type::kLinuxSll2, be16(0x86dd) + Bytes(18, '\0'), inner6, 0x86dd}};
  for (const Row& row : rows) {
    CAPTURE(row.link_type);
    const Headers headers = decode(row.link_type, view(row.front + row.inner));
    REQUIRE(headers.ip_count == 1);
    CHECK(headers.ip[0].destination_port == 54);
    CHECK(headers.ip[0].ip_offset == row.front.size());
    CHECK(headers.ether_type == row.ether_type);
    CHECK_FALSE(headers.opaque);
  }
}

TEST_CASE("a packet cut anywhere is opaque or whole, never read past its end") {
  const Bytes inner = ethernet(0x8100, vlan(3, 0x86dd, ipv6("fd00::1", "fd00::2", 6, tcp(1, 2))));
  const Bytes frame = ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 17, udp(1, 4789, vxlan(1, inner)),
                                            0, Bytes("\1\1\1\0", 4)));
  const size_t ports_end = frame.size() - 16;  // the rest of the TCP header
  for (size_t length = 0; length <= frame.size(); ++length) {
    CAPTURE(length);
    const auto copy = std::make_unique<char[]>(length);
    std::copy_n(frame.data(), length, copy.get());
    const Headers headers =
        decode(link_type::kEthernet, std::as_bytes(std::span<const char>(copy.get(), length)));
    CHECK((headers.opaque || headers.unread == Unread::cut) == (length < ports_end));
    if (length >= ports_end) CHECK(headers.ip_count == 2);
  }
}

TEST_CASE("random bytes decode to something on every link type") {
  std::mt19937 random(2);
  const Bytes frame =
      ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 47,
                            gre(0x6558, ethernet(0x86dd, ipv6("fd00::1", "fd00::2", 44,
                                                              Bytes(8, '\0') + tcp(1, 2))))));
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes = frame.substr(0, random() % (frame.size() + 1));
    for (size_t i = 0; i < 3 && !bytes.empty(); ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    for (uint16_t type = 0; type < 300; ++type) {
      const Headers headers = decode(type, view(bytes));
      REQUIRE(headers.ip_count <= 4);
      for (size_t i = 0; i < headers.ip_count; ++i) (void)decode_tcp(headers.ip[i], view(bytes));
    }
  }
}
