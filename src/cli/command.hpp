#pragma once
// The tree of commands as data: one description from which the parser, --help, the completion
// scripts and the settings from environment and file are all made, so that none of them drifts from
// the others.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::cli {

/// Where a value was found; the first of these that has one wins.
enum class Origin { command_line, environment, file, nowhere };

struct Option {
  std::string name;        ///< "--hub"
  std::string short_name;  ///< "-o", or empty
  std::string value;  ///< what stands in its place in the help: "URL"; "table|json" is a choice;
                      ///< empty: a flag
  std::string help;
  bool setting =
      false;  ///< may also come from LOOKBACK_<FLAG> and from the command's settings file
  bool repeated = false;  ///< may be given more than once
  bool required = false;
  /// Takes one value, checks it; for a flag "true" or "false".
  std::function<Result<>(const std::string&)> set;
  Origin* origin = nullptr;  ///< where set, the parser tells here where the value came from

  [[nodiscard]] bool is_flag() const { return value.empty(); }
  [[nodiscard]] std::string environment_name() const;
};

struct Positional {
  std::string value;  ///< "NAME", "SNAPSHOT|FILE"
  std::string help;
  bool required = true;
  bool repeated = false;
  std::function<Result<>(const std::string&)> set;
};

/// A line for the shell and what it does.
struct Example {
  std::string command, meaning;
};

/// Which files have the settings of a command.
enum class SettingsFile {
  none,
  given,   ///< the one named by --config or LOOKBACK_CONFIG (daemons)
  client,  ///< ~/.config/lookback/config.toml, then /etc/lookback/config.toml, where they exist
};

/// A command and those below it. The variables that the setters write to belong to the action's
/// closure.
class Command {
 public:
  Command(std::string command_name, std::string one_line)
      : name(std::move(command_name)), summary(std::move(one_line)) {}

  std::string name, summary;  ///< summary: one line without a full stop
  std::string description;    ///< paragraphs for --help
  std::vector<Option> options;
  std::vector<Positional> positionals;
  std::vector<Example> examples;
  std::vector<Command> subcommands;
  SettingsFile settings_file = SettingsFile::none;
  /// Runs it; the exit status, or what went wrong.
  std::function<Result<int>()> action;

  // Each returns the new option, for further settings. The target must live as long as the action.
  // An option that was given is never taken for one that was not: an empty text and a size, a
  // duration or a number of 0 are refused (kind invalid), but where 0 has a meaning of its own. A
  // target whose default is not a value of its kind is an optional.
  Option& flag(const std::string& names, bool& target, std::string help);
  Option& text(const std::string& names, std::string value, std::string& target, std::string help);
  Option& text(const std::string& names, std::string value, std::optional<std::string>& target,
               std::string help);
  Option& list(const std::string& names, std::string value, std::vector<std::string>& target,
               std::string help);
  /// Values separated by commas, and more of them by repetition.
  Option& comma_list(const std::string& names, std::string value, std::vector<std::string>& target,
                     std::string help);
  Option& choice(const std::string& names, const std::string& alternatives, std::string& target,
                 std::string help);
  Option& size(const std::string& names, uint64_t& bytes, std::string help);
  Option& size(const std::string& names, std::optional<uint64_t>& bytes, std::string help);
  Option& duration(const std::string& names, int64_t& duration_ns, std::string help);
  Option& duration(const std::string& names, std::optional<int64_t>& duration_ns,
                   std::string help);
  Option& number(const std::string& names, uint32_t& target, std::string help, uint32_t least = 1);
  Option& number(const std::string& names, std::optional<uint32_t>& target, std::string help,
                 uint32_t least = 1);

  /// May be repeated.
  Option& numbers(const std::string& names, std::vector<uint32_t>& target, std::string help,
                  uint32_t least = 1);

  Positional& argument(std::string value, std::string& target, std::string help);
  Positional& arguments(std::string value, std::vector<std::string>& target, std::string help);

  [[nodiscard]] const Command* find(std::string_view subcommand) const;
  [[nodiscard]] const Option* find_option(std::string_view long_or_short) const;

 private:
  Option& add(const std::string& names, std::string value, std::string help,
              std::function<Result<>(const std::string&)> set);
};

/// "true", "yes", "on", "1" and their opposites.
[[nodiscard]] Result<bool> parse_switch(std::string_view text);

/// The help page. `path` is how the command was reached: "lookback snapshot create".
[[nodiscard]] std::string help_text(const Command& command, const std::string& path, size_t width,
                                    bool colour);

/// What lies around the process. Tests hand in their own.
struct Environment {
  std::function<const char*(const char*)> variable;  ///< getenv
  std::vector<std::filesystem::path>
      client_files;  ///< the first one with a value wins; absent ones are skipped

  [[nodiscard]] static Environment of_process();
};

struct Parsed {
  const Command* command = nullptr;
  std::string path;   ///< "lookback snapshot create"
  bool help = false;  ///< --help was asked for; nothing was set then
};

/// Finds the command and calls the setters. A settings file may have a [table] per command; keys
/// that belong to nobody are refused. Errors are of kind invalid, or those of reading a settings
/// file.
[[nodiscard]] Result<Parsed> parse_command_line(const Command& root,
                                                const std::vector<std::string>& arguments,
                                                const Environment& environment);

}  // namespace lookback::cli
