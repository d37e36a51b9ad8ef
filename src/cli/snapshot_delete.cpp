// lookback snapshot delete

#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/snapshot_view.hpp"
#include "cli/terminal.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"

namespace lookback::cli {

namespace {

struct SnapshotDeleteOptions {
  HubSettings hub;
  std::string name;
  bool yes = false;
};

Result<bool> confirmed(const archive::Snapshot& snapshot) {
  const std::string question = fmt::format("Delete snapshot {} ({}, {})? [y/N] ", snapshot.name,
                                           format_size(snapshot.size_bytes), window_in_seconds(snapshot.window));
  TRY(write_all(STDERR_FILENO, as_bytes(printable(question))));
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer == "y" || answer == "Y" || answer == "yes";
}

Result<int> run_snapshot_delete(const SnapshotDeleteOptions& options) {
  TRY_ASSIGN(const std::string path, snapshot_path(options.name));
  if (!options.yes && !is_terminal(STDIN_FILENO)) {
    return fail(ErrorKind::invalid,
                "delete of snapshot {} asks first, and there is no terminal to ask on: give --yes",
                options.name);
  }
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  if (!options.yes) {
    TRY_ASSIGN(const Json json, hub.get(path));
    TRY_ASSIGN(const archive::Snapshot snapshot, archive::snapshot_from_json(json));
    TRY_ASSIGN(const bool yes, confirmed(snapshot));
    if (!yes) return fail(ErrorKind::failed, "snapshot {} was not deleted", options.name);
  }
  TRY_ASSIGN(const Json answer, hub.remove(path));
  if (const std::string unreleased = unreleased_note(answer); !unreleased.empty())
    report_note(fmt::format("snapshot {} was deleted; {}", options.name, unreleased));
  return kExitDone;
}

}  // namespace

Command snapshot_delete_command() {
  Command command("delete", "delete a snapshot from the hub");
  auto options = std::make_shared<SnapshotDeleteOptions>();
  command.description =
      "Asks on a terminal; elsewhere it needs --yes. A snapshot that is being made has to be "
      "cancelled.";
  command.argument("SNAPSHOT", options->name, "The snapshot's name");
  command.flag("-y,--yes", options->yes, "Do not ask");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot delete incident-1", "Asks, then deletes."},
                      {"lookback snapshot delete incident-1 --yes", "Deletes, for scripts."}};
  command.action = [options] { return run_snapshot_delete(*options); };
  return command;
}

}  // namespace lookback::cli
