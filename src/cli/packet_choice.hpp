#pragma once
// Which packets of a snapshot are meant: what snapshot pcap and snapshot flows have in common.

#include <optional>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "lookback/exporter/exporter.hpp"

namespace lookback::cli {

struct PacketChoice {
  std::optional<std::string> from, to;
  std::vector<std::string> nodes, interfaces, networks;
  std::optional<std::string> filter;
  std::vector<std::string> processes, containers;
  std::vector<uint32_t> pids;
};

/// `choice` lives as long as the command's action.
void add_choice_options(Command& command, PacketChoice& choice);
/// For an archive file. Kind invalid.
[[nodiscard]] Result<exporter::ExportOptions> options_of(const PacketChoice& choice);
/// For the hub: "&from=…&node=…". Kind invalid.
[[nodiscard]] Result<std::string> query_of(const PacketChoice& choice);

}  // namespace lookback::cli
