#pragma once
// The command line of the one binary: subcommands, their options, and the way from an Error to an exit status.

namespace lookback::cli {

/// Runs the command given. Returns the exit status: 0 done; 1 failed; 2 wrong usage; 3 done, but the window is not wholly covered;
/// 4 no such thing; 5 hub out of reach.
[[nodiscard]] int run(int argc, char** argv);

}  // namespace lookback::cli
