// lookback nodes

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

struct NodesOptions {
  HubSettings hub;
  std::string output = "table";
};

Colour colour_of(const std::string& state) {
  if (state == "up") return Colour::green;
  return state == "late" ? Colour::yellow : Colour::red;
}

std::string nodes_table(const Json& nodes, int64_t now_ns) {
  Table table({{"Node", false, 12},
               {"State"},
               {"Oldest"},
               {"Newest"},
               {"Packets/s", true},
               {"Bytes/s", true},
               {"Dropped", true},
               {"Clock"},
               {"Version"},
               {"Last seen"},
               {"URL", false, 8}});
  for (const Json& node : nodes) {
    const std::string state = text_of(node, "state");
    const Json& clock = member_of(node, "clock");
    const int64_t dropped = number_of(node, "dropped");
    table.add(
        {{text_of(node, "name"), Colour::bold},
         {state, colour_of(state)},
         time_of(node, "oldest"),
         time_of(node, "newest"),
         fmt::format("{:.0f}", json_get_or<double>(node, "packets_per_second", 0).value_or(0)),
         format_size(static_cast<uint64_t>(
             std::max(0.0, json_get_or<double>(node, "bytes_per_second", 0).value_or(0)))),
         {std::to_string(dropped), dropped != 0 ? Colour::yellow : Colour::none},
         clock.is_object() ? clock_text(number_of(clock, "offset_ns"), number_of(clock, "error_ns"))
                           : "-",
         text_of(node, "version"),
         ago(text_of(node, "last_seen"), now_ns),
         text_of(node, "url")});
  }
  return table.render(TableStyle::of(STDOUT_FILENO));
}

Result<int> run_nodes(const NodesOptions& options) {
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const Json answer, hub.get("/api/v1/nodes"));
  const Json& nodes = list_of(answer, "nodes");
  if (options.output == "json") {
    TRY(print(pretty(answer)));
  } else if (options.output == "name") {
    TRY(print_names(nodes, "node", check_node_name));
  } else if (nodes.empty()) {
    report_note(
        fmt::format("no node is registered at {}: start one with 'lookback capture --hub {}'",
                    hub.url(), hub.url()));
  } else {
    TRY(print(nodes_table(nodes, Clock::system().realtime_ns())));
  }
  return kExitDone;
}

}  // namespace

Command nodes_command() {
  Command command("nodes", "list the nodes that the hub knows");
  auto options = std::make_shared<NodesOptions>();
  command.description =
      "Shows each node's recorded time, rates, dropped packets, the offset of its clock to the "
      "hub's with the error of that "
      "figure, and when it was last heard of. Times are UTC.";
  command.choice("-o,--output", "table|json|name", options->output,
                 "How to print; by default a table");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback nodes", "A table of the nodes."},
                      {"lookback nodes -o json | jq -r '.nodes[] | select(.dropped > 0) | .name'",
                       "The nodes that lost packets."}};
  command.action = [options] { return run_nodes(*options); };
  return command;
}

}  // namespace lookback::cli
