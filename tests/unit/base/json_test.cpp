#include <catch2/catch.hpp>

#include "lookback/base/json_fields.hpp"
#include "lookback/base/saturating.hpp"

using namespace lookback;

namespace {

std::string repeated(const std::string& part, size_t times) {
  std::string out;
  out.reserve(part.size() * times);
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

}  // namespace

TEST_CASE("JSON of too many values is refused before anything is made of it") {
  for (const char* one : {"{},", "[],", "0,", "\"\",", "[[]],", "{\"a\":1},"}) {
    INFO(one);
    const std::string text = "[" + repeated(one, kMaxJsonValues) + "0]";
    const auto parsed = parse_json(text, "it");
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().kind == ErrorKind::corrupt);
    CHECK(parsed.error().message.find("too many values") != std::string::npos);
  }
  // As an object, and without an end.
  CHECK_FALSE(parse_json("{" + repeated("\"a\":0,", kMaxJsonValues), "it"));
  // Commas and brackets in texts are none.
  const std::string text = "[\"" + repeated(",[{\\\"", kMaxJsonValues) + "\"]";
  CHECK(parse_json(text, "it")->size() == 1);
  CHECK(parse_json("[" + repeated("0,", 1000) + "0]", "it")->size() == 1001);
  CHECK(parse_json(repeated("[", 64) + repeated("]", 64), "it"));
  CHECK_FALSE(parse_json(repeated("[", 65) + repeated("]", 65), "it"));
}

TEST_CASE("an object read by fields holds each to the bounds, and passes over what it does not know") {
  size_t elements = 0;
  Json seen = Json::object();
  FieldHandlers handlers;
  handlers.field = [&](const std::string& key, Json&& value) -> Result<> {
    seen[key] = std::move(value);
    return {};
  };
  handlers.is_streamed = [](const std::string& key) { return key == "many"; };
  handlers.element = [&](const std::string&, Json&&) -> Result<> {
    ++elements;
    return {};
  };
  handlers.is_unknown = [](const std::string& key) { return key == "unknown"; };
  CHECK(handlers.max_values == kMaxJsonValues);
  handlers.max_values = 20'000;
  const std::string many = repeated("{},", 30'000);
  REQUIRE(read_json_fields("{\"many\":[" + many + "{}],\"a\":1,\"unknown\":[" + many + "{}]}", handlers));
  CHECK(elements == 30'001);
  CHECK(seen == Json{{"a", 1}});
  CHECK_FALSE(read_json_fields("{\"a\":[" + many + "{}]}", handlers));
  CHECK_FALSE(read_json_fields("{\"many\":[[" + many + "{}]]}", handlers));
  CHECK_FALSE(read_json_fields("{\"many\":{}}", handlers));
  CHECK_FALSE(read_json_fields("{\"a\":" + repeated("[", 9) + repeated("]", 9) + "}", handlers));
  CHECK_FALSE(read_json_fields("{\"a\":{\"b\":1,\"b\":2}}", handlers));
  CHECK_FALSE(read_json_fields("{\"a\":1,\"a\":2}", handlers));
  CHECK_FALSE(read_json_fields("[]", handlers));
  CHECK_FALSE(read_json_fields("{\"a\":1", handlers));
  handlers.max_values = 10;
  CHECK_FALSE(read_json_fields("{\"a\":[1,2,3,4,5,6,7,8,9,10]}", handlers));
  CHECK(read_json_fields("{\"a\":[1,2,3,4,5,6,7,8,9]}", handlers));
}

TEST_CASE("sums stop at the largest value") {
  constexpr uint64_t most = UINT64_MAX;
  CHECK(saturating_add(most, most) == most);
  CHECK(saturating_add(most, uint64_t{0}) == most);
  CHECK(saturating_add(most - 1, uint64_t{1}) == most);
  CHECK(saturating_add(most - 1, uint64_t{2}) == most);
  CHECK(saturating_add(uint64_t{2}, uint64_t{3}) == 5);
  CHECK(saturating_add(uint8_t{200}, uint8_t{100}) == 255);
  uint64_t sum = 1;
  saturate(sum, most);
  saturate(sum, most);
  CHECK(sum == most);
}
