#include "cli/toml.hpp"

#include <catch2/catch.hpp>

using namespace lookback;
using namespace lookback::cli;

TEST_CASE("settings are read as TOML has them") {
  const auto settings = parse_toml(
      "\xef\xbb\xbf# a comment\r\n"
      "hub = \"http://a#b\" # behind\n"
      "'quoted key' = 'C:\\raw'\n"
      "\"a\" = \"\\u00e4\\t\\\"\\\\\"\n"
      "number = +1_000\n"
      "on = true\n"
      "none = []\n"
      "[ table ]\n"
      "list = [ \"x\", # one\n  'y',\n  3 ,\n]\n"
      "empty = \"\"",
      "f");
  if (!settings) FAIL(settings.error().message);
  REQUIRE(settings->size() == 8);
  REQUIRE(settings->at(0).values == std::vector<std::string>{"http://a#b"});
  REQUIRE(settings->at(0).line == 2);
  REQUIRE(settings->at(1).key == "quoted key");
  REQUIRE(settings->at(1).values == std::vector<std::string>{"C:\\raw"});
  REQUIRE(settings->at(2).values == std::vector<std::string>{"\xc3\xa4\t\"\\"});
  REQUIRE(settings->at(3).values == std::vector<std::string>{"1000"});
  REQUIRE(settings->at(5).values.empty());
  REQUIRE(settings->at(6).table == "table");
  REQUIRE(settings->at(6).values == std::vector<std::string>{"x", "y", "3"});
  REQUIRE(settings->at(7).line == 13);
  REQUIRE(settings->at(7).values == std::vector<std::string>{""});
}

TEST_CASE("what is not understood is refused with its line") {
  for (const char* text :
       {"a",           "a =",          "a = b",          "a = 10GiB",     "a = 1.5",
        "a = 'x",      "a = \"x",      "a = \"\\q\"",    "a = \"\\u12\"", "a = \"\\ud800\"",
        "a = 1 2",     "a = [1",       "a = [1 2]",      "= 1",           "[t",
        "[t]\n[t]",    "a = 1\na = 2", "a.b = 1",        "a = {b = 1}",   "a = \"\"\"x\"\"\"",
        "a = '''x'''", "a = \"\\",     "a = 2026-01-01", "a = [",         "[]",
        "a = \"x\\"}) {
    CAPTURE(text);
    const auto settings = parse_toml(text, "file.toml");
    REQUIRE_FALSE(settings);
    REQUIRE(settings.error().kind == ErrorKind::invalid);
    REQUIRE(settings.error().message.starts_with("file.toml:"));
  }
  REQUIRE(parse_toml("\n\na = b\n", "f").error().message.starts_with("f:3: "));
  REQUIRE(parse_toml("", "f")->empty());
}

TEST_CASE("no text can harm the reader") {
  const std::string whole = "a = \"x\\u00e4\"\n[t]\nb = [1, 'y']\n";
  for (size_t length = 0; length <= whole.size(); ++length)
    (void)parse_toml(whole.substr(0, length), "f");
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      (void)parse_toml(changed, "f");
    }
  }
}
