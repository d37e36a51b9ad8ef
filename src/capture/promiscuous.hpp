#pragma once
// Promiscuous mode of interfaces that were asked for by name, as tcpdump sets it: frames for others come in as well, on
// a bridge those that it only forwards. The kernel counts memberships of sockets (packet(7), PACKET_MR_PROMISC) and ends
// the mode with the last one. One thread at a time.

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "capture/interface_table.hpp"

namespace lookback::capture {

class PromiscuousMode {
 public:
  /// Makes the memberships of the packet socket `fd` those of the present interfaces that are `wanted`. An interface
  /// that refuses is warned of once, and recorded without.
  void apply(int fd, const std::vector<LinkEntry>& entries,
             const std::function<bool(const LinkEntry&)>& wanted);

 private:
  std::set<uint32_t> members_;  ///< indexes that were asked for, those that refused included
};

}  // namespace lookback::capture
