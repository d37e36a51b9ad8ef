// From the words of a command line, the environment and the settings files to calls of the setters.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "cli/command.hpp"
#include "cli/toml.hpp"
#include "lookback/base/file.hpp"

namespace lookback::cli {

namespace {

/// Edits (insert, delete, replace) between two short words.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t least = std::min<size_t>(3, word.size() / 2 + 1);
  for (const std::string& candidate : known) {
    if (const size_t d = distance(word, candidate); d < least) {
      least = d;
      best = candidate;
    }
  }
  return best.empty() ? "" : fmt::format("; did you mean {}?", best);
}

class Parse {
 public:
  Parse(const Command& root, const std::vector<std::string>& arguments,
        const Environment& environment)
      : words_(arguments), environment_(environment) {
    parsed_.command = &root;
    parsed_.path = root.name;
  }

  Result<Parsed> run() {
    TRY(read_words());
    if (parsed_.help) return parsed_;
    TRY(set_options());
    TRY(set_positionals());
    return parsed_;
  }

 private:
  using Values = std::map<const Option*, std::vector<std::string>>;

  [[nodiscard]] const Command& command() const { return *parsed_.command; }

  template <class... Args>
  tl::unexpected<Error> usage(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(ErrorKind::invalid, "{}: see {} --help",
                fmt::format(format, std::forward<Args>(args)...), parsed_.path);
  }

  Result<> read_words() {
    bool only_positionals = false;
    while (at_ < words_.size()) {
      const std::string& word = words_[at_++];
      if (!only_positionals && word == "--") {
        only_positionals = true;
      } else if (!only_positionals && word.starts_with("--")) {
        TRY(read_long(word));
      } else if (!only_positionals && word.size() > 1 && word[0] == '-') {
        TRY(read_short(word));
      } else if (!command().subcommands.empty() && positionals_.empty()) {
        TRY(enter(word));
      } else {
        positionals_.push_back(word);
      }
      if (parsed_.help) return {};
    }
    return {};
  }

  Result<> enter(const std::string& word) {
    if (const Command* found = command().find(word)) {
      parsed_.command = found;
      parsed_.path += ' ' + word;
      return {};
    }
    std::vector<std::string> names;
    for (const Command& one : command().subcommands) names.push_back(one.name);
    return usage("there is no command '{} {}'{}", parsed_.path, word, suggestion(word, names));
  }

  Result<> read_long(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    if (name == "--help") {
      parsed_.help = true;
      return {};
    }
    const Option* option = command().find_option(name);
    if (option == nullptr) {
      std::vector<std::string> names;
      for (const Option& one : command().options) names.push_back(one.name);
      return usage("{} does not know {}{}", parsed_.path, name, suggestion(name, names));
    }
    if (equals != std::string::npos) return add(*option, word.substr(equals + 1));
    if (option->is_flag()) return add(*option, "true");
    return add_next(*option, name);
  }

  /// "-o json", "-ojson", and flags in a bunch, as getopt(3) takes them.
  Result<> read_short(const std::string& word) {
    for (size_t i = 1; i < word.size(); ++i) {
      const std::string name{'-', word[i]};
      if (name == "-h") {
        parsed_.help = true;
        return {};
      }
      const Option* option = command().find_option(name);
      if (option == nullptr) return usage("{} does not know {}", parsed_.path, name);
      if (option->is_flag()) {
        TRY(add(*option, "true"));
        continue;
      }
      if (i + 1 < word.size()) return add(*option, word.substr(i + 1));
      return add_next(*option, name);
    }
    return {};
  }

  Result<> add_next(const Option& option, const std::string& name) {
    // A following option is a forgotten value far more often than a value: that is written
    // --name=--value.
    if (at_ >= words_.size() || words_[at_].starts_with("--")) {
      return usage("{} needs a value ({})", name, option.value);
    }
    return add(option, words_[at_++]);
  }

  Result<> add(const Option& option, std::string value) {
    std::vector<std::string>& values = given_[&option];
    if (!values.empty() && !option.repeated && !option.is_flag()) {
      return usage("{} is there twice", option.name);
    }
    if (option.is_flag()) values.clear();
    values.push_back(std::move(value));
    return {};
  }

  Result<> set_options() {
    TRY_ASSIGN(const Values from_files, read_settings_files());
    for (const Option& option : command().options) {
      Origin origin = Origin::nowhere;
      if (const auto it = given_.find(&option); it != given_.end()) {
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
        return usage("{} {} is missing", option.name, option.value);
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

  Result<> set(const Option& option, const std::vector<std::string>& values,
               const std::string& where) const {
    for (const std::string& value : values) {
      if (const auto done = option.set(value); !done)
        return tl::make_unexpected(done.error().in(where));
    }
    return {};
  }

  Result<Values> read_settings_files() {
    Values values;
    switch (command().settings_file) {
      case SettingsFile::none:
        break;
      case SettingsFile::given: {
        const Option* config = command().find_option("--config");
        LOOKBACK_CHECK(config != nullptr);
        std::string path;
        if (const auto it = given_.find(config); it != given_.end()) {
          path = it->second.back();
        } else if (const char* value = variable_of(*config)) {
          path = value;
        }
        if (!path.empty()) TRY(read_settings_file(path, values));
        break;
      }
      case SettingsFile::client:
        for (const auto& path : environment_.client_files) {
          std::error_code ec;
          if (std::filesystem::exists(path, ec)) TRY(read_settings_file(path, values));
        }
        break;
    }
    return values;
  }

  Result<> read_settings_file(const std::filesystem::path& path, Values& values) {
    TRY_ASSIGN(const std::string text, read_file(path, 1 << 20));
    TRY_ASSIGN(const std::vector<Setting> settings, parse_toml(text, path.string()));
    static const std::set<std::string> kTables = {"capture", "hub", "standalone", "client"};
    const std::string own =
        command().settings_file == SettingsFile::client ? "client" : command().name;
    Values here;
    std::map<const Option*, bool> from_own_table;
    for (const Setting& setting : settings) {
      if (!setting.table.empty() && setting.table != own) {
        if (kTables.contains(setting.table)) continue;
        return fail(
            ErrorKind::invalid,
            "{}:{}: there is no table [{}]; there are [capture], [hub], [standalone] and [client]",
            path.string(), setting.line, setting.table);
      }
      const Option* option = command().find_option("--" + setting.key);
      if (option == nullptr || !option->setting || option->name == "--config") {
        return fail(ErrorKind::invalid, "{}:{}: '{}' is no setting of {}: see {} --help",
                    path.string(), setting.line, setting.key, parsed_.path, parsed_.path);
      }
      if (setting.values.size() != 1 && !option->repeated) {
        return fail(ErrorKind::invalid, "{}:{}: '{}' takes one value, not a list", path.string(),
                    setting.line, setting.key);
      }
      // A command's own table outranks what stands above all tables.
      if (setting.table.empty() && from_own_table[option]) continue;
      from_own_table[option] = !setting.table.empty();
      here[option] = setting.values;
    }
    for (auto& [option, list] : here) {
      if (values.emplace(option, std::move(list)).second) files_[option] = path.string();
    }
    return {};
  }

  Result<> set_positionals() {
    size_t next = 0;
    for (const Positional& positional : command().positionals) {
      if (next == positionals_.size() && positional.required) {
        return usage("{} is missing after {}", positional.value, parsed_.path);
      }
      do {
        if (next == positionals_.size()) break;
        TRY(positional.set(positionals_[next++]));
      } while (positional.repeated);
    }
    if (next < positionals_.size()) return usage("'{}' is one word too many", positionals_[next]);
    return {};
  }

  const std::vector<std::string>& words_;
  const Environment& environment_;
  Parsed parsed_;
  size_t at_ = 0;
  Values given_;
  std::map<const Option*, std::string> files_;  ///< which file a setting came from
  std::vector<std::string> positionals_;
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
  return Parse(root, arguments, environment).run();
}

}  // namespace lookback::cli
