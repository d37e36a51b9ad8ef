// From the words of a command line, the environment and the settings files to calls of the setters.
// CLI11 reads the words and the TOML; this file hands it the tree of commands and decides which of
// the three sources wins.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "cli/command.hpp"

namespace lookback::cli {

namespace {

using GivenValues = std::map<const Option*, std::vector<std::string>>;

/// One command as CLI11 sees it: a mirror of ours that collects text and checks nothing but the
/// form.
struct Mirror {
  CLI::App* app = nullptr;
  const Command* command = nullptr;
  std::string path;
  std::vector<std::pair<CLI::Option*, const Option*>> options;
  std::vector<std::pair<CLI::Option*, const Positional*>> positionals;
};

class Parse {
 public:
  Parse(const Command& root, const Environment& environment)
      : environment_(environment), root_(root.summary, root.name) {
    reflect(root, root_, root.name);
  }

  Result<Parsed> run(std::vector<std::string> words) {
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    try {
      root_.parse(words);
    } catch (const CLI::CallForHelp&) {
      parsed_ = {current().command, current().path, true};
      return parsed_;
    } catch (const CLI::ParseError& error) {
      return fail(ErrorKind::invalid, "{}: see {} --help", one_line(error.what()), current().path);
    }
    const Mirror& mirror = current();
    parsed_ = {mirror.command, mirror.path, false};
    TRY(set_options(mirror));
    for (const auto& [option, positional] : mirror.positionals) {
      for (const std::string& value : option->results()) TRY(positional->set(value));
    }
    return parsed_;
  }

 private:
  void reflect(const Command& command, CLI::App& app, const std::string& path) {
    app.set_help_flag("-h,--help", "");
    app.require_subcommand(0, 1);  // so that a snapshot may be called "list"
    Mirror mirror{&app, &command, path, {}, {}};
    for (const Option& option : command.options) {
      const std::string names =
          option.short_name.empty() ? option.name : option.short_name + "," + option.name;
      CLI::Option* added = option.is_flag() ? app.add_flag(names) : app.add_option(names);
      if (!option.is_flag()) added->type_name(option.value)->type_size(1)->expected(1);
      if (option.repeated)
        added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            ->expected(1, 1 << 20)
            ->allow_extra_args(false);
      if (option.is_flag()) added->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
      mirror.options.emplace_back(added, &option);
    }
    for (const Positional& positional : command.positionals) {
      CLI::Option* added = app.add_option(positional.value);
      added->type_size(1)
          ->expected(1, positional.repeated ? 1 << 20 : 1)
          ->required(positional.required);
      if (positional.repeated)
        added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args();
      mirror.positionals.emplace_back(added, &positional);
    }
    mirrors_.push_back(std::move(mirror));
    for (const Command& below : command.subcommands)
      reflect(below, *app.add_subcommand(below.name, below.summary), path + ' ' + below.name);
  }

  /// The innermost command that the words reached.
  [[nodiscard]] const Mirror& current() const {
    const CLI::App* app = &root_;
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    for (const Mirror& mirror : mirrors_) {
      if (mirror.app == app) return mirror;
    }
    return mirrors_.front();
  }

  static std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  }

  Result<> set_options(const Mirror& mirror) {
    GivenValues given;
    for (const auto& [option, ours] : mirror.options) {
      if (option->count() > 0) given[ours] = option->results();
    }
    TRY_ASSIGN(const GivenValues from_files, read_settings_files(*mirror.command, given));
    for (const Option& option : mirror.command->options) {
      Origin origin = Origin::nowhere;
      if (const auto it = given.find(&option); it != given.end()) {
        origin = Origin::command_line;
        TRY(set(option, it->second, option.name));
      } else if (const char* value = variable_of(option)) {
        origin = Origin::environment;
        TRY(set(option, {value}, option.environment_name()));
      } else if (const auto found = from_files.find(&option); found != from_files.end()) {
        origin = Origin::file;
        TRY(set(option, found->second,
                fmt::format("{} in {}", option.name.substr(2), files_[&option])));
      } else if (option.required) {
        return fail(ErrorKind::invalid, "{} {} is missing: see {} --help", option.name,
                    option.value, mirror.path);
      }
      if (option.origin != nullptr) *option.origin = origin;
    }
    return {};
  }

  [[nodiscard]] const char* variable_of(const Option& option) const {
    if (!option.setting) return nullptr;
    const char* value = environment_.variable(option.environment_name().c_str());
    return value != nullptr && *value != '\0' ? value : nullptr;
  }

  static Result<> set(const Option& option, const std::vector<std::string>& values,
                      const std::string& where) {
    for (const std::string& value : values) {
      if (const auto done = option.set(value); !done)
        return tl::make_unexpected(done.error().in(where));
    }
    return {};
  }

  Result<GivenValues> read_settings_files(const Command& command, const GivenValues& given) {
    GivenValues values;
    switch (command.settings_file) {
      case SettingsFile::none:
        break;
      case SettingsFile::given: {
        const Option* config = command.find_option("--config");
        LOOKBACK_CHECK(config != nullptr);
        std::string path;
        if (const auto it = given.find(config); it != given.end()) {
          path = it->second.back();
        } else if (const char* value = variable_of(*config)) {
          path = value;
        }
        if (!path.empty()) TRY(read_settings_file(command, path, values));
        break;
      }
      case SettingsFile::client:
        for (const auto& path : environment_.client_files) {
          std::error_code ec;
          if (std::filesystem::exists(path, ec)) TRY(read_settings_file(command, path, values));
        }
        break;
    }
    return values;
  }

  Result<> read_settings_file(const Command& command, const std::filesystem::path& path,
                              GivenValues& values) {
    std::ifstream in(path);
    if (!in) return fail_errno(errno, fmt::format("cannot read {}", path.string()));
    std::vector<CLI::ConfigItem> items;
    try {
      items = CLI::ConfigTOML().from_config(in);
    } catch (const std::exception& error) {
      return fail(ErrorKind::invalid, "{}: {}", path.string(), one_line(error.what()));
    }
    static const std::set<std::string> kTables = {"capture", "hub", "standalone", "client"};
    const std::string own = command.settings_file == SettingsFile::client ? "client" : command.name;
    GivenValues here;
    std::set<const Option*> from_own_table;
    for (const CLI::ConfigItem& item : items) {
      if (item.name == "++" || item.name == "--")
        continue;  // how CLI11 marks a table's begin and end
      const std::string table = item.parents.empty() ? "" : item.parents.front();
      if (item.parents.size() > 1 || (!table.empty() && !kTables.contains(table))) {
        return fail(
            ErrorKind::invalid,
            "{}: there is no table [{}]; there are [capture], [hub], [standalone] and [client]",
            path.string(), table);
      }
      if (!table.empty() && table != own) continue;
      const Option* option = command.find_option("--" + item.name);
      if (option == nullptr || !option->setting || option->name == "--config")
        return fail(ErrorKind::invalid, "{}: '{}' is not a setting of lookback {}", path.string(),
                    item.name, command.name);
      if (item.inputs.size() != 1 && !option->repeated)
        return fail(ErrorKind::invalid, "{}: '{}' takes one value", path.string(), item.name);
      if (item.inputs.empty())
        return fail(ErrorKind::invalid, "{}: '{}' is an empty list: leave it out for the default",
                    path.string(), item.name);
      // A command's own table outranks what stands above all tables.
      if (table.empty() && from_own_table.contains(option)) continue;
      if (!table.empty()) from_own_table.insert(option);
      here[option] = item.inputs;
    }
    for (auto& [option, list] : here) {
      if (values.emplace(option, std::move(list)).second) files_[option] = path.string();
    }
    return {};
  }

  const Environment& environment_;
  CLI::App root_;
  std::vector<Mirror> mirrors_;
  std::map<const Option*, std::string> files_;  ///< which file a setting came from
  Parsed parsed_;
};

}  // namespace

Environment Environment::of_process() {
  Environment environment;
  environment.variable = [](const char* name) -> const char* { return std::getenv(name); };
  const char* configured = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (configured != nullptr && *configured == '/') {
    environment.client_files.push_back(std::filesystem::path(configured) / "lookback/config.toml");
  } else if (home != nullptr && *home == '/') {
    environment.client_files.push_back(std::filesystem::path(home) /
                                       ".config/lookback/config.toml");
  }
  environment.client_files.emplace_back("/etc/lookback/config.toml");
  return environment;
}

Result<Parsed> parse_command_line(const Command& root, const std::vector<std::string>& arguments,
                                  const Environment& environment) {
  return Parse(root, environment).run(arguments);
}

}  // namespace lookback::cli
