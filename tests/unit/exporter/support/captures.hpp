#pragma once
// Packets and capture files for the tests of members and imports.

#include <cstdint>
#include <string>
#include <vector>

#include "lookback/packet/pcapng.hpp"

namespace lookback::test {

/// Ethernet, IPv4, UDP: 10.0.x.y with x.y from `number`, and `payload` bytes that depend on it.
[[nodiscard]] std::vector<std::byte> udp_packet(uint32_t number, size_t payload);

/// A packet that owns its bytes.
struct Stored {
  std::vector<std::byte> bytes;
  int64_t time_ns = 0;
  uint32_t interface = 0;
  [[nodiscard]] packet::PacketView view() const {
    return {.time_ns = time_ns, .data = bytes, .original_length = static_cast<uint32_t>(bytes.size()), .interface = interface};
  }
};

/// One section with these interfaces and packets.
[[nodiscard]] std::string pcapng_of(const std::vector<packet::PcapngInterface>& interfaces, const std::vector<Stored>& packets);
/// Classic pcap, Ethernet.
[[nodiscard]] std::string pcap_of(const std::vector<Stored>& packets);

}  // namespace lookback::test
