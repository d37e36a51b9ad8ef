// lookback snapshot cancel

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"

namespace lookback::cli {

namespace {

struct Options {
  HubSettings hub;
  std::string name;
};

Result<int> run(const Options& options) {
  TRY_ASSIGN(const std::string path, snapshot_path(options.name, "/cancel"));
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY(hub.post_nothing(path));
  report_note(fmt::format("snapshot {} was cancelled; nothing of it is left", options.name));
  return kExitDone;
}

}  // namespace

Command snapshot_cancel_command() {
  Command command("cancel", "end a snapshot that is being made");
  auto options = std::make_shared<Options>();
  command.description =
      "The nodes forget the frozen window, and the hub removes what it has of the archive.";
  command.argument("SNAPSHOT", options->name, "The snapshot's name");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot cancel incident-1", "Ends it and leaves nothing."}};
  command.action = [options] { return run(*options); };
  return command;
}

}  // namespace lookback::cli
