// lookback snapshot cancel

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "lookback/base/json.hpp"

namespace lookback::cli {

namespace {

struct SnapshotCancelOptions {
  HubSettings hub;
  std::string name;
};

Result<int> run_snapshot_cancel(const SnapshotCancelOptions& options) {
  TRY_ASSIGN(const std::string path, snapshot_path(options.name, "/cancel"));
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const nlohmann::json answer, hub.post_nothing(path));
  const std::string unreleased = unreleased_note(answer);
  report_note(fmt::format("snapshot {} was cancelled; {}", options.name,
                          unreleased.empty() ? "nothing of it is left" : unreleased));
  return kExitDone;
}

}  // namespace

Command snapshot_cancel_command() {
  Command command("cancel", "end a snapshot that is being made");
  auto options = std::make_shared<SnapshotCancelOptions>();
  command.description =
      "The nodes forget the frozen window, and the hub removes what it has of the archive. A node that "
      "cannot be reached is named; it forgets the window as soon as the hub hears from it again.";
  command.argument("SNAPSHOT", options->name, "The snapshot's name");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot cancel incident-1", "Ends it."}};
  command.action = [options] { return run_snapshot_cancel(*options); };
  return command;
}

}  // namespace lookback::cli
