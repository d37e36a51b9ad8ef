#pragma once
// Lists of structs as arrays of JSON. Include in .cpp files only, as json.hpp.

#include <string_view>
#include <vector>

#include "lookback/base/json.hpp"

namespace lookback {

template <class T>
[[nodiscard]] Json list_to_json(const std::vector<T>& list, Json (*write)(const T&)) {
  Json array = Json::array();
  for (const T& one : list) array.push_back(write(one));
  return array;
}

/// The member `key` of an object, of at most `limit` elements; a missing or null one is empty. Kind corrupt for anything else.
template <class T>
[[nodiscard]] Result<std::vector<T>> list_from_json(const Json& object, std::string_view key, size_t limit, Result<T> (*read)(const Json&)) {
  std::vector<T> list;
  const auto array = object.find(key);
  if (array == object.end() || array->is_null()) return list;
  if (!array->is_array()) return fail(ErrorKind::corrupt, "'{}' is not an array", key);
  if (array->size() > limit) return fail(ErrorKind::corrupt, "'{}' has {} elements, {} are allowed", key, array->size(), limit);
  list.reserve(array->size());
  for (const Json& element : *array) {
    Result<T> value = read(element);
    if (!value) return tl::make_unexpected(value.error().in(fmt::format("'{}'", key)));
    list.push_back(std::move(*value));
  }
  return list;
}

/// A text of an object of at most `limit` bytes; empty where it is missing.
[[nodiscard]] inline Result<std::string> json_text(const Json& object, std::string_view key, size_t limit) {
  TRY_ASSIGN(std::string text, json_get_or<std::string>(object, key, ""));
  if (text.size() > limit) return fail(ErrorKind::corrupt, "'{}' is longer than {} bytes", key, limit);
  return text;
}

}  // namespace lookback
