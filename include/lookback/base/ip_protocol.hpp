#pragma once
// Numbers of protocols above IP (IANA, "Protocol Numbers").

#include <cstdint>

namespace lookback::ip_protocol {

inline constexpr uint8_t kHopByHop = 0, kIcmp = 1, kIgmp = 2, kTcp = 6, kUdp = 17, kDccp = 33, kRouting = 43, kFragment = 44, kGre = 47,
                         kEsp = 50, kAuthentication = 51, kIcmp6 = 58, kDestinationOptions = 60, kOspf = 89, kVrrp = 112, kSctp = 132,
                         kMobility = 135, kUdpLite = 136, kHostIdentity = 139, kShim6 = 140;

}  // namespace lookback::ip_protocol
