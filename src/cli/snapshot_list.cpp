// lookback snapshot list

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/json_text.hpp"
#include "cli/snapshot_view.hpp"
#include "lookback/base/names.hpp"

namespace lookback::cli {

namespace {

struct SnapshotListOptions {
  HubSettings hub;
  std::string output = "table";
};

Result<int> run_snapshot_list(const SnapshotListOptions& options) {
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const Json answer, hub.get_pages("/api/v1/snapshots", "snapshots"));
  const Json& snapshots = list_of(answer, "snapshots");
  if (options.output == "json") {
    TRY(print(pretty(answer)));
  } else if (options.output == "name") {
    TRY(print_names(snapshots, "snapshot", check_snapshot_name));
  } else if (snapshots.empty()) {
    report_note(
        "there are no snapshots yet: 'lookback snapshot create NAME --last 5m --wait' makes one");
  } else {
    std::vector<archive::Snapshot> read;
    for (const Json& snapshot : snapshots) {
      TRY_ASSIGN(archive::Snapshot one, archive::snapshot_from_json(snapshot));
      read.push_back(std::move(one));
    }
    TRY(print(snapshots_table(read)));
  }
  return kExitDone;
}

}  // namespace

Command snapshot_list_command() {
  Command command("list", "list the snapshots on the hub");
  auto options = std::make_shared<SnapshotListOptions>();
  command.description =
      "Times are UTC. The status 'incomplete' means completed, but not wholly covered: show tells "
      "why.";
  command.choice("-o,--output", "table|json|name", options->output,
                 "How to print; by default a table");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot list", "A table of the snapshots."},
                      {"lookback snapshot list -o name", "One name a line, for scripts."}};
  command.action = [options] { return run_snapshot_list(*options); };
  return command;
}

}  // namespace lookback::cli
