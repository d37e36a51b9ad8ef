#pragma once
// Makes packets for tests: every function prepends or appends one header to a byte string.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace lookback::packet::testing {

using Bytes = std::string;

inline std::span<const std::byte> view(const Bytes& bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

Bytes be16(uint16_t value);
Bytes be32(uint32_t value);
/// "10.0.0.1" or "fd00::1" in network order, 4 or 16 bytes.
Bytes address(std::string_view text);

Bytes ethernet(uint16_t ether_type, const Bytes& payload);
Bytes vlan(uint16_t id, uint16_t inner_ether_type, const Bytes& payload);
Bytes ipv4(std::string_view source, std::string_view destination, uint8_t protocol,
           const Bytes& payload, uint16_t fragment_field = 0, const Bytes& options = {});
Bytes ipv6(std::string_view source, std::string_view destination, uint8_t next_header,
           const Bytes& payload);
Bytes tcp(uint16_t source, uint16_t destination, const Bytes& payload = {}, uint8_t flags = 0x18);
Bytes udp(uint16_t source, uint16_t destination, const Bytes& payload = {});
Bytes sctp(uint16_t source, uint16_t destination);
Bytes icmp();
Bytes arp(std::string_view sender, std::string_view target);
Bytes vxlan(uint32_t id, const Bytes& inner_frame);
Bytes geneve(uint16_t protocol, const Bytes& payload, uint8_t option_words = 0);
Bytes gre(uint16_t protocol, const Bytes& payload, uint16_t flags = 0);

}  // namespace lookback::packet::testing
