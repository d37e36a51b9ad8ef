// lookback snapshot: the group.

#include "cli/commands.hpp"

namespace lookback::cli {

Command snapshot_command() {
  Command command("snapshot", "make, keep and read snapshots");
  command.description =
      "A snapshot is a window of past traffic, copied from the nodes into one immutable archive on "
      "the hub. Commands that "
      "only read (show, pcap, flows, verify) take an archive file as well and then need no hub.";
  command.subcommands.push_back(snapshot_create_command());
  command.subcommands.push_back(snapshot_list_command());
  command.subcommands.push_back(snapshot_show_command());
  command.subcommands.push_back(snapshot_pcap_command());
  command.subcommands.push_back(snapshot_flows_command());
  command.subcommands.push_back(snapshot_download_command());
  command.subcommands.push_back(snapshot_verify_command());
  command.subcommands.push_back(snapshot_import_command());
  command.subcommands.push_back(snapshot_cancel_command());
  command.subcommands.push_back(snapshot_delete_command());
  return command;
}

}  // namespace lookback::cli
