#pragma once
// Codes of options in pcapng blocks (IETF draft-ietf-opsawg-pcapng, sections 4.1, 4.2, 4.3 and 4.6).

#include <cstddef>
#include <cstdint>

namespace lookback::packet {

/// Of section header blocks.
inline constexpr uint16_t kShbHardware = 2, kShbOs = 3, kShbApplication = 4;
/// Of interface description blocks.
inline constexpr uint16_t kIfName = 2, kIfDescription = 3, kIfTsresol = 9, kIfFilter = 11, kIfOs = 12, kIfTsoffset = 14;
/// Of interface statistics blocks.
inline constexpr uint16_t kIsbStart = 2, kIsbEnd = 3, kIsbReceived = 4, kIsbDropped = 5, kIsbAccepted = 6, kIsbDroppedBySystem = 7,
                          kIsbDelivered = 8;
/// Bytes that epb_flags takes in an enhanced packet block.
inline constexpr size_t kFlagsOption = 8;

}  // namespace lookback::packet
