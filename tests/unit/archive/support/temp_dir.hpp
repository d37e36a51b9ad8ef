#pragma once
// A folder that goes with the test, and other programs' judgement on what stands in it.

#include <filesystem>
#include <string>

namespace lookback::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

struct ShellResult {
  int status = -1;     ///< exit status, or -1 when it did not end by itself
  std::string output;  ///< standard output and standard error
};
/// Runs a shell command line inside `directory`.
[[nodiscard]] ShellResult run_shell(const std::filesystem::path& directory, const std::string& command);

/// Whole files, for tests that damage them.
[[nodiscard]] std::string slurp(const std::filesystem::path& path);
void spill(const std::filesystem::path& path, const std::string& bytes);

}  // namespace lookback::test
