#include "cli/command.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"

namespace lookback::cli {

namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0;;) {
    const size_t end = text.find(separator, at);
    parts.emplace_back(text.substr(at, end - at));
    if (end == std::string_view::npos) return parts;
    at = end + 1;
  }
}

Result<std::string> not_empty(const std::string& text) {
  if (text.empty())
    return fail(ErrorKind::invalid, "an empty value is not possible: leave it out for the default");
  return text;
}

Result<uint64_t> size_above_zero(const std::string& text) {
  TRY_ASSIGN(const uint64_t bytes, parse_size(text));
  if (bytes == 0) return fail(ErrorKind::invalid, "'{}' is not possible: a size is above 0", text);
  return bytes;
}

Result<int64_t> duration_above_zero(const std::string& text) {
  TRY_ASSIGN(const int64_t duration_ns, parse_duration(text));
  if (duration_ns == 0)
    return fail(ErrorKind::invalid, "'{}' is not possible: a duration is above 0", text);
  return duration_ns;
}

auto whole_number(uint32_t least) {
  return [least](const std::string& text) -> Result<uint32_t> {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < least)
      return fail(ErrorKind::invalid, "'{}' is not a whole number from {} to {}", text, least,
                  UINT32_MAX);
    return number;
  };
}

/// Puts into `target` what `parse` makes of the text.
template <class Target, class Parse>
auto setter(Target& target, Parse parse) {
  return [&target, parse](const std::string& text) -> Result<> {
    TRY_ASSIGN(target, parse(text));
    return {};
  };
}

auto adder(std::vector<std::string>& target) {
  return [&target](const std::string& text) -> Result<> {
    TRY_ASSIGN(std::string one, not_empty(text));
    target.push_back(std::move(one));
    return {};
  };
}

/// An argument's errors bear its name, as an option's do.
Result<> named(const Result<>& outcome, const std::string& name) {
  if (outcome) return outcome;
  return tl::make_unexpected(outcome.error().in(name));
}

}  // namespace

std::string Option::environment_name() const {
  std::string variable = "LOOKBACK";
  for (const char c : std::string_view(name).substr(1)) {
    variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

Result<bool> parse_switch(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1") return true;
  if (lower == "false" || lower == "no" || lower == "off" || lower == "0") return false;
  return fail(ErrorKind::invalid, "'{}' is neither on nor off", text);
}

Option& Command::add(const std::string& names, std::string value, std::string help,
                     std::function<Result<>(const std::string&)> set) {
  Option option;
  // "-o,--output" or "--wait"
  for (const std::string& one : split(names, ',')) {
    (one.starts_with("--") ? option.name : option.short_name) = one;
  }
  option.value = std::move(value);
  option.help = std::move(help);
  option.set = std::move(set);
  return options.emplace_back(std::move(option));
}

Option& Command::flag(const std::string& names, bool& target, std::string help) {
  return add(names, "", std::move(help), [&target](const std::string& text) -> Result<> {
    TRY_ASSIGN(target, parse_switch(text));
    return {};
  });
}

Option& Command::text(const std::string& names, std::string value, std::string& target,
                      std::string help) {
  return add(names, std::move(value), std::move(help), setter(target, not_empty));
}

Option& Command::text(const std::string& names, std::string value,
                      std::optional<std::string>& target, std::string help) {
  return add(names, std::move(value), std::move(help), setter(target, not_empty));
}

Option& Command::list(const std::string& names, std::string value, std::vector<std::string>& target,
                      std::string help) {
  Option& option = add(names, std::move(value), std::move(help), adder(target));
  option.repeated = true;
  return option;
}

Option& Command::comma_list(const std::string& names, std::string value,
                            std::vector<std::string>& target, std::string help) {
  Option& option =
      add(names, std::move(value), std::move(help), [&target](const std::string& text) -> Result<> {
        for (std::string& one : split(text, ',')) {
          if (one.empty()) return fail(ErrorKind::invalid, "'{}' has an empty name in it", text);
          target.push_back(std::move(one));
        }
        return {};
      });
  option.repeated = true;
  return option;
}

Option& Command::choice(const std::string& names, const std::string& alternatives,
                        std::string& target, std::string help) {
  return add(names, alternatives, std::move(help),
             [&target, alternatives](const std::string& text) -> Result<> {
               const auto words = split(alternatives, '|');
               if (std::find(words.begin(), words.end(), text) == words.end()) {
                 return fail(ErrorKind::invalid, "'{}' is none of {}", text, alternatives);
               }
               target = text;
               return {};
             });
}

Option& Command::size(const std::string& names, uint64_t& bytes, std::string help) {
  return add(names, "SIZE", std::move(help), setter(bytes, size_above_zero));
}

Option& Command::size(const std::string& names, std::optional<uint64_t>& bytes, std::string help) {
  return add(names, "SIZE", std::move(help), setter(bytes, size_above_zero));
}

Option& Command::duration(const std::string& names, int64_t& duration_ns, std::string help) {
  return add(names, "DURATION", std::move(help), setter(duration_ns, duration_above_zero));
}

Option& Command::duration(const std::string& names, std::optional<int64_t>& duration_ns,
                          std::string help) {
  return add(names, "DURATION", std::move(help), setter(duration_ns, duration_above_zero));
}

Option& Command::number(const std::string& names, uint32_t& target, std::string help,
                        uint32_t least) {
  return add(names, "N", std::move(help), setter(target, whole_number(least)));
}

Option& Command::number(const std::string& names, std::optional<uint32_t>& target,
                        std::string help, uint32_t least) {
  return add(names, "N", std::move(help), setter(target, whole_number(least)));
}

Option& Command::numbers(const std::string& names, std::vector<uint32_t>& target,
                         std::string help, uint32_t least) {
  Option& option = add(names, "N", std::move(help),
                       [&target, parse = whole_number(least)](const std::string& text) -> Result<> {
                         TRY_ASSIGN(const uint32_t number, parse(text));
                         target.push_back(number);
                         return {};
                       });
  option.repeated = true;
  return option;
}

Positional& Command::argument(std::string value, std::string& target, std::string help) {
  Positional positional;
  positional.value = std::move(value);
  positional.help = std::move(help);
  positional.set = [set = setter(target, not_empty),
                    name = positional.value](const std::string& text) { return named(set(text), name); };
  return positionals.emplace_back(std::move(positional));
}

Positional& Command::arguments(std::string value, std::vector<std::string>& target,
                               std::string help) {
  Positional positional;
  positional.value = std::move(value);
  positional.help = std::move(help);
  positional.repeated = true;
  positional.set = [add = adder(target), name = positional.value](const std::string& text) {
    return named(add(text), name);
  };
  return positionals.emplace_back(std::move(positional));
}

const Command* Command::find(std::string_view subcommand) const {
  const auto it = std::find_if(subcommands.begin(), subcommands.end(),
                               [&](const Command& command) { return command.name == subcommand; });
  return it == subcommands.end() ? nullptr : &*it;
}

const Option* Command::find_option(std::string_view long_or_short) const {
  const auto it = std::find_if(options.begin(), options.end(), [&](const Option& option) {
    return option.name == long_or_short ||
           (!option.short_name.empty() && option.short_name == long_or_short);
  });
  return it == options.end() ? nullptr : &*it;
}

}  // namespace lookback::cli
