// lookback standalone: hub and capture in one process, on one machine.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/daemon.hpp"
#include "cli/exit_status.hpp"
#include "cli/token.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/hub/hub_daemon.hpp"
#include "lookback/node/capture_daemon.hpp"

namespace lookback::cli {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostByDefault = 10ULL << 30;
constexpr const char* kDefaultHub = "http://127.0.0.1:7400";

struct StandaloneOptions {
  DaemonSettings daemon;
  node::CaptureOptions capture;
  bool no_promiscuous = false;
  std::optional<uint64_t> storage_bytes;  ///< by default chosen here
};

/// Root's daemons keep their data where daemons do, a user's with the user.
Result<fs::path> data_dir_of(const StandaloneOptions& options) {
  if (!options.daemon.data_dir.empty()) return options.daemon.data_dir;
  if (::geteuid() == 0) return "/var/lib/lookback";
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/')
    return fs::path(data) / "lookback";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return fs::path(home) / ".local/share/lookback";
  }
  return fail(ErrorKind::invalid, "without HOME there is no place for the data: give --data-dir");
}

/// Bytes on disk of the files in a directory, each inode once (frozen segments have two names).
uint64_t bytes_below(const fs::path& directory) {
  uint64_t bytes = 0;
  std::error_code ec;
  std::vector<std::pair<dev_t, ino_t>> seen;
  for (fs::recursive_directory_iterator it(directory, ec), end; !ec && it != end;
       it.increment(ec)) {
    struct stat status {};
    if (::lstat(it->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (status.st_nlink > 1) {
      const std::pair inode(status.st_dev, status.st_ino);
      if (std::find(seen.begin(), seen.end(), inode) != seen.end()) continue;
      seen.push_back(inode);
    }
    bytes += static_cast<uint64_t>(status.st_blocks) * 512;
  }
  return bytes;
}

/// A first try should neither fail on a full laptop nor fill it: 10 GiB, but no more than a tenth
/// of what is free. What an earlier run has recorded counts as free, so that the size stays the
/// same from run to run.
Result<uint64_t> default_storage(const fs::path& capture_dir) {
  TRY_ASSIGN(const DiskSpace space, disk_space(capture_dir));
  const uint64_t tenth = (space.available_bytes + bytes_below(capture_dir)) / 10;
  return std::min(kMostByDefault, tenth >> 20 << 20);
}

/// What a client needs to say of the token; mostly it finds it.
std::string token_option(const StandaloneOptions& options, const DaemonToken& token) {
  if (token.found_by_clients) return "";
  const std::string file = token.file.empty() ? options.daemon.token_file : token.file.string();
  return file.empty() ? "" : " --token-file " + file;
}

void print_next_steps(const std::string& hub_url, const std::string& token) {
  const std::string hub = (hub_url == kDefaultHub ? "" : " --hub " + hub_url) + token;
  // The token is root's, so the client has to be as well.
  const std::string sudo = std::getenv("SUDO_USER") != nullptr ? "sudo " : "";
  const auto printed =
      print(fmt::format("\nRecording. Try in another terminal:\n\n"
                        "  {1}lookback snapshot create try-1 --last 1m --wait{0}\n"
                        "  {1}lookback snapshot pcap try-1 -o -{0} | wireshark -k -i -\n"
                        "  {1}lookback nodes{0}\n\n"
                        "Ctrl-C ends it; what was recorded stays.\n",
                        hub, sudo));
  if (!printed) log_warning("{}", printed.error().message);
}

Result<int> run_standalone(const StandaloneOptions& options) {
  TRY(apply_log_level(options.daemon));
  TRY(check_may_capture("standalone"));
  keep_memory_low();
  TRY_ASSIGN(const fs::path data_dir, data_dir_of(options));
  const fs::path capture_dir = data_dir / "capture";
  TRY(make_directories(capture_dir));
  TRY_ASSIGN(const DaemonToken token, daemon_token(options.daemon.token_file,
                                                   options.daemon.token_file_origin, data_dir));
  TRY(check_hub_token(token.token));

  node::CaptureOptions capture = options.capture;
  capture.data_dir = capture_dir;
  capture.token = token.token;
  capture.allowed_hosts = options.daemon.allowed_hosts;
  capture.promiscuous = !options.no_promiscuous;
  if (options.storage_bytes) {
    capture.storage_bytes = *options.storage_bytes;
  } else {
    TRY_ASSIGN(capture.storage_bytes, default_storage(capture_dir));
    log_info("storage: {} of the disk with {} (--storage-size sets another size)",
             format_size(capture.storage_bytes), data_dir.string());
  }
  hub::HubOptions hub;
  hub.listen = options.daemon.listen;
  hub.data_dir = data_dir / "hub";
  hub.token = token.token;
  hub.allowed_hosts = options.daemon.allowed_hosts;
  hub.insecure = options.daemon.insecure;

  TRY(confine(options.daemon, data_dir, capture.os_events ? Duty::capture_and_events : Duty::capture));
  TRY_ASSIGN(const auto signals, StopSignals::create());
  TRY_ASSIGN(const auto hub_daemon, hub::HubDaemon::start(std::move(hub)));
  std::string address = hub_daemon->address();
  if (address == "0.0.0.0") address = "127.0.0.1";
  if (address == "::" || address == "[::]") address = "::1";
  const std::string hub_url = url_of(false, address, hub_daemon->port());
  capture.hub_url = hub_url;
  TRY_ASSIGN(const auto capture_daemon, node::CaptureDaemon::start(std::move(capture)));
  signals->start([&capture_daemon] { capture_daemon->stop(); });
  log_info("ready: hub on {}, node {} on {}, data in {}", hub_url, capture_daemon->options().node,
           url_of(false, capture_daemon->address(), capture_daemon->port()), data_dir.string());
  warn_of_exposure(false, hub_daemon->address(), hub_daemon->port());
  print_next_steps(hub_url, token_option(options, token));
  const auto ended = capture_daemon->wait();
  hub_daemon->stop();
  if (!ended) return tl::make_unexpected(ended.error());
  log_info("stopped");
  return kExitDone;
}

}  // namespace

Command standalone_command() {
  Command command("standalone", "hub and capture in one process, for one machine (daemon)");
  auto options = std::make_shared<StandaloneOptions>();
  options->daemon.listen = "127.0.0.1:7400";
  command.description =
      "Records this machine's packets and keeps its snapshots, without any set-up. It needs root "
      "or CAP_NET_RAW. It runs in the "
      "foreground, prints what to try next, logs to standard error, and stops cleanly on SIGTERM "
      "or Ctrl-C.";
  command.settings_file = SettingsFile::given;
  command.text(
      "--data-dir", "DIR", options->daemon.data_dir,
      "Where the data lies; by default /var/lib/lookback, without root ~/.local/share/lookback");
  command.size(
      "--storage-size", options->storage_bytes,
      "What the FIFO may take on disk; by default 10GiB, but at most a tenth of what is free");
  command.flag("--os-events", options->capture.os_events,
               "Record what processes and sockets do as well (eBPF); on by default, where the "
               "kernel and the privileges allow it");
  command.size("--event-storage-size", options->capture.event_storage_bytes,
               "What these events may take on disk beside the packets, and up to half of the storage "
               "where they would not reach as far back as the packets, which make room for it; by "
               "default a sixteenth of the storage, at least 64MiB");
  command.text("--listen", "ADDR:PORT", options->daemon.listen,
               "Where the hub listens; by default 127.0.0.1:7400");
  command.text("--node-listen", "ADDR:PORT", options->capture.listen,
               "Where the capture part listens; by default 127.0.0.1:7401");
  command.text("--node", "NAME", options->capture.node, "This node's name; by default the host's");
  command.comma_list(
      "--interface", "LIST", options->capture.interfaces,
      "Interfaces to record, names or patterns with * and ?, separated by commas; by default all");
  command.flag("--no-promiscuous", options->no_promiscuous,
               "Record only what is meant for this machine; by default interfaces that --interface "
               "names become promiscuous");
  command.text("--filter", "PCAP-FILTER", options->capture.filter,
               "Record only packets that match, see pcap-filter(7)");
  command.number("--snaplen", options->capture.snaplen,
                 "Record at most this many bytes of each packet; 0, the default, is all of them", 0);
  command.size("--ring-size", options->capture.ring_bytes,
               "The kernel's ring; by default 64MiB. Up to half of it is used beside it while the "
               "disk stalls");
  command
      .text("--token-file", "FILE", options->daemon.token_file,
            "A file with the token that clients need; by default one is made, which clients on this "
            "machine find")
      .origin = &options->daemon.token_file_origin;
  command.flag("--insecure", options->daemon.insecure,
               "Allow the hub to listen beyond this machine without TLS");
  add_allowed_host_option(command, options->daemon);
  command.choice("--log-level", "debug|info|warning|error", options->daemon.log_level,
                 "The least important lines to log on standard error; by default info");
  command.text("--config", "FILE", options->daemon.config,
               "A TOML file with any of these options, named without the dashes");
  allow_settings(command);
  command.examples = {
      {"sudo lookback standalone", "A first try."},
      {"sudo lookback standalone --data-dir /srv/lookback --storage-size 100GiB --interface 'eth*'",
       "A single server."}};
  command.action = [options] { return run_standalone(*options); };
  return command;
}

}  // namespace lookback::cli
