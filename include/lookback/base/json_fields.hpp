#pragma once
// Reads a large JSON object field by field without ever holding it as a whole: an element of a large array at a time
// becomes a Json value, is handed over, and is gone. A small file that claims a large manifest costs little. What is
// small as a whole goes through parse_json(), with the same bounds for a value. Include in .cpp files only.

#include <functional>
#include <string>
#include <string_view>

#include "lookback/base/json.hpp"

namespace lookback {

/// Of how many values a document from outside may consist where it becomes one Json value, here or in parse_json():
/// each takes about a hundred bytes of memory, and two in the text.
inline constexpr size_t kMaxJsonValues = 4'000'000;
/// How deep a handed-over value may nest.
inline constexpr size_t kMaxFieldDepth = 8;

struct FieldHandlers {
  /// A top-level field that is not an array of the kind below.
  std::function<Result<>(const std::string& key, Json&& value)> field;
  /// True for top-level fields whose elements come one by one.
  std::function<bool(const std::string& key)> is_streamed;
  std::function<Result<>(const std::string& key, Json&& element)> element;
  /// True for top-level fields to pass over.
  std::function<bool(const std::string& key)> is_unknown;
  size_t max_values = kMaxJsonValues;  ///< of one field or element
};

/// Kind corrupt for syntax, a text that is not an object, keys that stand twice inside a value, nesting, and a field or
/// element of more values than allowed; otherwise the first error of a handler.
[[nodiscard]] Result<> read_json_fields(std::string_view text, const FieldHandlers& handlers);

}  // namespace lookback
