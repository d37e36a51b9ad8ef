#pragma once
// What the three daemons have in common on the command line.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/interrupt.hpp"
#include "lookback/base/result.hpp"
#include "lookback/http/server.hpp"

namespace lookback::cli {

struct DaemonSettings {
  std::string listen;
  std::string data_dir;
  std::string token_file;
  Origin token_file_origin = Origin::nowhere;
  std::string tls_cert, tls_key;
  bool insecure = false;
  std::vector<std::string> allowed_hosts;
  std::string log_level = "info";
  std::string config;
};

/// --listen, --data-dir, --token-file, --tls-cert, --tls-key, --insecure, --allowed-host, --log-level
/// and --config; `settings` comes with the defaults, and lives as long as the action.
void add_daemon_options(Command& command, DaemonSettings& settings);

void add_allowed_host_option(Command& command, DaemonSettings& settings);

/// Makes every option of the command one that environment and settings file may have, but for those
/// named.
void allow_settings(Command& command, const std::vector<std::string>& but = {});

/// Sets the log level.
[[nodiscard]] Result<> apply_log_level(const DaemonSettings& settings);
/// Says in the log what a daemon opens that listens beyond this machine without TLS.
void warn_of_exposure(bool tls, const std::string& address, uint16_t port);
[[nodiscard]] Result<std::optional<http::TlsFiles>> tls_of(const DaemonSettings& settings);

/// For a daemon that records: large buffers go back to the system when they are freed, and few threads keep free memory for
/// themselves. Before the first thread.
void keep_memory_low();

/// Whether this process may open packet sockets; if not, the error says how to get there.
[[nodiscard]] Result<> check_may_capture(std::string_view command);

/// What a daemon does, for confine().
enum class Duty { hub, capture, capture_and_events };
/// Gives up what the duty does not need, before any thread or file of the daemon is there. Where
/// the settings name files or folders of other users, their permissions can still be overridden.
[[nodiscard]] Result<> confine(const DaemonSettings& settings, const std::filesystem::path& data_dir,
                               Duty duty);

/// "http://127.0.0.1:7400"
[[nodiscard]] std::string url_of(bool tls, const std::string& address, uint16_t port);

}  // namespace lookback::cli
