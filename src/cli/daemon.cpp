#include "cli/daemon.hpp"

#include <linux/capability.h>
#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <vector>

#include "lookback/base/confine.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/http/own_host.hpp"

namespace lookback::cli {

void add_daemon_options(Command& command, DaemonSettings& settings) {
  command.settings_file = SettingsFile::given;
  command.text("--listen", "ADDR:PORT", settings.listen,
               fmt::format("Where the API listens; by default {}", settings.listen));
  command.text("--data-dir", "DIR", settings.data_dir,
               fmt::format("Where the data lies; by default {}", settings.data_dir));
  command
      .text("--token-file", "FILE", settings.token_file,
            "A file with the token of this daemon. By default the daemon makes one, and clients on this machine find it")
      .origin = &settings.token_file_origin;
  command.text("--tls-cert", "FILE", settings.tls_cert,
               "The API's certificate chain (PEM); with --tls-key it speaks https");
  command.text("--tls-key", "FILE", settings.tls_key, "The certificate's private key (PEM)");
  command.flag("--insecure", settings.insecure, "Allow listening beyond this machine without TLS");
  add_allowed_host_option(command, settings);
  command.choice("--log-level", "debug|info|warning|error", settings.log_level,
                 "The least important lines to log on standard error; by default info");
  command.text("--config", "FILE", settings.config,
               "A TOML file with any of these options, named without the dashes");
}

void add_allowed_host_option(Command& command, DaemonSettings& settings) {
  command.comma_list("--allowed-host", "LIST", settings.allowed_hosts,
                     "Names under which the API may be called, beside this machine's own, its addresses and "
                     "those in its certificate; requests for other names are refused");
}

void warn_of_exposure(bool tls, const std::string& address, uint16_t port) {
  if (tls || http::is_loopback_host(address)) return;
  log_warning("--insecure: on {}:{} captured traffic and the token go over the network in clear; whoever sees them there "
              "can read and delete everything. --tls-cert and --tls-key end that",
              address, port);
}

void allow_settings(Command& command, const std::vector<std::string>& but) {
  for (Option& option : command.options) {
    option.setting = std::find(but.begin(), but.end(), option.name) == but.end();
  }
}

Result<> apply_log_level(const DaemonSettings& settings) {
  for (const auto& [name, level] :
       {std::pair("debug", LogLevel::debug), std::pair("info", LogLevel::info),
        std::pair("warning", LogLevel::warning), std::pair("error", LogLevel::error)}) {
    if (settings.log_level == name) {
      set_log_level(level);
      return {};
    }
  }
  return fail(ErrorKind::invalid, "'{}' is not a log level", settings.log_level);
}

Result<std::optional<http::TlsFiles>> tls_of(const DaemonSettings& settings) {
  if (settings.tls_cert.empty() != settings.tls_key.empty()) {
    return fail(ErrorKind::invalid, "--tls-cert and --tls-key go together: give both");
  }
  if (settings.tls_cert.empty()) return std::nullopt;
  return http::TlsFiles{settings.tls_cert, settings.tls_key};
}

void keep_memory_low() {
  // The allocator's own are eight heaps for each processor, and a threshold that grows with what is freed. Buffers of frames
  // and of reading stay out of the heaps: there they would leave holes that nothing fills.
  constexpr int kHeaps = 2, kMappedBytes = 256 << 10;
  mallopt(M_ARENA_MAX, kHeaps);
  mallopt(M_MMAP_THRESHOLD, kMappedBytes);
}

Result<> check_may_capture(std::string_view command) {
  TRY_ASSIGN(const std::string status, read_file("/proc/self/status", 1 << 20));
  const size_t at = status.find("CapEff:");
  uint64_t capabilities = 0;
  if (at == std::string::npos)
    return fail(ErrorKind::failed, "/proc/self/status does not tell this process's capabilities");
  const size_t digits = status.find_first_not_of(" \t", at + 7);
  if (digits == std::string::npos ||
      std::from_chars(status.data() + digits, status.data() + status.size(), capabilities, 16).ec !=
          std::errc()) {
    return fail(ErrorKind::failed, "/proc/self/status does not tell this process's capabilities");
  }
  if ((capabilities >> CAP_NET_RAW & 1) != 0) return {};
  return fail(ErrorKind::failed,
              "lookback {} may not read packets: run it as root (sudo lookback {} …), or give the "
              "binary the right: "
              "setcap cap_net_raw,cap_ipc_lock=ep $(command -v lookback)",
              command, command);
}

Result<> confine(const DaemonSettings& settings, const std::filesystem::path& data_dir, Duty duty) {
  std::vector<int> kept{CAP_NET_BIND_SERVICE};
  const auto keep = [&kept](std::initializer_list<int> more) { kept.insert(kept.end(), more); };
  if (!may_write_plainly(data_dir)) keep({CAP_DAC_OVERRIDE, CAP_FOWNER});
  for (const std::string& file : {settings.token_file, settings.tls_cert, settings.tls_key}) {
    if (!file.empty() && !may_read_plainly(file)) keep({CAP_DAC_READ_SEARCH});
  }
  if (duty != Duty::hub) {
    // The packet socket, also of link types that come later; its memory and io_uring's; the
    // recorder's priority; netlink buffers.
    keep({CAP_NET_RAW, CAP_NET_ADMIN, CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE});
  }
  if (duty == Duty::capture_and_events) {
    // Kernel programs, also those that are attached later; sockets and processes of everybody in
    // every network namespace.
    keep({CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH,
          CAP_NET_BROADCAST});
  }
  return confine_process(kept);
}

std::string url_of(bool tls, const std::string& address, uint16_t port) {
  const bool ipv6 = address.find(':') != std::string::npos && !address.starts_with('[');
  return fmt::format("{}://{}{}{}:{}", tls ? "https" : "http", ipv6 ? "[" : "", address,
                     ipv6 ? "]" : "", port);
}

}  // namespace lookback::cli
