#pragma once
// What flows and attribution need of a packet, taken by the workers while its bytes are at hand.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lookback/packet/ip_address.hpp"

namespace lookback::exporter {

/// Of the innermost IP header: behind a tunnel stand the ends that talk to each other.
struct PacketDigest {
  packet::IpAddress source, destination;
  uint32_t original_length = 0;  ///< of the whole packet on the wire
  uint32_t sequence = 0, acknowledgment = 0, payload_length = 0;  ///< of TCP
  uint16_t source_port = 0,
           destination_port = 0;  ///< 0 where there are none, as in later fragments
  uint16_t window = 0;
  uint8_t protocol = 0;
  uint8_t tcp_flags = 0;
  bool is_ip = false;
  bool is_tcp = false;  ///< with its whole header
};

[[nodiscard]] PacketDigest digest_of(uint16_t link_type, std::span<const std::byte> data,
                                     uint32_t original_length);

}  // namespace lookback::exporter
