#pragma once
// What the table of owners knows about addresses, and the arithmetic of its times.

#include <algorithm>
#include <array>
#include <cstdint>

#include "lookback/base/ip_protocol.hpp"
#include "lookback/context/record.hpp"

namespace lookback::context {

/// What packets and events of the same moment may differ in their stamps.
inline constexpr int64_t kSameMomentNs = 200'000;

inline constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

inline constexpr Address kAny4 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, kAny6 = {};

inline bool is_any(const Address& address) {
  return address == kAny6 || address == kAny4;
}

inline bool is_v4(const Address& address) {
  return std::equal(kMapped.begin(), kMapped.end(), address.begin());
}

/// Multicast and IPv4's broadcast: addresses that a host listens to without having them.
inline bool is_group(const Address& address) {
  if (!is_v4(address)) return address[0] == 0xff;
  return address[12] >= 0xe0 || address[15] == 0xff;
}

/// 127.0.0.0/8 is a host's as a whole.
inline bool is_loopback(const Address& address) {
  constexpr Address kLoopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address == kLoopback6 || (is_v4(address) && address[12] == 127);
}

/// a - b, or the nearest that there is.
inline int64_t saturating_sub(int64_t a, int64_t b) {
  int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b > 0 ? INT64_MIN : INT64_MAX;
}

}  // namespace lookback::context
