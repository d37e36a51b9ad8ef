#pragma once
// Every subcommand, one function each, defined in the file of its name.

#include "cli/command.hpp"

namespace lookback::cli {

[[nodiscard]] Command capture_command();
[[nodiscard]] Command hub_command();
[[nodiscard]] Command standalone_command();
[[nodiscard]] Command nodes_command();
[[nodiscard]] Command snapshot_command();  ///< the group of those below
[[nodiscard]] Command snapshot_create_command();
[[nodiscard]] Command snapshot_cancel_command();
[[nodiscard]] Command snapshot_list_command();
[[nodiscard]] Command snapshot_show_command();
[[nodiscard]] Command snapshot_pcap_command();
[[nodiscard]] Command snapshot_flows_command();
[[nodiscard]] Command snapshot_download_command();
[[nodiscard]] Command snapshot_delete_command();
[[nodiscard]] Command snapshot_verify_command();
[[nodiscard]] Command snapshot_import_command();
[[nodiscard]] Command jobs_command();
[[nodiscard]] Command token_command();
/// Prints completion scripts for the tree that `root` returns.
[[nodiscard]] Command completion_command();

/// The whole tree.
[[nodiscard]] Command root_command();

}  // namespace lookback::cli
