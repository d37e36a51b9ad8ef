#include "lookback/base/json_time.hpp"

#include <algorithm>

#include "lookback/base/json.hpp"

namespace lookback {

Json time_to_json(int64_t time_ns) {
  constexpr int64_t kEarliest = -9'214'560'000 * kNsPerSecond, kLatest = 9'214'646'400 * kNsPerSecond - 1;
  return format_time_ns(std::clamp(time_ns, kEarliest, kLatest));
}

Json time_to_json(const std::optional<int64_t>& time_ns) {
  return time_ns ? time_to_json(*time_ns) : Json(nullptr);
}

Json window_to_json(const TimeWindow& window) {
  return {{"from", time_to_json(window.from_ns)}, {"to", time_to_json(window.to_ns)}};
}

Json window_to_json(const std::optional<TimeWindow>& window) {
  return window ? window_to_json(*window) : Json(nullptr);
}

Result<int64_t> json_time(const Json& object, std::string_view key) {
  TRY_ASSIGN(const std::string text, json_get<std::string>(object, key));
  auto time = parse_rfc3339(text);
  if (!time) return fail(ErrorKind::corrupt, "'{}' is not a time: {}", key, time.error().message);
  return *time;
}

Result<std::optional<int64_t>> json_time_or_none(const Json& object, std::string_view key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  TRY_ASSIGN(const int64_t time, json_time(object, key));
  return time;
}

Result<TimeWindow> window_from_json(const Json& object) {
  TimeWindow window;
  TRY_ASSIGN(window.from_ns, json_time(object, "from"));
  TRY_ASSIGN(window.to_ns, json_time(object, "to"));
  if (window.to_ns < window.from_ns) return fail(ErrorKind::corrupt, "a window ends before it starts");
  return window;
}

Result<std::optional<TimeWindow>> json_window_or_none(const Json& object, std::string_view key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  TRY_ASSIGN(const TimeWindow window, window_from_json(*it));
  return window;
}

}  // namespace lookback
