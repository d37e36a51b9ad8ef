#pragma once
// Reading JSON from outside without exceptions. Include in .cpp files only: the header behind it is large.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "lookback/base/result.hpp"

namespace lookback {

using Json = nlohmann::json;

/// Parses a whole text; depth and syntax errors come back as kind corrupt. `what` names it in the message.
[[nodiscard]] Result<Json> parse_json(std::string_view text, std::string_view what);

/// The value as text, on one line or indented by `indent` spaces. Never throws: bytes that are not UTF-8 become U+FFFD.
/// Characters that steer a terminal are escaped (\\u202e): the text means the same to every reader.
/// Use it in place of Json::dump(), which does throw.
[[nodiscard]] std::string dump_json(const Json& value, int indent = -1);
/// Escapes those characters in a JSON text that somebody else wrote.
[[nodiscard]] std::string without_hidden(std::string json);

/// A member of an object in the type asked for: string, bool, any integer (range-checked), double.
template <class T>
[[nodiscard]] Result<T> json_get(const Json& object, std::string_view key) {
  if (!object.is_object()) return fail(ErrorKind::corrupt, "not a JSON object where '{}' was expected", key);
  const auto it = object.find(key);
  if (it == object.end()) return fail(ErrorKind::corrupt, "'{}' is missing", key);
  if constexpr (std::is_same_v<T, std::string>) {
    if (it->is_string()) return it->template get<std::string>();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (it->is_boolean()) return it->template get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    if (it->is_number_unsigned()) {
      const auto value = it->template get<uint64_t>();
      if (value <= static_cast<uint64_t>(std::numeric_limits<T>::max())) return static_cast<T>(value);
    } else if (it->is_number_integer()) {
      const auto value = it->template get<int64_t>();
      if constexpr (std::is_signed_v<T>) {
        if (value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max())
          return static_cast<T>(value);
      }
    }
  } else if constexpr (std::is_floating_point_v<T>) {
    if (it->is_number()) return it->template get<T>();
  }
  return fail(ErrorKind::corrupt, "'{}' has the wrong type or is out of range", key);
}

/// The same, or `fallback` where the member is missing or null.
template <class T>
[[nodiscard]] Result<T> json_get_or(const Json& object, std::string_view key, T fallback) {
  if (object.is_object()) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return fallback;
  }
  return json_get<T>(object, key);
}

}  // namespace lookback
