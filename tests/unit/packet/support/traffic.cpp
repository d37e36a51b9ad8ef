#include "unit/packet/support/traffic.hpp"

namespace lookback::packet::testing {

namespace {
const char* const kV4[] = {"10.0.0.1",    "10.0.0.2",      "10.1.2.3",
                           "192.168.1.1", "192.168.1.200", "8.8.8.8"};
const char* const kV6[] = {"fd00::1", "fd00::2", "2001:db8::1", "fe80::1"};
const uint16_t kPorts[] = {53, 80, 443, 8080, 6379, 40000, 4789, 6081};
template <class T, size_t N>
size_t count(const T (&)[N]) {
  return N;
}
}  // namespace

const char* Traffic::v4() {
  return kV4[below(count(kV4))];
}
const char* Traffic::v6() {
  return kV6[below(count(kV6))];
}
uint16_t Traffic::port() {
  return kPorts[below(count(kPorts))];
}

Bytes Traffic::transport(uint8_t& protocol, int depth) {
  switch (below(depth < 3 ? 13 : 7)) {
    case 0:
    case 1:
    case 2:
      protocol = 6;
      return tcp(port(), port(), Bytes(below(40), 'd'), static_cast<uint8_t>(below(256)));
    case 3:
    case 4:
      protocol = 17;
      return udp(port(), port(), Bytes(below(40), 'd'));
    case 5:
      protocol = 132;
      return sctp(port(), port());
    case 6:
      protocol = one_in(2) ? 1 : 58;
      return icmp();
    case 7:
      protocol = 4;
      return ip(false, depth + 1);
    case 8:
      protocol = 41;
      return ip(true, depth + 1);
    case 9: {
      protocol = 47;
      uint16_t ether_type = 0;
      const Bytes inside = ethernet_payload(ether_type, depth + 1);
      const uint16_t flags = one_in(2) ? 0 : static_cast<uint16_t>(below(16) << 12);
      return one_in(2) ? gre(0x6558, ethernet(ether_type, inside), flags)
                       : gre(ether_type, inside, flags);
    }
    case 10:
    case 11: {
      protocol = 17;
      uint16_t ether_type = 0;
      const Bytes inside = ethernet(0, "").substr(0, 12);
      const Bytes payload = ethernet_payload(ether_type, depth + 1);
      const Bytes frame = inside + be16(ether_type) + payload;
      return one_in(2) ? udp(port(), 4789, vxlan(below(100), frame))
                       : udp(port(), 6081, geneve(0x6558, frame, static_cast<uint8_t>(below(4))));
    }
    default:
      protocol = static_cast<uint8_t>(random_());
      return Bytes(below(60), static_cast<char>(random_()));
  }
}

Bytes Traffic::ip(bool six, int depth) {
  uint8_t protocol = 0;
  Bytes payload = transport(protocol, depth);
  if (!six) {
    const uint16_t fragment =
        one_in(5) ? static_cast<uint16_t>(one_in(2) ? 0x2000 : below(0x4000)) : 0;
    const Bytes options(one_in(6) ? 4 * (1 + below(10)) : 0, '\1');
    return ipv4(v4(), v4(), protocol, payload, fragment, options);
  }
  while (one_in(4)) {
    static const uint8_t kExtensions[] = {0, 43, 60, 51, 44};
    const uint8_t kind = kExtensions[below(count(kExtensions))];
    Bytes header(kind == 44 ? 8 : 8 * (1 + below(3)), '\0');
    header[0] = static_cast<char>(protocol);
    if (kind == 44) {
      const Bytes field = be16(static_cast<uint16_t>(one_in(2) ? 1 : below(64)));
      header.replace(2, 2, field);
    } else {
      header[1] = static_cast<char>(kind == 51 ? header.size() / 4 - 2 : header.size() / 8 - 1);
    }
    payload = header + payload;
    protocol = kind;
  }
  return ipv6(v6(), v6(), protocol, payload);
}

Bytes Traffic::ethernet_payload(uint16_t& ether_type, int depth) {
  switch (below(16)) {
    case 0:
      ether_type = one_in(3) ? 0x8035 : 0x0806;
      return arp(v4(), v4());
    case 1:
      ether_type = static_cast<uint16_t>(38 + below(20));
      return Bytes("\x42\x42\x03", 3) + Bytes(40, '\0');
    case 2:
      ether_type = static_cast<uint16_t>(60 + below(20));
      return Bytes("\xaa\xaa\x03\0\0\0", 6) + be16(0x0800) + ip(false, depth);
    case 3:
    case 4: {
      const Bytes inside = ethernet_payload(ether_type, depth);
      const Bytes tagged = vlan(static_cast<uint16_t>(below(6)), ether_type, inside);
      ether_type = one_in(3) ? 0x88a8 : 0x8100;
      return tagged;
    }
    case 5: {
      ether_type = 0x8847;
      Bytes labels;
      while (one_in(3)) labels += be32(0x00010040);
      return labels + be32(0x00064140) + ip(one_in(3), depth);
    }
    case 6:
      ether_type = 0x8864;
      return be32(0x11000001) + be16(50) + be16(0x0021) + ip(false, depth);
    case 7:
      ether_type = static_cast<uint16_t>(random_());
      return Bytes(below(60), static_cast<char>(random_()));
    case 8:
    case 9:
    case 10:
      ether_type = 0x86dd;
      return ip(true, depth);
    default:
      ether_type = 0x0800;
      return ip(false, depth);
  }
}

RandomPacket Traffic::packet(uint16_t link_type) {
  uint16_t ether_type = 0;
  RandomPacket packet;
  const bool six = one_in(3);
  switch (link_type) {
    case 1: {
      const Bytes payload = ethernet_payload(ether_type, 0);
      packet.data = ethernet(ether_type, payload);
      if (one_in(4)) packet.data.resize(std::max<size_t>(packet.data.size(), 60));
      break;
    }
    case 113: {
      const Bytes payload = ethernet_payload(ether_type, 0);
      packet.data = be16(static_cast<uint16_t>(below(5))) + be16(1) + be16(6) + Bytes(8, '\2') +
                    be16(ether_type) + payload;
      break;
    }
    case 276: {
      const Bytes payload = ethernet_payload(ether_type, 0);
      packet.data = be16(ether_type) + be16(0) + be32(1 + below(3)) + be16(1) +
                    Bytes(1, static_cast<char>(below(5))) + Bytes(1, '\6') + Bytes(8, '\2') +
                    payload;
      break;
    }
    case 0:
      packet.data = Bytes(1, six ? '\x0a' : '\2') + Bytes(3, '\0') + ip(six, 0);
      break;
    default:
      packet.data = ip(six, 0);
      break;
  }
  packet.original_length = static_cast<uint32_t>(packet.data.size());
  if (one_in(8)) packet.data.resize(below(static_cast<unsigned>(packet.data.size()) + 1));
  if (one_in(8)) {
    for (unsigned i = 0; i < 1 + below(3) && !packet.data.empty(); ++i)
      packet.data[below(static_cast<unsigned>(packet.data.size()))] = static_cast<char>(random_());
  }
  return packet;
}

std::string Traffic::primitive() {
  static const char* const kDirections[] = {"", "src ", "dst ", "src or dst ", "src and dst "};
  const std::string direction = kDirections[one_in(2) ? 0 : below(5)];
  static const char* const kFamilies[] = {"", "", "", "ip ", "ip6 ", "arp ", "rarp "};
  static const char* const kTransports[] = {"", "", "tcp ", "udp ", "sctp "};
  const std::string some_port = std::to_string(port());
  switch (below(20)) {
    case 0:
    case 1:
    case 2:
      return kFamilies[below(7)] + direction + "host " + v4();
    case 3:
      return kFamilies[below(7)] + direction + "host " + v6();
    case 4:
      return direction + (one_in(2) ? "net 10.0.0.0/8" : "net 192.168.1");
    case 5:
      return direction + (one_in(2) ? "net fd00::/8" : "net 10.1.2.0 mask 255.255.255.0");
    case 6:
    case 7:
    case 8:
      return kTransports[below(5)] + direction + "port " + some_port;
    case 9:
      return kTransports[below(5)] + direction + "portrange " + some_port + "-" +
             std::to_string(port());
    case 10:
      return direction.empty() ? std::string(v4()) : direction + v4();
    case 11: {
      static const char* const kWords[] = {"tcp",  "udp",  "icmp",  "ip", "ip6", "arp",
                                           "rarp", "sctp", "icmp6", "ah", "igmp"};
      return kWords[below(11)];
    }
    case 12: {
      static const char* const kOdd[] = {
          "vlan",   "vlan 3",    "mpls",      "mpls 100",        "pppoes",
          "geneve", "multicast", "broadcast", "ether broadcast", "ip multicast"};
      return kOdd[below(10)];
    }
    case 13: {
      static const char* const kBytes[] = {
          "ip[9] == 6",           "tcp[13] & 2 != 0",
          "ether[12:2] = 0x0800", "len > 60",
          "greater 80",           "less 100",
          "ip[2:2] + 14 < len",   "ip6[6] = 17",
          "udp[4:2] & 1 = 0",     "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0"};
      return kBytes[below(10)];
    }
    case 14:
      return one_in(2) ? "ip proto 17" : "proto 6";
    case 15:
      return one_in(2) ? "ether host 02:00:00:00:00:01" : "ether proto 0x0806";
    case 16:
      return one_in(2) ? "ip6 protochain 6" : "ip protochain 17";
    case 17:
      return direction + "port " + some_port + (one_in(2) ? " or " : " and ") +
             std::to_string(port());
    case 18:
      return direction + "host " + v4() + (one_in(2) ? " or " : " and ") +
             (one_in(3) ? "not " : "") + v4();
    default:
      return direction + "port " + some_port + " or host " + v4();
  }
}

std::string Traffic::expression(int depth) {
  std::string text = one_in(5) ? (one_in(2) ? "not " : "! ") : "";
  text += depth < 3 && one_in(4) ? "(" + expression(depth + 1) + ")" : primitive();
  while (one_in(2)) {
    static const char* const kJoins[] = {" and ", " or ", " && ", " || ", " and ", " or "};
    text += kJoins[below(6)];
    if (one_in(6)) text += one_in(2) ? "not " : "!";
    text += depth < 3 && one_in(4) ? "(" + expression(depth + 1) + ")" : primitive();
  }
  return text;
}

std::string Traffic::expression() {
  return expression(0);
}

const std::vector<std::string>& common_expressions() {
  static const std::vector<std::string> kExpressions = {
      "tcp",
      "udp",
      "icmp",
      "icmp6",
      "sctp",
      "ip",
      "ip6",
      "arp",
      "rarp",
      "ip or ip6",
      "not arp",
      "!ip6",
      "port 80",
      "tcp port 80",
      "udp port 53",
      "sctp port 80",
      "src port 443",
      "dst port 443",
      "tcp src port 8080",
      "port 80 or 443",
      "port 80 or port 443 or port 8080",
      "tcp port 80 or 443 or 8080",
      "portrange 50-500",
      "tcp portrange 1-1024",
      "src portrange 6000-9000",
      "udp dst portrange 53-80",
      "not port 22",
      "host 10.0.0.1",
      "src host 10.0.0.1",
      "dst host 10.0.0.2",
      "ip host 10.1.2.3",
      "ip6 host fd00::1",
      "host fd00::1",
      "src fd00::2",
      "dst 8.8.8.8",
      "arp host 10.0.0.1",
      "rarp host 10.0.0.1",
      "host 10.0.0.1 and host 10.0.0.2",
      "host 10.0.0.1 or 10.0.0.2",
      "src 10.0.0.1 and dst 10.0.0.2",
      "src and dst host 10.0.0.1",
      "host 10.0.0.1 and not port 80",
      "host 10.0.0.1 and (port 80 or port 443)",
      "not host 10.0.0.1",
      "net 10.0.0.0/8",
      "net 192.168",
      "src net 192.168.1.0/24",
      "dst net 10.1.2.0 mask 255.255.255.0",
      "net fd00::/8",
      "ip6 net 2001:db8::/32",
      "not net 10.0.0.0/8",
      "net 0.0.0.0/0",
      "host 10.0.0.1 and tcp",
      "tcp and host fd00::1",
      "ip proto 6",
      "ip proto \\udp",
      "ip6 proto 17",
      "proto 132",
      "ip6 protochain 6",
      "ip protochain 17",
      "ip6 protochain 17",
      "ether host 02:00:00:00:00:01",
      "ether src 02:00:00:00:00:01",
      "ether broadcast",
      "ether multicast",
      "broadcast",
      "multicast",
      "ip multicast",
      "ip6 multicast",
      "ether proto 0x0806",
      "ether proto \\ip6",
      "vlan",
      "vlan 3",
      "vlan 3 and port 80",
      "vlan and vlan 2",
      "vlan 1 and host 10.0.0.1",
      "not vlan",
      "mpls",
      "mpls 100",
      "mpls and host 10.0.0.1",
      "pppoes",
      "pppoes and port 80",
      "geneve",
      "geneve and host 10.0.0.1",
      "len > 100",
      "len <= 60",
      "greater 200",
      "less 80",
      "len = 54",
      "tcp[tcpflags] & tcp-syn != 0",
      "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
      "tcp[13] = 0x18",
      "icmp[icmptype] = icmp-echo",
      "ip[8] < 10",
      "ip[6:2] & 0x1fff != 0",
      "ip[2:2] > 100",
      "udp[4:2] > 20",
      "ip[0] & 0xf != 5",
      "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x64646464",
      "ether[0] & 1 = 0",
      "ip6[40] = 17",
      "ip[12:4] ^ ip[16:4] = 3",
      "ip[9] * 3 + len % 7 > 20",
      "ip[9] / 2 = 3",
      "-ip[9] = 4294967290",
      "ip[(ip[9] << 1):1] | 1 = 1",
      "len >> 2 = 13",
      "ip[8] - ip[9] = 58",
      "ether[len - 1] = 100",
      "tcp and (port 80 or port 443) and not (host 10.0.0.1 or net 192.168.0.0/16) and len > 60",
      "(tcp[13] & 2 != 0 and dst port 443) or (udp port 53 and (src 8.8.8.8 or dst 8.8.8.8))",
      "iso",
      "stp",
      "llc",
      "ether[20:2] = 0x2000",
      "ip6 and tcp port 443",
      "esp or ah or vrrp or pim or igmp"};
  return kExpressions;
}

}  // namespace lookback::packet::testing
