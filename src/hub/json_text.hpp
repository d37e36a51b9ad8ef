#pragma once
// JSON as the hub writes it.

#include <string>

#include "lookback/base/json.hpp"
#include "lookback/base/time.hpp"

namespace lookback::hub {

/// One line. What came from outside and is not UTF-8 is replaced instead of thrown over.
[[nodiscard]] inline std::string to_text(const Json& json) {
  return dump_json(json) + "\n";
}

[[nodiscard]] inline Json time_json(int64_t ns) {
  return format_time_ns(ns);
}
/// null for "never".
[[nodiscard]] inline Json time_json(const std::optional<int64_t>& ns) {
  return ns ? Json(format_time_ns(*ns)) : Json(nullptr);
}

/// An RFC 3339 member of an object.
[[nodiscard]] inline Result<int64_t> json_time(const Json& object, std::string_view key) {
  TRY_ASSIGN(const std::string text, json_get<std::string>(object, key));
  auto time = parse_rfc3339(text);
  if (!time) return fail(ErrorKind::corrupt, "'{}' is not a time: {}", key, time.error().message);
  return *time;
}

/// The same where it may be missing or null.
[[nodiscard]] inline Result<std::optional<int64_t>> json_time_or_none(const Json& object,
                                                                      std::string_view key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  TRY_ASSIGN(const int64_t time, json_time(object, key));
  return time;
}

}  // namespace lookback::hub
