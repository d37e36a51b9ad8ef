#pragma once
// The hub: knows the nodes, makes snapshots of them, keeps and exports the archives, serves all
// that over HTTP (/api/v1). Composes archive, exporter and http; knows no command line.
//
// Its data directory: hub.json (its id), nodes.json (the nodes last heard of),
// snapshots/NAME.tar.zst (published archives, read-only), heads/NAME.json (what lists show of them;
// made anew where missing), jobs/NAME/ (snapshots under way: job.json, journal.ndjson,
// archive.partial), lock. A killed hub goes on with its jobs when it is started again.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/http/server.hpp"

namespace lookback::hub {

struct HubOptions {
  std::string listen = "127.0.0.1:7400";  ///< port 0: any
  std::filesystem::path data_dir;
  uint64_t snapshot_storage_bytes =
      0;              ///< for archives, unfinished ones included; 0: no limit besides the disk
  std::string token;  ///< bearer token of the API and towards the nodes; empty: none
  std::optional<http::TlsFiles> tls;  ///< certificate and key of the API
  std::string ca_file;                ///< PEM, to verify the nodes; empty: the system's
  /// Nodes may be at other addresses than they call from: behind a proxy or an address translation. A hub with TLS refuses
  /// http nodes all the same.
  bool any_node_address = false;
  bool insecure = false;              ///< allows listening beyond loopback without TLS
  std::vector<std::string> allowed_hosts{};  ///< names that the API answers to beside the machine's own
};

/// Thread-safe. Owns its threads.
class HubDaemon {
 public:
  /// Takes the data directory's lock, lists the archives, goes on with unfinished snapshots, and
  /// serves when it returns. invalid: the options; conflict: another hub works in data_dir, or the
  /// address is taken. `clock` outlives the hub.
  [[nodiscard]] static Result<std::unique_ptr<HubDaemon>> start(
      HubOptions options, const Clock& clock = Clock::system());

  /// As stop().
  virtual ~HubDaemon() = default;
  [[nodiscard]] virtual uint16_t port() const = 0;
  [[nodiscard]] virtual std::string address() const = 0;  ///< as bound, "127.0.0.1"
  /// Ends everything and returns when it has ended. Snapshots under way stay resumable: their
  /// freezes are kept.
  virtual void stop() = 0;
  /// The document of GET /api/v1/status.
  [[nodiscard]] virtual std::string status_json() const = 0;
};

}  // namespace lookback::hub
