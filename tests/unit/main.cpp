#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>

#include "unit/support/skip.hpp"

namespace lookback::test {

void note_skip(std::string_view why) {
  const std::string line = Catch::getResultCapture().getCurrentTestName() + ": " + std::string(why) + "\n";
  std::fprintf(stderr, "SKIPPED: %s", line.c_str());
  const char* path = std::getenv("LOOKBACK_TEST_SKIPS");
  if (path == nullptr) return;
  std::FILE* file = std::fopen(path, "a");
  // A skip that nobody counts would pass for a success.
  if (file == nullptr) FAIL("cannot open " << path << " to note a skip");
  std::fputs(line.c_str(), file);
  std::fclose(file);
}

}  // namespace lookback::test
