// lookback snapshot create

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/snapshot_view.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

/// How long a hub may be away: one that restarts goes on with its snapshots.
constexpr auto kHubPatience = std::chrono::seconds(60);

struct SnapshotCreateOptions {
  HubSettings hub;
  std::string name;
  std::optional<int64_t> last_ns;
  std::optional<std::string> from, to;
  std::vector<std::string> nodes, networks, tags;
  int64_t deadline_ns = 60 * kNsPerSecond;
  bool wait = false;
  std::string output = "table";
};

Result<Json> request_of(const SnapshotCreateOptions& options) {
  Json request = {{"name", options.name},
                  {"tags", Json::object()},
                  {"deadline_ns", options.deadline_ns}};
  // An empty list would be one that was asked for.
  if (!options.nodes.empty()) request["nodes"] = options.nodes;
  if (!options.networks.empty()) request["networks"] = options.networks;
  if (options.from || options.to) {
    if (options.last_ns)
      return fail(ErrorKind::invalid, "--last and --from exclude each other: give one");
    if (!options.from) return fail(ErrorKind::invalid, "--to needs --from as well");
    const int64_t now = Clock::system().realtime_ns();
    TRY_ASSIGN(const int64_t from, parse_time(*options.from, now));
    TRY_ASSIGN(const int64_t to, parse_time(options.to.value_or("now"), now));
    if (to <= from) {
      return fail(ErrorKind::invalid,
                  "the window from {} to {} is empty: --to must be later than --from",
                  format_time(from), format_time(to));
    }
    request["from"] = format_time_ns(from);
    request["to"] = format_time_ns(to);
  } else {
    request["last_ns"] = options.last_ns.value_or(5 * 60 * kNsPerSecond);
  }
  for (const std::string& tag : options.tags) {
    const size_t equals = tag.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorKind::invalid, "--tag: '{}' is not KEY=VALUE", tag);
    }
    request["tags"][tag.substr(0, equals)] = tag.substr(equals + 1);
  }
  return request;
}

/// A snapshot as the hub told it, and what is read of that.
struct Told {
  Json json;
  archive::Snapshot snapshot;
};

Result<Told> read_told(Json json) {
  auto snapshot = archive::snapshot_from_json(json);
  if (!snapshot) return tl::make_unexpected(snapshot.error().in("the hub's answer is not about a snapshot"));
  // It goes into commands that people copy.
  if (const auto named = check_snapshot_name(snapshot->name); !named)
    return fail(ErrorKind::corrupt, "the hub's answer is not about a snapshot: {}", named.error().message);
  return Told{std::move(json), std::move(*snapshot)};
}

bool ended(const archive::Snapshot& snapshot) {
  return snapshot.state != archive::SnapshotState::pending && snapshot.state != archive::SnapshotState::in_progress;
}

std::string nodes_done(const archive::Snapshot& snapshot) {
  const auto done = std::count_if(snapshot.nodes.begin(), snapshot.nodes.end(), [](const archive::SnapshotNode& node) {
    const std::string& status = node.entry.status;
    return status == "complete" || status == "partial" || status == "failed";
  });
  return fmt::format("{} of {} nodes", done, snapshot.nodes.size());
}

/// The last state of the snapshot, or an earlier one where somebody pressed Ctrl-C.
Result<Told> wait_for_end(HubClient& hub, Told told, const Interrupt& interrupt) {
  const std::string name = told.snapshot.name;
  TRY_ASSIGN(const std::string path, snapshot_path(name));
  Progress progress;
  auto answered = std::chrono::steady_clock::now();
  // Small snapshots end at once; a long one is asked after four times a second.
  for (int pause_ms = 20; !ended(told.snapshot); pause_ms = std::min(pause_ms * 2, 250)) {
    const archive::SnapshotProgress& state = told.snapshot.progress;
    progress.update(state.bytes_done, state.bytes_total, nodes_done(told.snapshot));
    if (!interrupt.sleep_ms(pause_ms)) break;
    auto answer = hub.get(path);
    if (answer) {
      TRY_ASSIGN(told, read_told(std::move(*answer)));
      answered = std::chrono::steady_clock::now();
    } else if (answer.error().kind == ErrorKind::not_found) {
      return fail(ErrorKind::failed, "snapshot {} was cancelled or deleted by somebody else", name);
    } else if (!may_pass(answer.error().kind) ||
               std::chrono::steady_clock::now() - answered > kHubPatience) {
      return tl::make_unexpected(answer.error());
    }
  }
  return told;
}

Result<> print_for_programs(const SnapshotCreateOptions& options, const Told& told) {
  if (options.output == "json") return print(pretty(told.json));
  if (options.output == "name") return print_line(told.snapshot.name);
  return {};
}

Result<int> show_started(const SnapshotCreateOptions& options, const Told& told) {
  const archive::Snapshot& snapshot = told.snapshot;
  TRY(print_for_programs(options, told));
  if (options.output == "table") {
    TRY(print_line(fmt::format("snapshot {} is being made: {}, {}; 'lookback snapshot show {}' tells how far it is", snapshot.name,
                               window_in_seconds(snapshot.window), nodes_done(snapshot), snapshot.name)));
  }
  const bool lacking = std::any_of(snapshot.nodes.begin(), snapshot.nodes.end(), [](const archive::SnapshotNode& node) {
    return node.entry.status == "failed" || node.entry.status == "partial";
  });
  if (!lacking) return kExitDone;
  report_incomplete(snapshot);
  return kExitIncomplete;
}

Result<int> show_ended(const SnapshotCreateOptions& options, const Told& told) {
  const archive::Snapshot& snapshot = told.snapshot;
  TRY(print_for_programs(options, told));
  if (snapshot.state != archive::SnapshotState::completed)
    return fail(ErrorKind::failed, "snapshot {} {}: {}", snapshot.name, name_of(snapshot.state), snapshot.reason);
  if (options.output == "table") {
    TRY(print_line(fmt::format("snapshot {}: {} of {}, {}{}", snapshot.name, counted(snapshot.packets, "packet"), counted(snapshot.nodes.size(), "node"),
                               format_size(snapshot.size_bytes), snapshot.complete ? "" : ", not complete")));
  }
  if (snapshot.complete) return kExitDone;
  report_incomplete(snapshot);
  return kExitIncomplete;
}

Result<int> run_snapshot_create(const SnapshotCreateOptions& options) {
  TRY_ASSIGN(const Json request, request_of(options));
  // The answer comes when every node has frozen its window or is known not to answer.
  HubClient::Options client;
  client.total_timeout_ms = client.stall_timeout_ms = options.deadline_ns / 1'000'000 + 30'000;
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub, client));
  TRY_ASSIGN(Json answer, hub.post("/api/v1/snapshots", request));
  TRY_ASSIGN(Told started, read_told(std::move(answer)));
  if (!options.wait) return show_started(options, started);

  const Interrupt interrupt;
  TRY_ASSIGN(const Told told, wait_for_end(hub, std::move(started), interrupt));
  if (ended(told.snapshot)) return show_ended(options, told);
  const std::string& name = told.snapshot.name;
  report_note(fmt::format("detached; snapshot {} goes on: 'lookback snapshot show {}' tells how far it is, 'lookback snapshot cancel {}' ends it", name, name,
                          name));
  return interrupt.exit_status();
}

}  // namespace

Command snapshot_create_command() {
  Command command("create", "freeze a window of the past on the nodes and copy it to the hub");
  auto options = std::make_shared<SnapshotCreateOptions>();
  command.description =
      "The window is frozen on all selected nodes at once, which takes milliseconds; then it is "
      "copied. Names are letters, digits, "
      "'.', '_' and '-'; strftime fields such as %Y%m%d-%H%M are replaced by the hub's time in "
      "UTC. Times are RFC 3339, "
      "\"2026-03-01 12:00\", 12:00, now, or relative such as -30m; a window is [from, to) in the "
      "hub's time.\n"
      "\n"
      "With --wait, Ctrl-C detaches: the snapshot goes on, and the exit status is 130. The exit "
      "status is 3 where a node's "
      "part of the window is missing; the reasons are on standard error.";
  command.argument("NAME", options->name, "What to call it; a name in use is refused");
  command.duration("--last", options->last_ns, "The window that ends now; by default 5m");
  command.text("--from", "TIME", options->from, "The window's start, in place of --last");
  command.text("--to", "TIME", options->to, "The window's end; by default now");
  command.list("--node", "NODE", options->nodes,
               "Only this node, or those that match a pattern with * and ?");
  command.list("--ip", "CIDR", options->networks,
               "Only packets from or to these addresses, inside tunnels too");
  command.list("--tag", "KEY=VALUE", options->tags, "A note kept in the archive");
  command.duration("--deadline", options->deadline_ns,
                   "How long a node that does not answer is waited for; by default 60s");
  command.flag("--wait", options->wait,
               "Wait until it is complete, with a progress bar on a terminal");
  command.choice("-o,--output", "table|json|name", options->output,
                 "How to print what was made; by default a line for people");
  add_hub_options(command, options->hub);
  command.examples = {
      {"lookback snapshot create incident-1 --last 5m --wait",
       "The last five minutes of all nodes."},
      {"lookback snapshot create deploy --from 14:00 --to 14:20 --node 'web-*' --ip 10.1.2.0/24",
       "A window of today, of some nodes, with the packets of one network."},
      {"lookback snapshot create audit-%Y%m%d-%H%M --last 1h --tag by=cron",
       "A name with the date in it, for cron."}};
  command.action = [options] { return run_snapshot_create(*options); };
  return command;
}

}  // namespace lookback::cli
