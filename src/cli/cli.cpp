#include "lookback/cli/cli.hpp"

#include <CLI/CLI.hpp>

#include "lookback/base/version.hpp"

namespace lookback::cli {

int run(int argc, char** argv) {
  CLI::App app{"Freezes a window of past network traffic of a whole cluster."};
  app.set_version_flag("--version", std::string("lookback ") + std::string(version()));
  app.require_subcommand(0, 1);
  CLI11_PARSE(app, argc, argv);
  return 0;
}

}  // namespace lookback::cli
