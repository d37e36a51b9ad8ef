#pragma once
// Packets for the exporter's tests, described by what the tests vary.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lookback::exporter::testing {

using Bytes = std::string;

inline std::span<const std::byte> view(const Bytes& bytes) {
  return std::as_bytes(std::span(bytes.data(), bytes.size()));
}

struct Ip {
  bool v6 = false;
  uint32_t source = 0x0a000001, destination = 0x0a000002;  ///< the last 32 bits of an IPv6 address
  uint8_t ttl = 64, tos = 0;
  uint16_t id = 1;
  bool more_fragments = false;
  uint16_t fragment_offset = 0;  ///< in units of 8 bytes
};

struct Tcp {
  uint16_t source = 40000, destination = 80;
  uint32_t sequence = 1000, acknowledgment = 5000;
  uint8_t flags = 0x10;  ///< ACK
  uint16_t window = 501;
  uint32_t timestamp = 7;  ///< RFC 7323 option; 0: none
};

struct Udp {
  uint16_t source = 53000, destination = 53;
};

/// From the IP header on. A checksum is whatever `checksum` says: tests vary it.
Bytes ip_packet(const Ip& ip, uint8_t protocol, const Bytes& payload, uint16_t checksum = 0x1234);
Bytes tcp_packet(const Ip& ip, const Tcp& tcp, const Bytes& payload, uint16_t checksum = 0xabcd);
Bytes udp_packet(const Ip& ip, const Udp& udp, const Bytes& payload, uint16_t checksum = 0xabcd);
Bytes arp_request(uint32_t sender, uint32_t target);

struct Ethernet {
  uint8_t source = 1, destination = 2;  ///< last byte of the address
  std::vector<uint16_t> vlans;
  bool pad = false;  ///< to 60 bytes, as on a wire
};
Bytes ethernet_frame(const Ethernet& link, uint16_t ether_type, const Bytes& payload);
/// With the EtherType that the IP version in the first byte asks for.
Bytes ethernet_ip(const Ethernet& link, const Bytes& ip);

Bytes vxlan_packet(const Ip& outer, const Bytes& inner_frame, uint16_t checksum = 0);

/// `length` bytes of a pattern that tells every place in the stream from every other.
Bytes stream_bytes(uint32_t from, uint32_t length);

}  // namespace lookback::exporter::testing
