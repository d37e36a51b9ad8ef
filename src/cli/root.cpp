// The tree of commands.

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "lookback/base/version.hpp"

namespace lookback::cli {

Command root_command() {
  Command root("lookback", "freeze a window of past network traffic of a whole cluster");
  auto version_wanted = std::make_shared<bool>(false);
  root.description =
      "Every node records its packets into a FIFO of a fixed size, all the time. When something "
      "has happened, 'lookback snapshot "
      "create NAME --last 5m' copies that window from every node into one archive on the hub, for "
      "Wireshark and tcpdump.\n"
      "\n"
      "Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, but the window is not wholly covered; "
      "4 no such thing; 5 hub out of "
      "reach.";
  root.flag("--version", *version_wanted, "Print the version");
  root.subcommands.push_back(capture_command());
  root.subcommands.push_back(hub_command());
  root.subcommands.push_back(standalone_command());
  root.subcommands.push_back(nodes_command());
  root.subcommands.push_back(snapshot_command());
  root.subcommands.push_back(jobs_command());
  root.subcommands.push_back(token_command());
  root.subcommands.push_back(completion_command());
  root.examples = {
      {"sudo lookback standalone", "The whole on one machine, for a first try."},
      {"lookback snapshot create incident-1 --last 5m --wait", "Keep the last five minutes."},
      {"lookback snapshot pcap incident-1 -o - | wireshark -k -i -", "Look at them."}};
  root.action = [version_wanted]() -> Result<int> {
    if (!*version_wanted)
      return fail(ErrorKind::invalid, "a command is missing: see lookback --help");
    TRY(print(fmt::format("lookback {}\n", version())));
    return kExitDone;
  };
  return root;
}

}  // namespace lookback::cli
