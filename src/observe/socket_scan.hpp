#pragma once
// The sockets that there are: sock_diag in every network namespace that a process is in, owners by
// /proc/<pid>/fd.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {

struct SocketScan {
  std::vector<Event> sockets;         ///< of kind socket; the owner's pid only
  std::vector<std::string> problems;  ///< namespaces that could not be looked into
};
[[nodiscard]] SocketScan scan_sockets();
/// The same for some sockets only: who of `pids` has them, 0 where none has. Looks at the network
/// namespaces of these processes.
[[nodiscard]] std::vector<uint32_t> owners_of(const std::vector<Event>& sockets,
                                              const std::vector<uint32_t>& pids);

struct DiagSocket {
  Event event;
  uint32_t inode = 0;
};
/// A run of netlink messages of a sock_diag dump. False: the dump goes on in the next run. corrupt:
/// an error of the kernel's, or bytes that are no such messages.
[[nodiscard]] Result<bool> parse_diag(std::span<const std::byte> bytes, uint8_t protocol,
                                      uint32_t netns, std::vector<DiagSocket>& out);

}  // namespace lookback::observe
