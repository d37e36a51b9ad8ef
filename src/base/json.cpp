#include "lookback/base/json.hpp"

#include <algorithm>

#include "lookback/base/json_fields.hpp"

namespace lookback {

namespace {

/// Nesting beyond this is an attack or a mistake; bounding it bounds every recursive walk of the value.
constexpr int kMaxDepth = 64;

/// What a text can become, before anything is made of it: a value takes up to fifty times the bytes that it has there.
struct Measure {
  size_t values = 1;  ///< at most so many: one, and one more for each comma and each opening bracket
  int deepest = 0;
};

Measure measure(std::string_view text) {
  Measure found;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++found.values;
      found.deepest = std::max(found.deepest, ++depth);
    } else if (c == ',') {
      ++found.values;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return found;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what) {
  const Measure found = measure(text);
  if (found.deepest > kMaxDepth) return fail(ErrorKind::corrupt, "{} is JSON nested too deeply", what);
  if (found.values > kMaxJsonValues)
    return fail(ErrorKind::corrupt, "{} is JSON of too many values, {} are allowed", what, kMaxJsonValues);
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return fail(ErrorKind::corrupt, "{} is not valid JSON", what);
  return value;
}

}  // namespace lookback
