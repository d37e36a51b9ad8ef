#pragma once
// The network namespaces that processes are in with their addresses, and the interfaces of the one
// that packets are recorded in: what tells apart sockets that have the same ends.

#include <string>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"
#include "lookback/observe/event.hpp"

namespace lookback::observe {

struct NetworkScan {
  std::vector<Event> networks;    ///< kind network, without time
  std::vector<Event> interfaces;  ///< kind interface, without time
  std::vector<std::string> problems;
};
/// Takes a thread of its own for as long as it lasts.
[[nodiscard]] NetworkScan scan_networks();

/// Says when a scan would find something else than the last one: of this namespace and, where the
/// kernel allows it, of those that it is linked with.
class NetworkWatch {
 public:
  [[nodiscard]] static Result<NetworkWatch> open();
  /// Whether something has changed since the last question. Does not wait.
  [[nodiscard]] bool changed();

 private:
  explicit NetworkWatch(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace lookback::observe
