// lookback snapshot show

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/json_text.hpp"
#include "cli/snapshot_view.hpp"
#include "lookback/archive/archive.hpp"

namespace lookback::cli {

namespace {

struct SnapshotShowOptions {
  HubSettings hub;
  std::string snapshot;
  std::string output = "table";
};

/// The snapshot as JSON: a hub may be newer, and tell programs more than is read here.
Result<Json> find(const SnapshotShowOptions& options) {
  if (means_file(options.snapshot)) {
    TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(options.snapshot));
    return archive::snapshot_to_json(snapshot_of_file(reader->manifest(), reader->file_bytes()), archive::NodeDetail::full);
  }
  TRY_ASSIGN(const std::string path, snapshot_path(options.snapshot));
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  return hub.get(path);
}

Result<int> run_snapshot_show(const SnapshotShowOptions& options) {
  TRY_ASSIGN(const Json json, find(options));
  if (options.output == "json") {
    TRY(print(pretty(json)));
    return kExitDone;
  }
  TRY_ASSIGN(const archive::Snapshot snapshot, archive::snapshot_from_json(json));
  TRY(print(snapshot_page(snapshot)));
  return kExitDone;
}

}  // namespace

Command snapshot_show_command() {
  Command command("show", "tell everything about a snapshot");
  auto options = std::make_shared<SnapshotShowOptions>();
  command.description =
      "Shows the window, and for each node its coverage, packets, gaps with the packets known to "
      "be lost, and the offset of its "
      "clock. An argument with a '/' in it, or that ends in .zst and exists, is an archive file "
      "and needs no hub.";
  command.argument("SNAPSHOT|FILE", options->snapshot, "A snapshot's name, or an archive file");
  command.choice("-o,--output", "table|json", options->output,
                 "How to print; by default a page for people");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot show incident-1", "A page about a snapshot of the hub."},
                      {"lookback snapshot show ./incident-1.tar.zst -o json | jq .nodes",
                       "The nodes in an archive file."}};
  command.action = [options] { return run_snapshot_show(*options); };
  return command;
}

}  // namespace lookback::cli
