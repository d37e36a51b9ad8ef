#pragma once
// Reads the manifest's JSON object field by field without ever holding it as a whole: an element of a large array at
// a time becomes a Json value, is handed over, and is gone. A small file that claims a large manifest costs little.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/json.hpp"

namespace lookback::archive {

/// How deep a handed-over value may nest, and of how many values it may consist.
inline constexpr size_t kMaxValueDepth = 8;
inline constexpr size_t kMaxValueNodes = 2'000'000;

struct FieldHandlers {
  /// A top-level field that is not an array of the kind below.
  std::function<Result<>(const std::string& key, Json&& value)> field;
  /// True for top-level fields whose elements come one by one.
  std::function<bool(const std::string& key)> is_streamed;
  std::function<Result<>(const std::string& key, Json&& element)> element;
  /// True for top-level fields to pass over.
  std::function<bool(const std::string& key)> is_unknown;
};

/// Kind corrupt for syntax, a text that is no object, keys that stand twice inside a value, nesting and size; otherwise
/// the first error of a handler.
[[nodiscard]] Result<> read_json_fields(std::string_view text, const FieldHandlers& handlers);

}  // namespace lookback::archive
