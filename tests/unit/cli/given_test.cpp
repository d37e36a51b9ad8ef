// An option that was given is never taken for one that was not.
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "cli/commands.hpp"

using namespace lookback;
using namespace lookback::cli;

namespace {

void each_command(const Command& command, const std::string& path,
                  const std::function<void(const Command&, const std::string&)>& call) {
  call(command, path);
  for (const Command& below : command.subcommands)
    each_command(below, path + ' ' + below.name, call);
}

/// Options of which 0 has a meaning: whole packets, as tcpdump has it.
const std::set<std::string> kZeroMeans = {"--snaplen"};

}  // namespace

TEST_CASE("no option and no argument of any command takes an empty value") {
  size_t options = 0, arguments = 0;
  const Command root = root_command();
  each_command(root, "lookback", [&](const Command& command, const std::string& path) {
    for (const Option& option : command.options) {
      CAPTURE(path, option.name);
      const auto set = option.set("");
      REQUIRE_FALSE(set);
      CHECK(set.error().kind == ErrorKind::invalid);
      ++options;
    }
    for (const Positional& positional : command.positionals) {
      CAPTURE(path, positional.value);
      const auto set = positional.set("");
      REQUIRE_FALSE(set);
      CHECK(set.error().kind == ErrorKind::invalid);
      ++arguments;
    }
  });
  CHECK(options > 50);
  CHECK(arguments > 5);
}

TEST_CASE("no option takes 0 for its default") {
  struct Zeros {
    std::string value;
    std::vector<std::string> texts;
  };
  const std::vector<Zeros> zeros = {{"SIZE", {"0", "0B", "0GiB", "0.0001KiB"}},
                                    {"DURATION", {"0s", "0m0s", "0.1ns"}},
                                    {"N", {"0", "00"}}};
  size_t tried = 0;
  const Command root = root_command();
  each_command(root, "lookback", [&](const Command& command, const std::string& path) {
    for (const Option& option : command.options) {
      for (const auto& [value, texts] : zeros) {
        if (option.value != value) continue;
        for (const std::string& text : texts) {
          CAPTURE(path, option.name, text);
          CHECK(option.set(text).has_value() == (kZeroMeans.count(option.name) != 0));
          ++tried;
        }
      }
    }
  });
  CHECK(tried > 20);
}
