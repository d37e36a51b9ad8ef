#pragma once
// Why a node lacks something of a window. The names stand in manifests, statuses and capture files; lookback-archive(5) lists
// them. A reader takes any other name as well: a newer node may have more.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace lookback {

enum class GapReason : uint8_t {
  not_running,          ///< nobody recorded
  recycled,             ///< the storage needed the space
  ring_full,            ///< the kernel had no room to hand packets over
  damaged_ring_block,   ///< the kernel's ring could not be read
  disk_full,            ///< they could not be written
  disk_error,           ///< the same, for another reason
  damaged_segment,      ///< what was written does not read back
  freeze_quota,         ///< frozen windows took more than --freeze-size
  not_frozen,           ///< the node did not freeze the window
  not_transferred,      ///< the hub did not get a member
  damaged_member,       ///< the hub got a member that it could not take
  not_confirmed,        ///< the node did not say at the end what its members lack
  os_events,            ///< what processes and sockets did is missing, not packets
  imported_loss,        ///< a capture file said so itself
  several,              ///< gaps were put together
};

struct GapReasonName {
  GapReason reason;
  std::string_view name;
};

inline constexpr std::array kGapReasonNames{
    GapReasonName{GapReason::not_running, "not running"},
    GapReasonName{GapReason::recycled, "recycled"},
    GapReasonName{GapReason::ring_full, "kernel ring full"},
    GapReasonName{GapReason::damaged_ring_block, "damaged kernel block"},
    GapReasonName{GapReason::disk_full, "disk full"},
    GapReasonName{GapReason::disk_error, "disk error"},
    GapReasonName{GapReason::damaged_segment, "damaged segment"},
    GapReasonName{GapReason::freeze_quota, "freeze quota"},
    GapReasonName{GapReason::not_frozen, "not frozen"},
    GapReasonName{GapReason::not_transferred, "not transferred"},
    GapReasonName{GapReason::damaged_member, "damaged member"},
    GapReasonName{GapReason::not_confirmed, "not confirmed"},
    GapReasonName{GapReason::os_events, "os events missing"},
    GapReasonName{GapReason::imported_loss, "lost by the recorder of the capture file"},
    GapReasonName{GapReason::several, "several reasons"},
};

[[nodiscard]] constexpr std::string_view name_of(GapReason reason) {
  return std::find_if(kGapReasonNames.begin(), kGapReasonNames.end(),
                      [&](const GapReasonName& one) { return one.reason == reason; })
      ->name;
}
[[nodiscard]] inline std::string to_string(GapReason reason) { return std::string(name_of(reason)); }
/// False for a gap that all packets are there of.
[[nodiscard]] constexpr bool costs_packets(std::string_view reason) {
  return reason != name_of(GapReason::os_events);
}

}  // namespace lookback
