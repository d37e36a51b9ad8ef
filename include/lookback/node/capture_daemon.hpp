#pragma once
// The capture daemon: records packets into the node's FIFO, keeps in touch with the hub, and serves frozen windows
// over HTTP. Composes capture, store, exporter and http; knows no command line.
//
// Privileges: opening the ring needs CAP_NET_RAW (and CAP_IPC_LOCK or a memlock limit for the registered write buffers;
// without it writing costs more). Later interfaces are followed by renewing the socket filter, which an open socket may
// do without any capability, and by opening a short-lived libpcap handle for a link type not seen before, which needs
// CAP_NET_RAW again: so the daemon keeps that one.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/capture/capture.hpp"
#include "lookback/http/server.hpp"

namespace lookback::node {

struct CaptureOptions {
  std::string node;                       ///< empty: the host's name, made valid
  std::string hub_url;                    ///< empty: no hub, the API is served all the same
  std::string listen = "127.0.0.1:7401";  ///< port 0: any
  std::string advertise_url;              ///< what the hub calls; empty: the hub uses our address as it sees it
  std::filesystem::path data_dir;
  uint64_t storage_bytes = 10ULL << 30;
  std::optional<uint64_t> freeze_bytes;   ///< by default a quarter of storage_bytes
  bool os_events = true;                  ///< record what processes and sockets do as well
  std::optional<uint64_t> event_storage_bytes;  ///< beside storage_bytes; by default a sixteenth of them, at least 64 MiB
  std::vector<std::string> interfaces;    ///< names or globs; empty: all
  bool promiscuous = true;                ///< of interfaces that are named, as capture::RingOptions
  std::string filter;                     ///< pcap-filter
  uint32_t snaplen = 0;                   ///< 0: whole packets
  uint64_t ring_bytes = 64ULL << 20;
  bool exclude_self = true;               ///< leave the product's own connections out
  std::string token;                      ///< bearer token of the API and towards the hub; empty: none
  std::optional<http::TlsFiles> tls;      ///< certificate and key of the API
  std::string ca_file;                    ///< PEM, to verify the hub; empty: the system's
  bool insecure = false;                  ///< allows listening beyond loopback without TLS
  std::vector<std::string> allowed_hosts{};  ///< names that the API answers to beside the machine's own
};

/// A valid node name made from this machine's host name.
[[nodiscard]] std::string default_node_name();

/// Thread-safe. Owns its threads: recorder, heartbeat, HTTP.
class CaptureDaemon {
 public:
  /// Where packets come from; tests hand in their own.
  using SourceFactory =
      std::function<Result<std::unique_ptr<capture::Ring>>(const capture::RingOptions&)>;

  /// Opens store, ring and API, and records when it returns. invalid: options (filter syntax, name, sizes); no_space: the
  /// disk cannot hold storage_bytes; conflict: another daemon records into data_dir. `clock` outlives the daemon.
  [[nodiscard]] static Result<std::unique_ptr<CaptureDaemon>> start(
      CaptureOptions options, const Clock& clock = Clock::system(), SourceFactory source = {});

  /// Stops recording (what the ring holds is written first), the API and the heartbeats.
  virtual ~CaptureDaemon() = default;
  /// Blocks until stop(), or until recording cannot go on; then it says why.
  [[nodiscard]] virtual Result<> wait() = 0;
  /// Makes wait() return. Any thread; not from a signal handler.
  virtual void stop() = 0;

  [[nodiscard]] virtual const CaptureOptions& options() const = 0;  ///< defaults filled in
  [[nodiscard]] virtual uint16_t port() const = 0;
  [[nodiscard]] virtual std::string address() const = 0;
  /// The document of GET /api/v1/status.
  [[nodiscard]] virtual std::string status_json() const = 0;
};

}  // namespace lookback::node
