#pragma once
// Which connections are the daemon's own and are not recorded, each by both of its ends. Without it, every transfer would be
// recorded and transferred again. There are three kinds:
//
//   the hub calls this daemon      our address : our API's port     the hub's address : any
//   this machine calls the hub     our address : any                the hub's address : the hub's port
//   somebody else fetches frozen   our address : our API's port     its address : its port
//   windows (a hub behind NAT)
//
// The hub's address and port come from this daemon's own settings. Nothing that a peer says adds to them: a connection of the
// third kind is that peer's own with us, and is left out from the moment that it asked for a frozen window, for a while.
// What was left out, and when, is kept beside the packets (exclusions.json), for the status and the manifests.

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/capture/capture.hpp"

namespace lookback::node {

/// The addresses of a host, as numbers; empty where it has none now.
[[nodiscard]] std::vector<std::string> resolve(const std::string& host);
/// The address from which this machine calls `remote`, by its routes; empty where there is no way now.
[[nodiscard]] std::string source_address(const std::string& remote);

/// A connection that was left out, in node time.
struct ExcludedInterval {
  capture::ExcludedConnection connection;
  int64_t from_ns = 0;
  std::optional<int64_t> to_ns;  ///< nothing: it still is
};
/// "tcp 10.0.0.7:7401 10.0.0.1:*": our end, then the other.
[[nodiscard]] std::string to_string(const capture::ExcludedConnection& connection);

/// Thread-safe.
class SelfExclusion {
 public:
  static constexpr size_t kMostHubAddresses = 8;
  static constexpr size_t kMostCallers = 16;
  static constexpr int64_t kCallerLife = 300 * kNsPerSecond;  ///< after its last request

  /// `listen_address`: where this daemon listens, "0.0.0.0" and "::" for everywhere. What an earlier run left out is read from
  /// `file`. `clock` outlives it.
  SelfExclusion(std::string listen_address, uint16_t own_port, std::filesystem::path file, const Clock& clock);

  /// Where the hub is now; what held for other addresses ends. `own_addresses`: further addresses of this machine where the
  /// hub calls. True when the outcome of connections() changed.
  bool set_hub(const std::vector<std::string>& addresses, uint16_t port, const std::vector<std::string>& own_addresses);
  /// Somebody who fetches frozen windows, or does so still. True when connections() changed.
  bool add_caller(const std::string& address, uint16_t port);
  /// Ends what is past its time. True when connections() changed.
  bool expire();

  [[nodiscard]] std::vector<capture::ExcludedConnection> connections() const;
  /// Writes the file when something has changed.
  void save_if_changed();
  /// What was left out at any time of the window, in order of time.
  [[nodiscard]] std::vector<ExcludedInterval> intervals(TimeWindow window) const;

 private:
  struct Caller {
    capture::ExcludedConnection connection;
    int64_t seen_monotonic_ns = 0;
  };
  bool is_hub(const std::string& address) const;
  bool update();  ///< brings intervals_ up to date; with mutex_
  void load();

  const std::string listen_address_;
  const uint16_t own_port_;
  const std::filesystem::path file_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<capture::ExcludedConnection> hub_;
  std::vector<Caller> callers_;
  std::vector<ExcludedInterval> intervals_;
  bool unsaved_ = false;
};

}  // namespace lookback::node
