#include "unit/packet/support/build.hpp"

#include <arpa/inet.h>

#include <stdexcept>

namespace lookback::packet::testing {

namespace {
Bytes byte(unsigned value) {
  return Bytes(1, static_cast<char>(value));
}
}  // namespace

Bytes be16(uint16_t value) {
  return byte(value >> 8) + byte(value & 0xff);
}
Bytes be32(uint32_t value) {
  return be16(static_cast<uint16_t>(value >> 16)) + be16(static_cast<uint16_t>(value));
}

Bytes address(std::string_view text) {
  const std::string terminated(text);
  unsigned char raw[16];
  if (inet_pton(AF_INET, terminated.c_str(), raw) == 1)
    return {reinterpret_cast<const char*>(raw), 4};
  if (inet_pton(AF_INET6, terminated.c_str(), raw) == 1)
    return {reinterpret_cast<const char*>(raw), 16};
  throw std::invalid_argument(terminated);
}

Bytes ethernet(uint16_t ether_type, const Bytes& payload) {
  return Bytes("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01", 12) + be16(ether_type) + payload;
}
Bytes vlan(uint16_t id, uint16_t inner_ether_type, const Bytes& payload) {
  return be16(id) + be16(inner_ether_type) + payload;
}

Bytes ipv4(std::string_view source, std::string_view destination, uint8_t protocol,
           const Bytes& payload, uint16_t fragment_field, const Bytes& options) {
  const size_t header = 20 + options.size();
  return byte(static_cast<unsigned>(0x40 + header / 4)) + byte(0) +
         be16(static_cast<uint16_t>(header + payload.size())) + be16(0x1234) +
         be16(fragment_field) + byte(64) + byte(protocol) + be16(0) + address(source) +
         address(destination) + options + payload;
}
Bytes ipv6(std::string_view source, std::string_view destination, uint8_t next_header,
           const Bytes& payload) {
  return be32(0x60000000) + be16(static_cast<uint16_t>(payload.size())) + byte(next_header) +
         byte(64) + address(source) + address(destination) + payload;
}

Bytes tcp(uint16_t source, uint16_t destination, const Bytes& payload, uint8_t flags) {
  return be16(source) + be16(destination) + be32(1000) + be32(2000) + byte(0x50) + byte(flags) +
         be16(4096) + be16(0) + be16(0) + payload;
}
Bytes udp(uint16_t source, uint16_t destination, const Bytes& payload) {
  return be16(source) + be16(destination) + be16(static_cast<uint16_t>(8 + payload.size())) +
         be16(0) + payload;
}
Bytes sctp(uint16_t source, uint16_t destination) {
  return be16(source) + be16(destination) + be32(1) + be32(0);
}
Bytes icmp() {
  return Bytes("\x08\x00\x00\x00\x00\x01\x00\x01", 8) + "ping";
}
Bytes arp(std::string_view sender, std::string_view target) {
  return be16(1) + be16(0x0800) + byte(6) + byte(4) + be16(1) + Bytes("\x02\0\0\0\0\x01", 6) +
         address(sender) + Bytes(6, '\0') + address(target);
}
Bytes vxlan(uint32_t id, const Bytes& inner_frame) {
  return byte(8) + Bytes(3, '\0') + be32(id << 8) + inner_frame;
}
Bytes geneve(uint16_t protocol, const Bytes& payload, uint8_t option_words) {
  return byte(option_words) + byte(0) + be16(protocol) + be32(0x100) +
         Bytes(option_words * 4u, '\0') + payload;
}
Bytes gre(uint16_t protocol, const Bytes& payload, uint16_t flags) {
  size_t fields = 0;
  for (const uint16_t field : {0x8000, 0x2000, 0x1000}) fields += (flags & field) != 0;
  return be16(flags) + be16(protocol) + Bytes(4 * fields, '\0') + payload;
}

}  // namespace lookback::packet::testing
