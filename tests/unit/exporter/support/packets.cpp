#include "unit/exporter/support/packets.hpp"

namespace lookback::exporter::testing {

namespace {

void put8(Bytes& out, unsigned value) {
  out.push_back(static_cast<char>(value));
}
void put16(Bytes& out, unsigned value) {
  put8(out, value >> 8 & 0xff);
  put8(out, value & 0xff);
}
void put32(Bytes& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
void put_v6(Bytes& out, uint32_t last) {
  put32(out, 0xfd000000);
  put32(out, 0);
  put32(out, 0);
  put32(out, last);
}

}  // namespace

Bytes ip_packet(const Ip& ip, uint8_t protocol, const Bytes& payload, uint16_t checksum) {
  Bytes out;
  if (ip.v6) {
    put32(out, 0x60000000 | uint32_t{ip.tos} << 20);
    put16(out, static_cast<unsigned>(payload.size()));
    put8(out, protocol);
    put8(out, ip.ttl);
    put_v6(out, ip.source);
    put_v6(out, ip.destination);
  } else {
    put8(out, 0x45);
    put8(out, ip.tos);
    put16(out, static_cast<unsigned>(20 + payload.size()));
    put16(out, ip.id);
    put16(out, (ip.more_fragments ? 0x2000U : 0U) | ip.fragment_offset);
    put8(out, ip.ttl);
    put8(out, protocol);
    put16(out, checksum);
    put32(out, ip.source);
    put32(out, ip.destination);
  }
  return out + payload;
}

Bytes tcp_packet(const Ip& ip, const Tcp& tcp, const Bytes& payload, uint16_t checksum) {
  Bytes out;
  put16(out, tcp.source);
  put16(out, tcp.destination);
  put32(out, tcp.sequence);
  put32(out, tcp.acknowledgment);
  put8(out, tcp.timestamp != 0 ? 0x80 : 0x50);
  put8(out, tcp.flags);
  put16(out, tcp.window);
  put16(out, checksum);
  put16(out, 0);
  if (tcp.timestamp != 0) {
    put32(out, 0x0101080a);
    put32(out, tcp.timestamp);
    put32(out, tcp.timestamp / 2);
  }
  return ip_packet(ip, 6, out + payload, static_cast<uint16_t>(checksum ^ 0x5555));
}

Bytes udp_packet(const Ip& ip, const Udp& udp, const Bytes& payload, uint16_t checksum) {
  Bytes out;
  put16(out, udp.source);
  put16(out, udp.destination);
  put16(out, static_cast<unsigned>(8 + payload.size()));
  put16(out, checksum);
  return ip_packet(ip, 17, out + payload, static_cast<uint16_t>(checksum ^ 0x5555));
}

Bytes arp_request(uint32_t sender, uint32_t target) {
  Bytes out;
  put32(out, 0x00010800);
  put32(out, 0x06040001);
  put32(out, 0x02000000);
  put16(out, 1);
  put32(out, sender);
  put32(out, 0);
  put16(out, 0);
  put32(out, target);
  return out;
}

Bytes ethernet_frame(const Ethernet& link, uint16_t ether_type, const Bytes& payload) {
  Bytes out;
  for (const uint8_t last : {link.destination, link.source}) {
    put32(out, 0x02000000);
    put16(out, last);
  }
  for (const uint16_t vlan : link.vlans) {
    put16(out, 0x8100);
    put16(out, vlan);
  }
  put16(out, ether_type);
  out += payload;
  if (link.pad && out.size() < 60) out.resize(60);
  return out;
}

Bytes ethernet_ip(const Ethernet& link, const Bytes& ip) {
  return ethernet_frame(link, (static_cast<uint8_t>(ip[0]) >> 4) == 6 ? 0x86dd : 0x0800, ip);
}

Bytes vxlan_packet(const Ip& outer, const Bytes& inner_frame, uint16_t checksum) {
  Bytes payload;
  put32(payload, 0x08000000);
  put32(payload, 42 << 8);
  return udp_packet(outer, {.source = 50000, .destination = 4789}, payload + inner_frame, checksum);
}

Bytes stream_bytes(uint32_t from, uint32_t length) {
  Bytes out(length, '\0');
  for (uint32_t i = 0; i < length; ++i)
    out[i] = static_cast<char>(((from + i) * 2654435761U) >> 24);
  return out;
}

}  // namespace lookback::exporter::testing
