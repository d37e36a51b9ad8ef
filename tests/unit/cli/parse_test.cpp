#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "cli/command.hpp"
#include "unit/support/files.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::cli;

namespace {

struct Values {
  std::string hub = "default", name, output = "table", config;
  std::vector<std::string> nodes, interfaces, files;
  uint64_t size = 1;
  int64_t last_ns = 0;
  uint32_t snaplen = 0;
  bool wait = false, exclude = true;
  Origin hub_origin = Origin::nowhere;
};

Command tree(Values& values) {
  Command root("lookback", "root");
  Command group("snapshot", "group");
  Command create("create", "leaf");
  create.argument("NAME", values.name, "name");
  create.list("--node", "NODE", values.nodes, "nodes");
  create.duration("--last", values.last_ns, "window");
  create.flag("-w,--wait", values.wait, "wait");
  create.choice("-o,--output", "table|json", values.output, "output");
  create.settings_file = SettingsFile::client;
  Option& hub = create.text("--hub", "URL", values.hub, "hub");
  hub.setting = true;
  hub.origin = &values.hub_origin;
  create.action = [] { return Result<int>(0); };
  group.subcommands.push_back(std::move(create));
  Command import("import", "leaf");
  import.arguments("FILE", values.files, "files");
  import.text("--name", "NAME", values.name, "name").required = true;
  import.action = [] { return Result<int>(0);
};
group.subcommands.push_back(std::move(import));
root.subcommands.push_back(std::move(group));
Command capture("capture", "daemon");
capture.settings_file = SettingsFile::given;
capture.text("--config", "FILE", values.config, "config").setting = true;
capture.text("--hub", "URL", values.hub, "hub").setting = true;
capture.comma_list("--interface", "LIST", values.interfaces, "interfaces").setting = true;
capture.size("--storage-size", values.size, "size").setting = true;
capture.number("--snaplen", values.snaplen, "snaplen").setting = true;
capture.flag("--exclude-self", values.exclude, "exclude").setting = true;
capture.action = [] { return Result<int>(0); };
root.subcommands.push_back(std::move(capture));
return root;
}  // namespace

struct Outcome {
  Values values;
  Parsed parsed;
  std::string error;
  ErrorKind kind = ErrorKind::failed;
};

Outcome parse(const std::vector<std::string>& words,
              const std::map<std::string, std::string>& variables = {},
              const std::vector<std::filesystem::path>& files = {}) {
  Outcome outcome;
  const Command root = tree(outcome.values);
  Environment environment;
  environment.variable = [&](const char* name) -> const char* {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  };
  environment.client_files = files;
  const auto parsed = parse_command_line(root, words, environment);
  if (parsed) {
    outcome.parsed = *parsed;
    outcome.parsed.command = nullptr;  // the tree ends with this function
  } else {
    outcome.error = parsed.error().message;
    outcome.kind = parsed.error().kind;
  }
  return outcome;
}

/// A file with this content for the length of a test.
class TextFile {
 public:
  explicit TextFile(std::string_view content)
      : path_(test::spill(directory_ / "settings.toml", content)) {}
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  test::TemporaryDirectory directory_;
  std::filesystem::path path_;
};

}  // namespace

TEST_CASE("words become values") {
  const Outcome all = parse({"snapshot", "create", "--last", "1h30m", "incident-1", "--node=a",
                             "--node", "b*", "-wojson"});
  REQUIRE(all.error.empty());
  REQUIRE(all.parsed.path == "lookback snapshot create");
  REQUIRE(all.values.name == "incident-1");
  REQUIRE(all.values.last_ns == 5'400'000'000'000);
  REQUIRE(all.values.nodes == std::vector<std::string>{"a", "b*"});
  REQUIRE(all.values.wait);
  REQUIRE(all.values.output == "json");

  // A repeated option takes one value, so that names may follow; a value may start with a dash.
  const Outcome dashes = parse({"snapshot", "import", "--name", "-x", "a.pcap", "b.pcap"});
  CAPTURE(dashes.error);
  REQUIRE(dashes.error.empty());
  REQUIRE(dashes.values.name == "-x");
  REQUIRE(dashes.values.files == std::vector<std::string>{"a.pcap", "b.pcap"});
  REQUIRE(parse({"snapshot", "import", "a", "--name="}).values.name.empty());
  REQUIRE(parse({"snapshot", "create", "n", "--wait=off"}).values.wait == false);
  REQUIRE(parse({"snapshot", "create", "-h"}).parsed.help);
  REQUIRE(parse({"snapshot", "create", "--last", "x", "--help"}).parsed.help);
}

TEST_CASE("wrong usage says what is wrong and where to look") {
  const auto wrong = [](const std::vector<std::string>& words, const std::string& part) {
    const Outcome outcome = parse(words);
    CAPTURE(words, outcome.error);
    REQUIRE(outcome.kind == ErrorKind::invalid);
    REQUIRE(outcome.error.find(part) != std::string::npos);
  };
  wrong({"snapshto"}, "snapshto");
  wrong({"snapshot", "create", "n", "--nodes", "x"}, "--nodes");
  wrong({"snapshot", "create", "n", "-x"}, "-x");
  wrong({"snapshot", "create"}, "NAME");
  wrong({"snapshot", "create", "a", "b"}, "b");
  wrong({"snapshot", "create", "a", "--last"}, "--last");
  wrong({"snapshot", "create", "a", "--last", "--wait"}, "--last");
  wrong({"snapshot", "create", "a", "--last", "5"}, "--last: ");
  wrong({"snapshot", "create", "a", "--last", "1m", "--last", "2m"}, "--last");
  wrong({"snapshot", "create", "a", "-o", "yaml"}, "'yaml' is none of table|json");
  wrong({"snapshot", "create", "a", "--wait=maybe"}, "neither on nor off");
  wrong({"snapshot", "import", "a"}, "--name NAME is missing");
  wrong({"snapshot", "import", "--name", "n"}, "FILE");
  wrong({"capture", "--snaplen", "-1"}, "whole number");
  wrong({"capture", "--snaplen", "4294967296"}, "whole number");
  wrong({"capture", "--interface", "a,,b"}, "empty name");
  wrong({"snapshot", "create"}, "see lookback snapshot create --help");
}

TEST_CASE("the command line outranks the environment, and that the settings files") {
  const TextFile mine("hub = 'http://mine'\n[capture]\nstorage-size = \"1GiB\"\n");
  const TextFile systems("hub = \"http://system\"\n");
  const std::vector<std::string> words = {"snapshot", "create", "n"};
  const auto both = std::vector<std::filesystem::path>{mine.path(), systems.path()};

  REQUIRE(parse(words).values.hub == "default");
  REQUIRE(parse(words, {}, {systems.path()}).values.hub == "http://system");
  const Outcome from_file = parse(words, {}, both);
  REQUIRE(from_file.values.hub == "http://mine");
  REQUIRE(from_file.values.hub_origin == Origin::file);
  const Outcome from_variable = parse(words, {{"LOOKBACK_HUB", "http://variable"}}, both);
  REQUIRE(from_variable.values.hub == "http://variable");
  REQUIRE(from_variable.values.hub_origin == Origin::environment);
  REQUIRE(parse({"snapshot", "create", "n", "--hub", "http://flag"},
                {{"LOOKBACK_HUB", "http://variable"}}, both)
              .values.hub == "http://flag");
  // What is not a setting is not taken from the environment, and a file that is not there is none.
  REQUIRE(parse(words, {{"LOOKBACK_WAIT", "1"}, {"LOOKBACK_HUB", ""}}, {"/nonexistent/config.toml"})
              .values.wait == false);
}

TEST_CASE("daemons take every option from a file or the environment") {
  const TextFile file(
      "snaplen = 96\n"
      "hub = \"http://above\"\n"
      "[capture]\n"
      "hub = \"http://table\"\n"
      "interface = [\"eth0\", \"wlan*\"]\n"
      "storage-size = \"2GiB\"\n"
      "exclude-self = false\n"
      "[hub]\n"
      "listen = \"127.0.0.1:1\"\n");
  const Outcome outcome = parse({"capture", "--config", file.path().string()});
  CAPTURE(outcome.error);
  REQUIRE(outcome.values.hub == "http://table");
  REQUIRE(outcome.values.snaplen == 96);
  REQUIRE(outcome.values.interfaces == std::vector<std::string>{"eth0", "wlan*"});
  REQUIRE(outcome.values.size == 2ULL << 30);
  REQUIRE_FALSE(outcome.values.exclude);
  const Outcome variables = parse({"capture"}, {{"LOOKBACK_CONFIG", file.path().string()},
                                                {"LOOKBACK_INTERFACE", "a,b"},
                                                {"LOOKBACK_STORAGE_SIZE", "3GiB"}});
  REQUIRE(variables.values.interfaces == std::vector<std::string>{"a", "b"});
  REQUIRE(variables.values.size == 3ULL << 30);
  REQUIRE(variables.values.hub == "http://table");

  const auto refused = [](std::string_view content, const std::string& part) {
    const TextFile bad(content);
    const Outcome failed = parse({"capture", "--config", bad.path().string()});
    CAPTURE(content, failed.error);
    REQUIRE(failed.error.find(part) != std::string::npos);
  };
  refused("storage = 1\n", "'storage' is not a setting");
  refused("config = 'x'\n", "'config' is not a setting");
  refused("[captain]\n x = 1\n", "no table [captain]");
  refused("hub = ['a', 'b']\n", "one value");
  refused("storage-size = 'much'\n", "storage-size in ");
  REQUIRE(parse({"capture", "--config", "/nonexistent.toml"}).kind == ErrorKind::not_found);
}
