#pragma once
// Which connections are the product's own and are not recorded: between this machine and its hub, in both directions,
// and with whoever fetches frozen windows. Without it, every transfer would be recorded and transferred again.

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/capture/capture.hpp"

namespace lookback::node {

struct HubAddress {
  std::string host;
  uint16_t port = 0;
};
/// Host and port of "http://hub:7400" or "https://[fd00::1]"; kind invalid for other texts.
[[nodiscard]] Result<HubAddress> parse_hub_url(const std::string& url);
/// The addresses of a host, as numbers; empty where it has none now.
[[nodiscard]] std::vector<std::string> resolve(const std::string& host);

/// Thread-safe.
class SelfExclusion {
 public:
  /// `own_port`: where this daemon listens.
  explicit SelfExclusion(uint16_t own_port) : ports_{own_port} {}

  /// The hub's addresses and the ports that hubs and nodes listen on. True when the outcome of peers() changed.
  bool set_hub(const std::vector<std::string>& addresses, const std::vector<uint16_t>& ports);
  /// Somebody who called the API: what is sent back to it is the product's own. True when peers() changed.
  bool add_caller(const std::string& address);
  [[nodiscard]] std::vector<capture::ExcludedPeer> peers() const;

 private:
  static constexpr size_t kMaxCallers = 16;

  mutable std::mutex mutex_;
  std::set<uint16_t> ports_;
  std::set<std::string> hub_, callers_;
};

}  // namespace lookback::node
