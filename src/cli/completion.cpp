// lookback completion: scripts for bash, zsh and fish, made from the tree of commands.
//
// What completes a value is told by its name in the help: "table|json" (lower case) by its words,
// FILE by files, SNAPSHOT by the hub's list, NODE by its nodes. Other values are the user's own.

#include <algorithm>
#include <cctype>
#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"

namespace lookback::cli {

namespace {

enum class Values { none, words, files, snapshots, snapshots_or_files, nodes };

Values kind_of(const std::string& value) {
  if (value.find("SNAPSHOT") != std::string::npos) {
    return value.find("FILE") != std::string::npos ? Values::snapshots_or_files : Values::snapshots;
  }
  if (value.find("FILE") != std::string::npos || value == "DIR") return Values::files;
  if (value == "NODE") return Values::nodes;
  if (value.find('|') != std::string::npos &&
      std::none_of(value.begin(), value.end(), [](unsigned char c) { return std::isupper(c); })) {
    return Values::words;
  }
  return Values::none;
}

std::string words_of(std::string value) {
  std::replace(value.begin(), value.end(), '|', ' ');
  return value;
}

/// For single quotes of a shell.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

/// Inside [...] and after ':' of a zsh _arguments specification.
std::string zsh_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void visit(const Command& command, const std::string& path,
           const std::function<void(const Command&, const std::string&)>& call) {
  call(command, path);
  for (const Command& one : command.subcommands) visit(one, path + ' ' + one.name, call);
}

std::string option_words(const Command& command) {
  std::string words;
  for (const Option& option : command.options) {
    words += option.name + ' ';
    if (!option.short_name.empty()) words += option.short_name + ' ';
  }
  return words + "--help";
}

std::string bash_values(const std::string& value) {
  switch (kind_of(value)) {
    case Values::none:
      return "";
    case Values::words:
      return fmt::format("COMPREPLY=($(compgen -W {} -- \"$current\"))",
                         shell_quoted(words_of(value)));
    case Values::files:
      return "_lookback_files";
    case Values::snapshots:
      return "_lookback_names snapshot list";
    case Values::snapshots_or_files:
      return "_lookback_files; _lookback_names snapshot list";
    case Values::nodes:
      return "_lookback_names nodes";
  }
  return "";
}

std::string bash_script(const Command& root) {
  std::string options, values, positionals, subcommands;
  visit(root, root.name, [&](const Command& command, const std::string& path) {
    options += fmt::format("    {}) words={} ;;\n", shell_quoted(path),
                           shell_quoted(option_words(command)));
    std::string names;
    for (const Command& one : command.subcommands) names += (names.empty() ? "" : " ") + one.name;
    if (!names.empty())
      subcommands += fmt::format("    {}) names={} ;;\n", shell_quoted(path), shell_quoted(names));
    for (const Option& option : command.options) {
      if (option.is_flag()) continue;
      std::string pattern = shell_quoted(path + ' ' + option.name);
      if (!option.short_name.empty()) pattern += "|" + shell_quoted(path + ' ' + option.short_name);
      const std::string reply = bash_values(option.value);
      values += fmt::format("    {}) {}{}return ;;\n", pattern, reply, reply.empty() ? "" : "; ");
    }
    if (!command.positionals.empty()) {
      const std::string reply = bash_values(command.positionals.front().value);
      if (!reply.empty()) positionals += fmt::format("    {}) {} ;;\n", shell_quoted(path), reply);
    }
  });
  return R"(# bash completion for lookback. In ~/.bashrc: source <(lookback completion bash)
# Names come from a hub: they are compared and never expanded, and what cannot be a name is not offered.
_lookback_names() {
  local name
  while IFS= read -r name; do
    [[ $name == "$current"* && $name =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] && COMPREPLY+=("$name")
  done < <("$program" "$@" -o name 2>/dev/null)
}
_lookback_files() {
  local file
  compopt -o filenames 2>/dev/null
  while IFS= read -r file; do
    COMPREPLY+=("$file")
  done < <(compgen -f -- "$current")
}
_lookback() {
  local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local path=lookback names words i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    names=
    case $path in
)" + subcommands +
         R"(    esac
    case " $names " in
      *" ${COMP_WORDS[i]} "*) [[ -n ${COMP_WORDS[i]} ]] && path+=" ${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $previous" in
)" + values +
         R"(  esac
  if [[ $current == -* ]]; then
    case $path in
)" + options +
         R"(    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  names=
  case $path in
)" + subcommands +
         R"(  esac
  if [[ -n $names ]]; then
    COMPREPLY=($(compgen -W "$names" -- "$current"))
    return
  fi
  case $path in
)" + positionals +
         R"(    *) ;;
  esac
}
complete -F _lookback lookback
)";
}

std::string zsh_action(const std::string& value) {
  switch (kind_of(value)) {
    case Values::none:
      return " ";
    case Values::words:
      return "(" + words_of(value) + ")";
    case Values::files:
      return "_files";
    case Values::snapshots:
      return "__lookback_snapshots";
    case Values::snapshots_or_files:
      return "__lookback_snapshots_or_files";
    case Values::nodes:
      return "__lookback_nodes";
  }
  return " ";
}

std::string function_name(std::string path) {
  std::replace(path.begin(), path.end(), ' ', '_');
  return "_" + path;
}

std::string zsh_script(const Command& root) {
  std::string out =
      "#compdef lookback\n# zsh completion for lookback. In ~/.zshrc: source <(lookback completion "
      "zsh)\n";
  out += R"ZSH(# Names come from a hub: what cannot be a name is not offered. Commands have functions with one _, as _lookback_nodes.
__lookback_names() {
  local -a names
  names=(${(f)"$(lookback "$@" -o name 2>/dev/null)"})
  names=(${names:#*[^A-Za-z0-9._-]*})
  names=(${names:#[.-]*})
  compadd -a names
}
__lookback_snapshots() {
  __lookback_names snapshot list
}
__lookback_nodes() {
  __lookback_names nodes
}
__lookback_snapshots_or_files() {
  __lookback_snapshots
  _files
}
)ZSH";
  visit(root, root.name, [&](const Command& command, const std::string& path) {
    // The root's function is the one that compdef names.
    out += fmt::format("{}() {{\n", command.subcommands.empty() || path != root.name
                                        ? function_name(path)
                                        : "_lookback");
    if (!command.subcommands.empty()) {
      out += "  local context state line\n  typeset -A opt_args\n";
    }
    out += "  _arguments -s";
    if (!command.subcommands.empty()) out += " -C";
    for (const Option& option : command.options) {
      const std::string names = option.name;
      const std::string tail = fmt::format("[{}]", zsh_escaped(option.help)) +
                               (option.is_flag() ? ""
                                                 : fmt::format(":{}:{}", zsh_escaped(option.value),
                                                               zsh_action(option.value)));
      const std::string star = option.repeated ? "*" : "";
      out += " \\\n    " + shell_quoted(star + names + tail);
      if (!option.short_name.empty())
        out += " \\\n    " + shell_quoted(star + option.short_name + tail);
    }
    out += " \\\n    '(-h --help)'{-h,--help}'[show the help]'";
    for (size_t i = 0; i < command.positionals.size(); ++i) {
      const Positional& one = command.positionals[i];
      out += " \\\n    " +
             shell_quoted(fmt::format("{}:{}:{}", one.repeated ? "*" : std::to_string(i + 1),
                                      zsh_escaped(one.value), zsh_action(one.value)));
    }
    if (!command.subcommands.empty()) {
      out +=
          " \\\n    '1: :->command' '*:: :->rest'\n  case $state in\n    command)\n      local -a "
          "commands=(\n";
      for (const Command& one : command.subcommands) {
        out += "        " + shell_quoted(one.name + ":" + zsh_escaped(one.summary)) + "\n";
      }
      out += "      )\n      _describe command commands ;;\n    rest)\n      case $line[1] in\n";
      for (const Command& one : command.subcommands) {
        out += fmt::format("        {}) {} ;;\n", one.name, function_name(path + ' ' + one.name));
      }
      out += "      esac ;;\n  esac";
    }
    out += "\n}\n";
  });
  return out + "compdef _lookback lookback\n";
}

std::string fish_action(const std::string& value) {
  switch (kind_of(value)) {
    case Values::none:
      return " -x";
    case Values::words:
      return " -x -a " + shell_quoted(words_of(value));
    case Values::files:
      return " -r -F";
    case Values::snapshots:
      return " -x -a '(__lookback_names snapshot list)'";
    case Values::snapshots_or_files:
      return " -r -F -a '(__lookback_names snapshot list)'";
    case Values::nodes:
      return " -x -a '(__lookback_names nodes)'";
  }
  return "";
}

/// In fish only \\ and \' are escapes inside single quotes.
std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string fish_script(const Command& root) {
  std::string out =
      R"(# fish completion for lookback. lookback completion fish > ~/.config/fish/completions/lookback.fish
function __lookback_at
    set -l words (commandline -opc)[2..-1]
    set -l path
    for word in $words
        string match -q -- '-*' $word; and break
        set -a path $word
    end
    test "$path[1..2]" = "$argv"; or test "$path[1]" = "$argv"
end
# Names come from a hub: what cannot be a name is not offered.
function __lookback_names
    lookback $argv -o name 2>/dev/null | string match -r -- '^[A-Za-z0-9_][A-Za-z0-9._-]*$'
end
complete -c lookback -f
)";
  visit(root, root.name, [&](const Command& command, const std::string& path) {
    const std::string below = path == root.name ? "" : path.substr(root.name.size() + 1);
    const std::string condition =
        below.empty() ? "__fish_use_subcommand" : "__lookback_at " + below;
    const std::string start = "complete -c lookback -n " + fish_quoted(condition);
    std::string names;
    for (const Command& one : command.subcommands) names += (names.empty() ? "" : " ") + one.name;
    for (const Command& one : command.subcommands) {
      std::string only = condition;
      if (!below.empty()) only += "; and not __fish_seen_subcommand_from " + names;
      out += fmt::format("complete -c lookback -n {} -a {} -d {}\n", fish_quoted(only), one.name,
                         fish_quoted(one.summary));
    }
    for (const Option& option : command.options) {
      out += start;
      if (!option.short_name.empty()) out += " -s " + option.short_name.substr(1);
      out += fmt::format(" -l {} -d {}", option.name.substr(2), fish_quoted(option.help));
      out += (option.is_flag() ? "" : fish_action(option.value)) + "\n";
    }
    out += start + " -s h -l help -d 'Show the help'\n";
    if (!command.positionals.empty()) {
      const std::string& value = command.positionals.front().value;
      const std::string action = fish_action(value);
      // A positional is not an option's value: only its candidates are offered.
      switch (kind_of(value)) {
        case Values::none:
          break;
        case Values::files:
          out += start + " -F\n";
          break;
        case Values::snapshots_or_files:
          out += start + " -F" + action.substr(action.find(" -a")) + "\n";
          break;
        default:
          out += start + action.substr(action.find(" -a")) + "\n";
      }
    }
  });
  return out;
}

struct CompletionOptions {
  std::string shell;
};

}  // namespace

Command completion_command() {
  Command command("completion", "print a completion script for a shell");
  auto options = std::make_shared<CompletionOptions>();
  command.description =
      "Commands and options are completed, and the names of snapshots and nodes by asking the hub.";
  command.argument("bash|zsh|fish", options->shell, "The shell");
  command.examples = {
      {"source <(lookback completion bash)", "For bash: in ~/.bashrc."},
      {"source <(lookback completion zsh)", "For zsh: in ~/.zshrc, after compinit."},
      {"lookback completion fish > ~/.config/fish/completions/lookback.fish", "For fish."}};
  command.action = [options]() -> Result<int> {
    const Command root = root_command();
    if (options->shell == "bash") {
      TRY(print(bash_script(root)));
    } else if (options->shell == "zsh") {
      TRY(print(zsh_script(root)));
    } else if (options->shell == "fish") {
      TRY(print(fish_script(root)));
    } else {
      return fail(ErrorKind::invalid,
                  "'{}' is not a shell that completion knows: use bash, zsh or fish",
                  options->shell);
    }
    return kExitDone;
  };
  return command;
}

}  // namespace lookback::cli
