#include <catch2/catch.hpp>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/text.hpp"

using namespace lookback;

TEST_CASE("sizes") {
  REQUIRE(parse_size("10GiB").value() == 10ULL << 30);
  REQUIRE(parse_size("10G").value() == 10ULL << 30);
  REQUIRE(parse_size("500MB").value() == 500'000'000);
  REQUIRE(parse_size("4096").value() == 4096);
  REQUIRE(parse_size("1.5 KiB").value() == 1536);
  for (const char* text : {"", "-1", "GiB", "1XB", "1.5", "99999999999TiB", "nan", "1GiBB"}) {
    CAPTURE(text);
    REQUIRE_FALSE(parse_size(text));
  }
  REQUIRE(format_size(1536) == "1.5 KiB");
  REQUIRE(format_size(1023) == "1023 B");
}

TEST_CASE("names") {
  REQUIRE(check_snapshot_name("incident-1"));
  for (const char* name : {"", ".", "..", "a/b", "-x", "a b", "a%", "\xc3\xa4"}) {
    CAPTURE(name);
    REQUIRE_FALSE(check_snapshot_name(name));
  }
  REQUIRE_FALSE(check_snapshot_name(std::string(129, 'a')));
  REQUIRE(expand_snapshot_name("audit-%Y%m%d-%H%M", 0).value() == "audit-19700101-0000");
  REQUIRE_FALSE(expand_snapshot_name("audit-%c", 0));
  REQUIRE(glob_match("eth*", "eth0"));
  REQUIRE_FALSE(glob_match("eth*", "veth0"));
  REQUIRE(glob_match("l\\xe9*", "l\\xe9.7"));
  REQUIRE(glob_match("\\Device\\NPF_*", "\\Device\\NPF_{1}"));
  REQUIRE(glob_match("a[b", "a[b"));
}

TEST_CASE("hashes") {
  REQUIRE(sha256_hex(as_bytes("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  REQUIRE(crc32c(as_bytes("123456789")) == 0xE3069283);
  REQUIRE(crc32c(as_bytes("56789"), crc32c(as_bytes("1234"))) == 0xE3069283);
  for (const std::string text : {"", "a", "ab", "abc", "\x00\xff"}) {
    REQUIRE(from_base64(to_base64(as_bytes(text))).value() == text);
  }
  REQUIRE_FALSE(from_base64("abc"));
  REQUIRE_FALSE(from_base64("ab\nc"));
}

TEST_CASE("JSON from outside") {
  const auto json = parse_json(R"({"a": 300, "b": "x", "c": -1, "d": 1.5, "e": null})", "test").value();
  REQUIRE(json_get<int>(json, "a").value() == 300);
  REQUIRE_FALSE(json_get<uint8_t>(json, "a"));
  REQUIRE_FALSE(json_get<uint32_t>(json, "c"));
  REQUIRE(json_get<int64_t>(json, "c").value() == -1);
  REQUIRE_FALSE(json_get<int>(json, "b"));
  REQUIRE_FALSE(json_get<int>(json, "d"));
  REQUIRE(json_get_or<int>(json, "e", 7).value() == 7);
  REQUIRE_FALSE(parse_json("{", "test"));
  REQUIRE_FALSE(parse_json(std::string(100'000, '['), "test"));
}

TEST_CASE("what steers a terminal is shown escaped") {
  struct Case {
    std::string_view text, shown;
  };
  using namespace std::string_view_literals;
  for (const auto& [text, shown] : std::initializer_list<Case>{
           {"plain öäü ± … 漢字 🙂"sv, "plain öäü ± … 漢字 🙂"sv},
           {"\x1b[2J"sv, "\\x1b[2J"sv},
           {"a\nb\tc\rd\0e\x7f"sv, "a\\x0ab\\x09c\\x0dd\\x00e\\x7f"sv},
           {"\xc2\x9b" "31m"sv, "\\xc2\\x9b" "31m"sv},            // U+009B, CSI
           {"\xc2\x85"sv, "\\xc2\\x85"sv},                        // U+0085, next line
           {"\xe2\x80\xae" "txt"sv, "\\xe2\\x80\\xae" "txt"sv},  // U+202E
           {"\xe2\x81\xa6\xe2\x80\xa8"sv, "\\xe2\\x81\\xa6\\xe2\\x80\\xa8"sv},  // U+2066, U+2028
           {"\xd8\x9c\xef\xbb\xbf"sv, "\\xd8\\x9c\\xef\\xbb\\xbf"sv},        // U+061C, U+FEFF
           {"\xf3\xa0\x81\xa1"sv, "\\xf3\\xa0\\x81\\xa1"sv},             // U+E0061, a tag
           {"l\xe9"sv, "l\\xe9"sv},                                          // Latin-1
           {"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"sv,
            "\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80"sv},  // overlong, surrogate, too large
           {"\xe2\x80"sv, "\\xe2\\x80"sv}}) {                          // cut off
    CAPTURE(shown);
    CHECK(printable(text) == shown);
    CHECK(printable(shown) == shown);
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (const char c : printable(std::string(3, static_cast<char>(byte)))) CHECK((c >= ' ' && c < 0x7f));
  }
}

TEST_CASE("names of any bytes have a form of their own, and go back") {
  std::set<std::string> forms;
  const std::vector<std::string> names{"eth0",         "l\xe9",          "l\\xe9",     "l\\x5cxe9", "l\\\\xe9",
                                       "\\Device\\NPF", "\xe2\x80\xae", "caf\xc3\xa9", "\\x",       std::string("\0\xff", 2)};
  for (const std::string& name : names) {
    const std::string text = name_to_text(name);
    CAPTURE(text);
    CHECK(name_from_text(text) == name);
    CHECK(printable(text) == text);
    forms.insert(text);
  }
  CHECK(forms.size() == names.size());
  CHECK(name_to_text("l\xe9") == "l\\xe9");
  CHECK(name_to_text("l\\xe9") == "l\\x5cxe9");
  CHECK(name_to_text("\\Device\\NPF") == "\\Device\\NPF");
}

TEST_CASE("a spreadsheet takes no field for a formula") {
  for (const char* text : {"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\xef\xbc\x9d" "1", "=1,\"2\""}) {
    CAPTURE(text);
    const std::string field = csv_field(text);
    CHECK(field.starts_with("\"'"));
    CHECK(field.ends_with('"'));
    CHECK(field.find_first_of("\t\r\n\x1b") == std::string::npos);
  }
  CHECK(csv_field("=\"x\"") == "\"'=\"\"x\"\"\"");
  CHECK(csv_field("nginx") == "nginx");
  CHECK(csv_field("a,b") == "\"a,b\"");
  CHECK(csv_field("say \"x\"") == "\"say \"\"x\"\"\"");
  CHECK(csv_field("a=b") == "a=b");
  CHECK(csv_field("\x1b[2J") == "\\x1b[2J");
}

TEST_CASE("JSON is written from any bytes, and steers no terminal") {
  CHECK(dump_json({{"name", "l\xe9"}}) == "{\"name\":\"l\xef\xbf\xbd\"}");
  CHECK(dump_json(Json("\xe2\x80\xae\xc2\x9b\x7f\xf3\xa0\x81\xa1")) ==
        R"("\u202e\u009b\u007f\udb40\udc61")");
  CHECK(Json::parse(dump_json(Json("a\xe2\x80\xae\xc3\xa9\xf3\xa0\x81\xa1"))) == "a\xe2\x80\xae\xc3\xa9\xf3\xa0\x81\xa1");
  CHECK(without_hidden("{\n \"a\": \"\xc3\xa9\"\n}\n") == "{\n \"a\": \"\xc3\xa9\"\n}\n");
}
