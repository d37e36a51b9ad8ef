#include "cli/table.hpp"

#include <catch2/catch.hpp>

#include "cli/progress.hpp"
#include "cli/terminal.hpp"

using namespace lookback::cli;

TEST_CASE("columns are as wide as their widest cell") {
  Table table({{"Name"}, {"Size", true}, {"Last"}});
  table.add({"a", "1.0 KiB", "x"});
  table.add({"größer", "12 B", ""});
  REQUIRE(table.render({}) ==
          "Name       Size  Last\n"
          "a       1.0 KiB  x\n"
          "größer     12 B  \n");
}

TEST_CASE("only columns that may shrink are cut, and only on a narrow terminal") {
  Table table({{"Name", false, 4}, {"Other", false, 4}, {"Fixed"}});
  table.add({"abcdefghij", "abcdef", "0123456789"});
  REQUIRE(table.render({40, false}).find("abcdefghij  abcdef  0123456789") != std::string::npos);
  REQUIRE(table.render({24, false}).find("abcd…  abcd…  0123456789") != std::string::npos);
  // Narrower than can be: nothing is lost but the layout.
  REQUIRE(table.render({5, false}).find("abc…  abc…  0123456789") != std::string::npos);
}

TEST_CASE("colours do not count as width and stay away where unwanted") {
  Table table({{"State"}, {"Next"}});
  table.add({{"up", Colour::green}, "x"});
  REQUIRE(table.render({}) == "State  Next\nup     x\n");
  REQUIRE(table.render({0, true}) ==
          "\x1b[1mState\x1b[0m  \x1b[1mNext\x1b[0m\n\x1b[32mup\x1b[0m     x\n");
}

TEST_CASE("names cannot steer the terminal") {
  Table table({{"Name"}});
  table.add({"a\x1b[2Jb\nc\xc2\x9b"});
  REQUIRE(table.render({}) == "Name\na\\x1b[2Jb\\x0ac\\xc2\\x9b\n");
}

TEST_CASE("texts are measured, shortened and wrapped by columns") {
  REQUIRE(display_width("±\x1b[31mx\x1b[0m") == 2);
  REQUIRE(shorten("größer", 6) == "größer");
  REQUIRE(shorten("größer", 4) == "grö…");
  REQUIRE(shorten("abc", 0).empty());
  REQUIRE(wrap("one two three", 9, 2) == "one two\n  three");
  REQUIRE(wrap("one\n\n  kept as it is", 5, 0) == "one\n\n  kept as it is");
  REQUIRE(wrap("averylongword b", 4, 0) == "averylongword\nb");
}

TEST_CASE("a progress line tells share, rate and rest, and fits") {
  ProgressState state;
  state.done = 512ULL << 20;
  state.total = 1ULL << 30;
  state.bytes_per_second = 128.0 * (1 << 20);
  state.detail = "1 of 3 nodes";
  REQUIRE(progress_line(state, 120) ==
          "[###############---------------]  50 %  512.0 MiB of 1.0 GiB  128.0 MiB/s  1 of 3 nodes "
          " 5 s left");
  REQUIRE(display_width(progress_line(state, 60)) <= 60);
  REQUIRE(display_width(progress_line(state, 10)) <= 10);
  state.done = 2ULL << 30;  // an estimate that was too small
  REQUIRE(progress_line(state, 120).find("100 %  1.0 GiB of 1.0 GiB") != std::string::npos);
  state.total = 0;
  REQUIRE(progress_line(state, 120) == "2.0 GiB  128.0 MiB/s  1 of 3 nodes");
  REQUIRE(progress_line({}, 120) == "0 B");
}
