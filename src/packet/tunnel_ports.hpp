#pragma once
// UDP ports behind whose header another packet begins.

#include <cstdint>

namespace lookback::packet {

inline constexpr uint16_t kVxlanPort = 4789, kVxlanPortOfLinux = 8472, kGenevePort = 6081;

[[nodiscard]] constexpr bool is_tunnel_port(uint16_t port) {
  return port == kVxlanPort || port == kVxlanPortOfLinux || port == kGenevePort;
}

}  // namespace lookback::packet
