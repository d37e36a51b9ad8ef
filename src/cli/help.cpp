// The help pages, made from the tree of commands. tests/cli/check_man.py reads them back: keep the
// headings.

#include <algorithm>

#include "cli/command.hpp"
#include "cli/terminal.hpp"

namespace lookback::cli {

namespace {

std::string heading(std::string_view text, bool colour) {
  return "\n" + (colour ? paint(text, Colour::bold) : std::string(text)) + "\n";
}

struct Row {
  std::string left, right;
};

/// Two columns; a left side that is too wide stands on a line of its own.
std::string rows(const std::vector<Row>& list, size_t width) {
  constexpr size_t kWidest = 30;
  size_t left = 0;
  for (const Row& row : list) {
    if (const size_t w = display_width(row.left); w <= kWidest) left = std::max(left, w);
  }
  std::string out;
  for (const Row& row : list) {
    const size_t w = display_width(row.left);
    out += "  " + row.left;
    if (w > left) {
      out += '\n' + std::string(left + 4, ' ');
    } else {
      out += std::string(left - w + 2, ' ');
    }
    out += wrap(row.right, width, left + 4) + '\n';
  }
  return out;
}

std::string usage_line(const Command& command, const std::string& path) {
  std::string usage = path;
  if (!command.subcommands.empty()) return usage + " COMMAND …";
  for (const Positional& positional : command.positionals) {
    const std::string one = positional.value + (positional.repeated ? "..." : "");
    usage += positional.required ? " " + one : " [" + one + "]";
  }
  for (const Option& option : command.options) {
    if (option.required) usage += " " + option.name + " " + option.value;
  }
  const bool more = std::any_of(command.options.begin(), command.options.end(),
                                [](const Option& option) { return !option.required; });
  return more ? usage + " [OPTION]..." : usage;
}

Row option_row(const Option& option) {
  Row row;
  row.left = option.short_name.empty() ? "    " : option.short_name + ", ";
  row.left += option.name;
  if (!option.is_flag()) row.left += " " + option.value;
  row.right = option.help;
  if (option.repeated) row.right += "; may be repeated";
  if (option.setting) row.right += fmt::format(" [{}]", option.environment_name());
  return row;
}

}  // namespace

std::string help_text(const Command& command, const std::string& path, size_t width, bool colour) {
  const std::string title = colour ? paint(path, Colour::bold) : path;
  std::string out = wrap(fmt::format("{}: {}", title, command.summary), width, 0) + "\n";
  out += heading("Usage:", colour) + "  " + usage_line(command, path) + "\n";
  if (!command.description.empty()) out += "\n" + wrap(command.description, width, 0) + "\n";
  std::vector<Row> list;
  for (const Command& one : command.subcommands) list.push_back({one.name, one.summary});
  if (!list.empty()) out += heading("Commands:", colour) + rows(list, width);
  list.clear();
  for (const Positional& one : command.positionals) {
    list.push_back({one.value + (one.repeated ? "..." : ""), one.help});
  }
  if (!list.empty()) out += heading("Arguments:", colour) + rows(list, width);
  list.clear();
  for (const Option& one : command.options) list.push_back(option_row(one));
  list.push_back({"-h, --help", "This text"});
  out += heading("Options:", colour) + rows(list, width);
  if (!command.examples.empty()) {
    out += heading("Examples:", colour);
    for (const Example& example : command.examples) {
      out += fmt::format("  {}\n      {}\n", example.command, wrap(example.meaning, width, 6));
    }
  }
  if (!command.subcommands.empty()) {
    out += fmt::format("\n{} COMMAND --help tells more.\n", path);
  }
  return out;
}

}  // namespace lookback::cli
