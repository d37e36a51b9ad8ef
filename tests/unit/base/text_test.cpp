#include <catch2/catch.hpp>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"

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
