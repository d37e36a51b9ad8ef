#pragma once
// Link types whose header is made up from struct sockaddr_ll (packet(7)), because the device has none that a file could show.

#include <cstdint>

#include "lookback/packet/packet.hpp"

namespace lookback::packet {

inline constexpr uint16_t kLinuxIrda = 144, kLinuxLapd = 177, kSocketCan = 227, kNetlink = 253;

}  // namespace lookback::packet
