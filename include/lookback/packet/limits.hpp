#pragma once
// Bounds that every reader of capture files holds.

#include <cstdint>

namespace lookback::packet {

/// The longest captured length that libpcap and Wireshark read (libpcap's MAXIMUM_SNAPLEN): longer packets are cut there.
inline constexpr uint32_t kMaxCapturedBytes = 262144;

}  // namespace lookback::packet
