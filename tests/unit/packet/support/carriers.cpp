#include "unit/packet/support/carriers.hpp"

namespace lookback::packet::testing {

namespace {

Bytes hex(std::string_view digits) {
  Bytes bytes;
  int half = -1;
  for (const char c : digits) {
    if (c == ' ') continue;
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    if (half >= 0) bytes += static_cast<char>(half * 16 + value);
    half = half >= 0 ? -1 : value;
  }
  return bytes;
}

Bytes zeros(size_t count) { return Bytes(count, '\0'); }
Bytes le16(size_t value) { return {static_cast<char>(value & 0xff), static_cast<char>(value >> 8)}; }

const Bytes kInner = ipv4("10.1.1.1", "10.1.1.2", 17, udp(7000, 53, "a name to ask for"));
const Bytes kInner6 = ipv6("fd00::1", "fd00::2", 17, udp(7000, 53, "a name to ask for"));
const Bytes kFrame = ethernet(0x0800, kInner);
const Bytes kSnap = hex("aaaa03 000000 0800") + kInner;
const Bytes kWlan = hex("0800 0000 020000000001 020000000002 020000000003 1000");

Bytes outer(uint8_t protocol, const Bytes& payload) {
  return ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", protocol, payload));
}
Bytes over_udp(uint16_t port, const Bytes& payload) { return outer(17, udp(40000, port, payload)); }
Bytes mpls(std::string_view labels, const Bytes& payload) { return ethernet(0x8847, hex(labels) + payload); }
Bytes gtp(std::string_view flags, const Bytes& options, const Bytes& payload) {
  return hex(flags) + hex("ff") + be16(static_cast<uint16_t>(options.size() + payload.size())) + be32(77) + options + payload;
}
Bytes radiotap(std::string_view fields, uint32_t present) {
  const Bytes rest = hex(fields);
  return zeros(2) + le16(8 + rest.size()) + le16(present & 0xffff) + le16(present >> 16) + rest;
}
Bytes subframe(const Bytes& payload) {
  Bytes one = hex("020000000002 020000000001") + be16(static_cast<uint16_t>(payload.size())) + payload;
  return one + zeros((4 - one.size() % 4) % 4);
}
Bytes attribute(uint16_t type, const Bytes& value) {
  return le16(4 + value.size()) + le16(type) + value + zeros((4 - value.size() % 4) % 4);
}

std::vector<Carrier> made() {
  const Bytes segment = ipv4("10.1.1.1", "10.1.1.2", 6, tcp(1000, 80, "text"));
  const Bytes extension = hex("3c00 0000 00000000");
  return {
      // Tags and labels.
      {"plain", 1, kFrame},
      {"802.1Q", 1, ethernet(0x8100, vlan(5, 0x0800, kInner))},
      {"802.1ad", 1, ethernet(0x88a8, vlan(5, 0x8100, vlan(6, 0x0800, kInner)))},
      {"old QinQ", 1, ethernet(0x9100, vlan(5, 0x8100, vlan(6, 0x0800, kInner)))},
      {"SNAP", 1, ethernet(static_cast<uint16_t>(kSnap.size()), kSnap)},
      {"SNAP behind a tag", 1, ethernet(0x8100, vlan(5, static_cast<uint16_t>(kSnap.size()), kSnap))},
      {"SNAP of 802.1H", 1, ethernet(40, hex("aaaa03 0000f8 0800") + kInner), "10.1.1.1", false},
      {"IP on 802.2", 1, ethernet(static_cast<uint16_t>(3 + kInner.size()), hex("060603") + kInner)},
      {"MPLS", 1, mpls("00010140", kInner)},
      {"two labels", 1, mpls("00010040 00011140", kInner)},
      {"MPLS, IPv6", 1, mpls("00010140", kInner6), "fd00::1"},
      {"pseudowire with a control word", 1, mpls("00010140 00000000", kFrame), "10.1.1.1", false},
      {"PPPoE", 1, ethernet(0x8864, hex("1100 0001") + be16(static_cast<uint16_t>(2 + kInner.size())) + hex("0021") + kInner)},
      {"PPPoE, IPv6", 1,
       ethernet(0x8864, hex("1100 0001") + be16(static_cast<uint16_t>(2 + kInner6.size())) + hex("0057") + kInner6), "fd00::1"},
      {"802.1ah", 1, ethernet(0x88e7, hex("00000005") + kFrame)},
      {"802.1ah in a tag", 1, ethernet(0x88a8, vlan(5, 0x88e7, hex("00000005") + kFrame))},
      {"VN-Tag", 1, ethernet(0x8926, hex("00010002 0800") + kInner)},
      {"802.1BR", 1, ethernet(0x893f, hex("e0000001 0000 0800") + kInner), "10.1.1.1", false},
      {"MACsec, signed only", 1, ethernet(0x88e5, hex("2000 00000001 0200000000010001 0800") + kInner + zeros(16))},
      {"TRILL", 1, ethernet(0x22f3, hex("0006 0001 0002") + kFrame)},
      {"TrustSec", 1, ethernet(0x8909, hex("0101 0001 0005 0800") + kInner)},
      {"NSH", 1, ethernet(0x894f, hex("0fc6 0103 00000a ff") + zeros(16) + kFrame)},
      // Tunnels over IP.
      {"IP in IP", 1, outer(4, kInner)},
      {"IP in IPv6", 1, ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 4, kInner))},
      {"IPv6 in IP", 1, outer(41, kInner6), "fd00::1"},
      {"IPv6 in IPv6", 1, ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 41, kInner6)), "fd00::1"},
      {"6in4 and back", 1, outer(41, ipv6("fd00::1", "fd00::2", 4, kInner))},
      {"GRE", 1, outer(47, gre(0x0800, kInner))},
      {"GRE with all fields", 1, outer(47, gre(0x0800, kInner, 0xb000))},
      {"GRE, bridged", 1, outer(47, gre(0x6558, kFrame))},
      {"GRE over IPv6", 1, ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 47, gre(0x86dd, kInner6))), "fd00::1"},
      {"GRE, MPLS", 1, outer(47, gre(0x8847, hex("00010140") + kInner))},
      {"GRE, PPTP", 1,
       outer(47, hex("3081 880b") + be16(static_cast<uint16_t>(4 + kInner.size())) + hex("0001 00000001 00000001 ff03 0021") +
                     kInner)},
      {"WCCP", 1, outer(47, gre(0x883e, hex("00000000") + kInner))},
      {"ERSPAN I", 1, outer(47, gre(0x88be, kFrame))},
      {"ERSPAN II", 1, outer(47, gre(0x88be, hex("1005 0001 00000000") + kFrame, 0x1000))},
      {"ERSPAN III", 1, outer(47, gre(0x22eb, hex("2005 0001 00000000 0000 0000") + kFrame, 0x1000))},
      {"ERSPAN III with a subheader", 1,
       outer(47, gre(0x22eb, hex("2005 0001 00000000 0000 0001 0000000000000000") + kFrame, 0x1000))},
      {"EtherIP", 1, outer(97, hex("3000") + kFrame)},
      {"MPLS in IP", 1, outer(137, hex("00010140") + kInner)},
      {"L2TPv3", 1, outer(115, hex("00000005 00000000") + kFrame), "10.1.1.1", false},
      {"PIM register", 1, outer(103, hex("2100 0000 00000000") + kInner)},
      {"Ethernet of SRv6", 1, ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 143, kFrame)), "10.1.1.1", false},
      {"minimal encapsulation", 1, outer(55, hex("1180 0000") + address("10.1.1.2") + address("10.1.1.1") + zeros(16)),
       "10.1.1.1", false},
      {"signed IP in IP", 1, outer(51, hex("0404 0000 00000001 00000001 000000000000000000000000") + kInner)},
      {"behind extension headers", 1,
       ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 0, extension + hex("0400 0000 00000000") + kInner))},
      // Tunnels over UDP.
      {"VXLAN", 1, over_udp(4789, vxlan(5, kFrame))},
      {"VXLAN on 8472", 1, over_udp(8472, vxlan(5, kFrame)), "10.1.1.1", false},
      {"VXLAN on another port", 1, over_udp(14789, vxlan(5, kFrame)), "10.1.1.1", false},
      {"VXLAN over IPv6", 1, ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 17, udp(40000, 4789, vxlan(5, kFrame))))},
      {"VXLAN with a tag inside", 1, over_udp(4789, vxlan(5, ethernet(0x8100, vlan(7, 0x0800, kInner))))},
      {"VXLAN-GPE", 1, over_udp(4790, hex("0c000001 00000500") + kInner)},
      {"VXLAN-GPE, NSH", 1, over_udp(4790, hex("0c000004 00000500 0fc6 0103 00000a ff") + zeros(16) + kFrame)},
      {"Geneve", 1, over_udp(6081, geneve(0x6558, kFrame))},
      {"Geneve with options", 1, over_udp(6081, geneve(0x6558, kFrame, 2))},
      {"Geneve, IP", 1, over_udp(6081, geneve(0x0800, kInner))},
      {"Geneve on another port", 1, over_udp(16081, geneve(0x6558, kFrame)), "10.1.1.1", false},
      {"GTP", 1, over_udp(2152, gtp("30", "", kInner))},
      {"GTP, IPv6", 1, over_udp(2152, gtp("30", "", kInner6)), "fd00::1"},
      {"GTP with a session container", 1, over_udp(2152, gtp("34", hex("00000085 01 1005 00"), kInner))},
      {"GTP, answered", 1, outer(17, udp(2152, 40000, gtp("30", "", kInner)))},
      {"L2TPv2", 1, over_udp(1701, hex("0002 0001 0002 ff03 0021") + kInner)},
      {"L2TPv2 with all fields", 1,
       over_udp(1701, hex("4a02") + be16(static_cast<uint16_t>(18 + kInner.size())) +
                          hex("0001 0002 0003 0004 0002 0000 ff03 0021") + kInner)},
      {"L2TPv3 over UDP", 1, over_udp(1701, hex("0003 0000 00000005 00000000") + kFrame), "10.1.1.1", false},
      {"Teredo", 1, over_udp(3544, kInner6), "fd00::1"},
      {"Teredo with its origin", 1, over_udp(3544, hex("0000 1234 01020304") + kInner6), "fd00::1"},
      {"MPLS over UDP", 1, over_udp(6635, hex("00010140") + kInner)},
      {"GRE over UDP", 1, over_udp(4754, gre(0x0800, kInner)), "10.1.1.1", false},
      {"LISP", 1, over_udp(4341, hex("80000001 00000001") + kInner)},
      {"LISP control", 1, over_udp(4342, hex("80000000") + ipv4("10.1.1.1", "10.1.1.2", 17, udp(4342, 4342, zeros(24)))),
       "10.1.1.1", false},
      {"TZSP", 1, over_udp(37008, hex("0100 0001 01") + kFrame)},
      {"TZSP of a radio", 1, over_udp(37008, hex("0100 0012 0a01c0 01") + kWlan + kSnap)},
      // Quoted.
      {"ICMP unreachable", 1, outer(1, hex("0303 0000 00000000") + kInner)},
      {"ICMP time exceeded, eight bytes", 1, outer(1, hex("0b00 0000 00000000") + segment.substr(0, 28))},
      {"ICMP unreachable of a tunnel", 1,
       outer(1, hex("0303 0000 00000000") + ipv4("192.0.2.3", "192.0.2.4", 17, udp(1, 4789, vxlan(5, kFrame))))},
      {"ICMPv6 too big", 1,
       ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 58, hex("0200 0000 000005dc") + kInner6)), "fd00::1"},
      {"ICMPv6 redirect", 1,
       ethernet(0x86dd, ipv6("2001:db8::1", "2001:db8::2", 58,
                             hex("8900 0000 00000000") + zeros(32) + hex("040a 0000 00000000") + kInner6 + zeros(7))),
       "fd00::1"},
      // Link types.
      {"BSD loopback", 0, hex("02000000") + kInner},
      {"BSD loopback, the other order", 0, hex("00000002") + kInner},
      {"BSD loopback, IPv6", 0, hex("1e000000") + kInner6, "fd00::1"},
      {"OpenBSD loopback", 108, hex("00000018") + kInner6, "fd00::1"},
      {"raw IP", 101, kInner},
      {"IPv4", 228, kInner},
      {"IPv6", 229, kInner6, "fd00::1"},
      {"cooked v1", 113, zeros(14) + hex("0800") + kInner},
      {"cooked v1, tagged", 113, zeros(14) + hex("8100 0005 0800") + kInner},
      {"cooked v2", 276, hex("0800") + zeros(18) + kInner},
      {"PPP", 9, hex("0021") + kInner},
      {"PPP with address and control", 9, hex("ff03 0021") + kInner},
      {"PPP with a short protocol", 9, hex("ff03 21") + kInner},
      {"PPP in HDLC", 50, hex("ff03 0057") + kInner6, "fd00::1"},
      {"PPP of Cisco", 50, hex("0f00 0800") + kInner},
      {"PPP with its direction", 204, hex("00 ff03 0021") + kInner},
      {"pppd", 166, hex("0103 0021") + kInner, "10.1.1.1", false},
      {"PPPoE alone", 51, hex("1100 0001") + be16(static_cast<uint16_t>(2 + kInner.size())) + hex("0021") + kInner},
      {"Cisco HDLC", 104, hex("0f00 0800") + kInner},
      {"Cisco HDLC with its direction", 205, hex("00 0f00 0800") + kInner, "10.1.1.1", false},
      {"frame relay", 107, hex("1841 03 cc") + kInner},
      {"frame relay, SNAP", 107, hex("1841 03 00 80 000000 0800") + kInner},
      {"frame relay with its direction", 206, hex("00 1841 03 cc") + kInner, "10.1.1.1", false},
      {"802.11", 105, kWlan + kSnap},
      {"802.11 with quality of service", 105, hex("8800") + kWlan.substr(2) + hex("0000") + kSnap},
      {"802.11 between access points", 105, hex("0803") + kWlan.substr(2) + hex("020000000004") + kSnap},
      {"802.11, aggregated", 105, hex("8800") + kWlan.substr(2) + hex("8000") +
           subframe(hex("aaaa03 000000 0800") + ipv4("10.2.2.1", "10.2.2.2", 17, udp(1, 53, "another name"))) + subframe(kSnap), "10.1.1.1", false},
      {"radiotap", 127, radiotap("", 0) + kWlan + kSnap},
      {"radiotap with a padded header", 127, radiotap("20", 2) + hex("8800") + kWlan.substr(2) + hex("0000 0000") + kSnap},
      {"radiotap with a timer", 127, radiotap("0000000000000000 00", 3) + kWlan + kSnap},
      {"Prism", 119, hex("00000044 00000090") + zeros(136) + kWlan + kSnap},
      {"AVS", 163, hex("80211001 00000040") + zeros(56) + kWlan + kSnap},
      {"AVS under Prism's number", 119, hex("80211001 00000040") + zeros(56) + kWlan + kSnap},
      {"per-packet information", 192, hex("0000 0800 69000000") + kWlan + kSnap},
      {"FDDI", 10, hex("50") + hex("020000000001 020000000002") + kSnap},
      {"token ring", 6, hex("1040 020000000001 020000000002") + kSnap},
      {"token ring, source-routed", 6, hex("1040 020000000001 820000000002 0600 0011 0020") + kSnap},
      {"ATM", 100, kSnap},
      {"ATM without a header", 100, kInner, "10.1.1.1", false},
      {"SunATM", 123, hex("02 00 0064") + kSnap},
      {"IP over Fibre Channel", 122, zeros(16) + kSnap},
      {"IP over InfiniBand", 242, zeros(40) + hex("0800 0000") + kInner},
      {"FireWire", 138, zeros(16) + hex("0800") + kInner},
      {"ARCNET", 7, hex("0102 d4 00 0001") + kInner, "10.1.1.1", false},
      {"NFLOG", 239, hex("02 00 0000") + attribute(1, hex("0800 03 00")) + attribute(10, Bytes("prefix\0", 7)) + attribute(9, kInner)},
      {"NFLOG, IPv6", 239, hex("0a 00 0000") + attribute(9, kInner6), "fd00::1"},
      {"PFLOG", 117, hex("3d 02 00 00") + zeros(60) + kInner},
      {"netANALYZER", 240, zeros(4) + kFrame + zeros(4), "10.1.1.1", false},
      {"mPackets", 274, hex("55555555555555d5") + kFrame + zeros(4), "10.1.1.1", false},
      {"MPLS alone", 219, hex("00010140") + kInner, "10.1.1.1", false},
      {"a switch chip's tag", 282, hex("00000001") + kFrame, "10.1.1.1", false},
      {"PKTAP", 258, hex("6c000000 01000000 01000000") + zeros(96) + kFrame, "10.1.1.1", false},
  };
}

}  // namespace

const std::vector<Carrier>& carriers() {
  static const std::vector<Carrier> all = made();
  return all;
}

}  // namespace lookback::packet::testing
