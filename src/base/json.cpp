#include "lookback/base/json.hpp"

#include <algorithm>
#include <iterator>

#include "lookback/base/json_fields.hpp"
#include "lookback/base/text.hpp"

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

std::string dump_json(const Json& value, int indent) {
  return without_hidden(value.dump(indent, ' ', false, Json::error_handler_t::replace));
}

std::string without_hidden(std::string json) {
  // Below DEL there are only those that JSON escapes anyway, and its own white space.
  const auto first = std::find_if(json.begin(), json.end(),
                                  [](char c) { return static_cast<unsigned char>(c) >= 0x7f; });
  if (first == json.end()) return json;
  std::string out(json.begin(), first);
  const auto escape = [&out](uint32_t unit) { fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit); };
  for (std::string_view rest(&*first, static_cast<size_t>(json.end() - first)); !rest.empty();) {
    const size_t length = utf8_length(rest);
    const std::string_view one = rest.substr(0, std::max<size_t>(length, 1));
    rest.remove_prefix(one.size());
    if (length == 0) {
      escape(0xfffd);
      continue;
    }
    const uint32_t code = code_point(one);
    if (code < 0x7f || !is_hidden(code)) {
      out += one;
    } else if (code < 0x10000) {
      escape(code);
    } else {  // RFC 8259, section 7: as a surrogate pair
      escape(0xd800 + ((code - 0x10000) >> 10));
      escape(0xdc00 + ((code - 0x10000) & 0x3ff));
    }
  }
  return out;
}

}  // namespace lookback
