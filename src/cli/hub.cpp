// lookback hub: the daemon that knows the nodes and keeps the snapshots.

#include <future>
#include <memory>

#include "cli/commands.hpp"
#include "cli/daemon.hpp"
#include "cli/exit_status.hpp"
#include "cli/token.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/hub/hub_daemon.hpp"

namespace lookback::cli {

namespace {

struct HubOptions {
  DaemonSettings daemon;
  hub::HubOptions hub;
};

Result<int> run_hub(const HubOptions& options) {
  TRY(apply_log_level(options.daemon));
  hub::HubOptions hub = options.hub;
  hub.listen = options.daemon.listen;
  hub.data_dir = options.daemon.data_dir;
  hub.insecure = options.daemon.insecure;
  TRY_ASSIGN(hub.tls, tls_of(options.daemon));
  hub.allowed_hosts = options.daemon.allowed_hosts;
  TRY_ASSIGN(const DaemonToken token, daemon_token(options.daemon.token_file, options.daemon.token_file_origin,
                                                   options.daemon.data_dir));
  TRY(check_hub_token(token.token));
  hub.token = token.token;
  const bool tls = hub.tls.has_value();
  const uint64_t storage = hub.snapshot_storage_bytes;

  TRY(confine(options.daemon, hub.data_dir, Duty::hub));
  TRY_ASSIGN(const auto signals, StopSignals::create());
  TRY_ASSIGN(const auto daemon, hub::HubDaemon::start(std::move(hub)));
  std::promise<void> stop;
  signals->start([&stop] { stop.set_value(); });
  warn_of_exposure(tls, daemon->address(), daemon->port());
  log_info("ready: hub on {}, data in {} ({})", url_of(tls, daemon->address(), daemon->port()),
           options.daemon.data_dir,
           storage == 0 ? "as much as the disk holds" : "snapshots up to " + format_size(storage));
  stop.get_future().wait();
  daemon->stop();
  log_info("stopped");
  return kExitDone;
}

}  // namespace

Command hub_command() {
  Command command("hub", "know the nodes, make and keep snapshots (daemon)");
  auto options = std::make_shared<HubOptions>();
  options->daemon.listen = options->hub.listen;
  options->daemon.data_dir = "/var/lib/lookback/hub";
  command.description =
      "Nodes register with it; it makes snapshots of them, keeps the archives, exports them, and "
      "serves all that over HTTP. It "
      "runs in the foreground, logs to standard error, and stops cleanly on SIGTERM or Ctrl-C. "
      "Snapshots that were being made "
      "go on when it is started again.";
  add_daemon_options(command, options->daemon);
  command.size("--snapshot-storage-size", options->hub.snapshot_storage_bytes,
               "What the archives may take on disk; by default as much as the disk holds");
  command.text("--ca-file", "FILE", options->hub.ca_file,
               "Certificates (PEM) to trust in place of the system's, for https nodes");
  command.flag("--any-node-address", options->hub.any_node_address,
               "Let nodes say that they are at another address than they call from (capture --advertise), behind a proxy or an "
               "address translation; whoever can register a node then chooses where the hub connects to");
  allow_settings(command);
  command.examples = {
      {"lookback hub --data-dir /srv/lookback", "A hub for nodes on this machine."},
      {"lookback hub --listen 10.0.0.1:7400 --tls-cert hub.pem --tls-key hub.key --token-file "
       "/etc/lookback/token",
       "A hub for a cluster."},
      {"lookback hub --config /etc/lookback/hub.toml", "With options from a file."}};
  command.action = [options] { return run_hub(*options); };
  return command;
}

}  // namespace lookback::cli
