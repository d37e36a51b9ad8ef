// lookback capture: the daemon of a node, and --status, which asks a running one.

#include <unistd.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/daemon.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/json_text.hpp"
#include "cli/node_status.hpp"
#include "cli/token.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/http/own_host.hpp"
#include "lookback/http/roles.hpp"
#include "lookback/http/url.hpp"
#include "lookback/node/capture_daemon.hpp"

namespace lookback::cli {

namespace {

struct CaptureOptions {
  DaemonSettings daemon;
  node::CaptureOptions capture;
  bool no_promiscuous = false;
  std::string hub;
  bool status = false;
  std::string node_url;
  std::string output = "table";
};

/// How to reach a daemon that runs with these options.
std::string status_url(const CaptureOptions& options) {
  if (!options.node_url.empty()) return options.node_url;
  const size_t colon = options.daemon.listen.rfind(':');
  std::string address = options.daemon.listen.substr(0, colon);
  const std::string port = colon == std::string::npos ? "" : options.daemon.listen.substr(colon);
  if (address == "0.0.0.0" || address.empty() || address == "*") address = "127.0.0.1";
  if (address == "[::]") address = "[::1]";
  return (options.daemon.tls_cert.empty() ? "http://" : "https://") + address + port;
}

Result<int> show_status(const CaptureOptions& options) {
  HubSettings settings;
  settings.url = status_url(options);
  settings.token_file = options.daemon.token_file;
  settings.token_file_origin = options.daemon.token_file_origin;
  settings.ca_file = options.capture.ca_file;
  HubClient::Options client;
  client.who = "capture daemon";
  client.start_hint = "is it running? --listen or --node-url names another";
  TRY_ASSIGN(HubClient daemon, HubClient::create(settings, client));
  TRY_ASSIGN(const Json status, daemon.get("/api/v1/status"));
  TRY(print(options.output == "json" ? pretty(status) : node_status_page(status)));
  return kExitDone;
}

/// A hub elsewhere has a token of its own, which this machine cannot know.
Result<std::string> token_of(const CaptureOptions& options) {
  const DaemonSettings& daemon = options.daemon;
  TRY_ASSIGN(const TokenFile given, given_token(daemon.token_file, daemon.token_file_origin));
  const auto hub = http::parse_url(options.hub, "hub");
  const auto host = hub ? http::authority_host(hub->host) : std::nullopt;
  if (given.token.empty() && !options.hub.empty() && host && !http::is_own_host(*host))
    return fail(ErrorKind::invalid,
                "the hub {} is on another machine: make this node's token there (lookback token create --role node --node NAME), copy it here, and give it "
                "with --token-file",
                options.hub);
  if (http::role_of(given.token) == http::Role::client)
    return fail(ErrorKind::invalid, "this is a token of clients, and a node needs its own: lookback token create --role node --node NAME, beside the hub");
  TRY_ASSIGN(DaemonToken token, daemon_token(daemon.token_file, daemon.token_file_origin, daemon.data_dir));
  return std::move(token.token);
}

Result<int> record(const CaptureOptions& options) {
  TRY(apply_log_level(options.daemon));
  TRY(check_may_capture("capture"));
  keep_memory_low();
  node::CaptureOptions capture = options.capture;
  capture.promiscuous = !options.no_promiscuous;
  capture.hub_url = options.hub;
  capture.listen = options.daemon.listen;
  capture.data_dir = options.daemon.data_dir;
  capture.insecure = options.daemon.insecure;
  TRY_ASSIGN(capture.tls, tls_of(options.daemon));
  capture.allowed_hosts = options.daemon.allowed_hosts;
  TRY_ASSIGN(capture.token, token_of(options));

  TRY(confine(options.daemon, capture.data_dir, capture.os_events ? Duty::capture_and_events : Duty::capture));
  TRY_ASSIGN(const auto signals, StopSignals::create());
  TRY_ASSIGN(const auto daemon, node::CaptureDaemon::start(std::move(capture)));
  signals->start([&daemon] { daemon->stop(); });
  const node::CaptureOptions& used = daemon->options();
  warn_of_exposure(used.tls.has_value(), daemon->address(), daemon->port());
  log_info("ready: node {} on {}, data in {} ({}), {}", used.node,
           url_of(used.tls.has_value(), daemon->address(), daemon->port()), used.data_dir.string(),
           format_size(used.storage_bytes),
           used.hub_url.empty() ? "no hub (--hub URL)" : "hub " + used.hub_url);
  TRY(daemon->wait());
  log_info("stopped");
  return kExitDone;
}

}  // namespace

Command capture_command() {
  Command command("capture", "record this node's packets (daemon)");
  auto options = std::make_shared<CaptureOptions>();
  options->daemon.listen = options->capture.listen;
  options->daemon.data_dir = "/var/lib/lookback/capture";
  command.description =
      "Records the packets of all interfaces into a FIFO of a fixed size, all the time, and serves "
      "windows of it to the hub. It "
      "runs in the foreground, logs to standard error, and stops cleanly on SIGTERM or Ctrl-C. It "
      "needs root or CAP_NET_RAW.\n"
      "\n"
      "With --status it does not record, but asks the capture daemon that runs on this machine how "
      "it is.";
  command.text("--hub", "URL", options->hub,
               "The hub to register with; without one the node only serves its API");
  command.text("--node", "NAME", options->capture.node, "This node's name; by default the host's");
  add_daemon_options(command, options->daemon);
  command.text("--advertise", "URL", options->capture.advertise_url,
               "Where the hub finds this node; by default the address that the hub sees, and the "
               "port of --listen");
  command.size("--storage-size", options->capture.storage_bytes,
               "What the FIFO may take on disk; by default 10GiB");
  command.size("--freeze-size", options->capture.freeze_bytes,
               "How much of it may stay frozen for snapshots; by default a quarter of the storage");
  command.flag("--os-events", options->capture.os_events,
               "Record what processes and sockets do as well (eBPF); on by default, where the "
               "kernel and the privileges allow it");
  command.size("--event-storage-size", options->capture.event_storage_bytes,
               "What these events may take on disk beside the packets, and up to half of the storage "
               "where they would not reach as far back as the packets, which make room for it; by "
               "default a sixteenth of the storage, at least 64MiB");
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
  command.flag("--exclude-self", options->capture.exclude_self,
               "Leave Lookback's own connections out; on by default, =off records them");
  command.text("--ca-file", "FILE", options->capture.ca_file,
               "Certificates (PEM) to trust in place of the system's, for an https hub");
  allow_settings(command);
  command.flag("--status", options->status, "Ask the running daemon how it is, and print it");
  command.text("--node-url", "URL", options->node_url,
               "With --status: the daemon to ask; by default the one at --listen");
  command.choice("-o,--output", "table|json", options->output,
                 "With --status: how to print; by default a page for people");
  command.examples = {
      {"sudo lookback capture --hub http://127.0.0.1:7400 --storage-size 50GiB",
       "Record everything, keep 50 GiB."},
      {"sudo lookback capture --hub https://hub.example:7400 --token-file /etc/lookback/token "
       "--listen 10.0.0.7:7401 --tls-cert "
       "node.pem --tls-key node.key",
       "A node of a cluster."},
      {"sudo lookback capture --config /etc/lookback/capture.toml", "With options from a file."},
      {"lookback capture --status",
       "Oldest and newest packet, rates, drops, and how far back the FIFO will reach."}};
  command.action = [options] { return options->status ? show_status(*options) : record(*options); };
  return command;
}

}  // namespace lookback::cli
