#pragma once
// Other programs, for their judgement on our files.

#include <stdio.h>
#include <sys/wait.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace lookback::test {

struct ShellResult {
  int status = -1;     ///< exit status, or -1 when it did not end by itself
  std::string output;  ///< standard output and standard error
};

/// Runs a shell command line inside `directory`.
[[nodiscard]] inline ShellResult run_shell(const std::filesystem::path& directory,
                                           const std::string& command) {
  const std::string line = "cd '" + directory.string() + "' && { " + command + "; } 2>&1";
  ShellResult result;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  char buffer[4096];
  for (size_t n = 0; (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    result.output.append(buffer, n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

}  // namespace lookback::test
