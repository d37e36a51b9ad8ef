// Text from outside: what is printed is clean, a name goes back to its bytes, a CSV field is one field.
#include <cstdint>

#include "lookback/base/json.hpp"
#include "lookback/base/text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lookback;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string shown = printable(text);
  LOOKBACK_CHECK(printable(shown) == shown);
  for (std::string_view rest = shown; !rest.empty();) {
    const size_t length = utf8_length(rest);
    LOOKBACK_CHECK(length != 0 && !is_hidden(code_point(rest.substr(0, length))));
    rest.remove_prefix(length);
  }
  const std::string name = name_to_text(text);
  LOOKBACK_CHECK(name_from_text(name) == text);
  LOOKBACK_CHECK(printable(name) == name);

  const std::string field = csv_field(text);
  const bool quoted = field.starts_with('"');
  size_t quotes = 0;
  for (const char c : field) quotes += c == '"' ? 1 : 0;
  LOOKBACK_CHECK(quotes % 2 == 0 && (quoted || (quotes == 0 && field.find(',') == std::string::npos)));
  LOOKBACK_CHECK(field.find_first_of("\r\n") == std::string::npos);
  LOOKBACK_CHECK(field.empty() || std::string_view("=+-@").find(field[0]) == std::string_view::npos);

  const std::string json = dump_json(Json(std::string(text)));
  LOOKBACK_CHECK(Json::accept(json) && without_hidden(json) == json);
  return 0;
}
