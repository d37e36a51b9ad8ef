#include "lookback/cli/cli.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/terminal.hpp"
#include "lookback/base/fd.hpp"

namespace lookback::cli {

namespace {

constexpr size_t kWidestHelp = 100, kHelpWithoutTerminal = 80;

std::string help_for(const Command& command, const std::string& path, int fd) {
  const size_t width = terminal_width(fd);
  return help_text(command, path, width == 0 ? kHelpWithoutTerminal : std::min(width, kWidestHelp),
                   wants_colour(fd));
}

Result<int> run_command(const std::vector<std::string>& arguments) {
  const Command root = root_command();
  TRY_ASSIGN(const Parsed parsed, parse_command_line(root, arguments, Environment::of_process()));
  if (parsed.help) {
    TRY(print(help_for(*parsed.command, parsed.path, STDOUT_FILENO)));
    return kExitDone;
  }
  if (parsed.command->action && !arguments.empty()) return parsed.command->action();
  // A group alone: what it has is more help than an error.
  TRY(write_all(STDERR_FILENO, as_bytes(help_for(*parsed.command, parsed.path, STDERR_FILENO))));
  return kExitUsage;
}

}  // namespace

int run(int argc, char** argv) {
  // A reader that goes away shows as EPIPE where it is written, and does not kill the process.
  ::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const auto status = run_command(arguments);
  if (status) return *status;
  report_error(status.error());
  return exit_status(status.error());
}

}  // namespace lookback::cli
