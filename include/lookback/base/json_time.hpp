#pragma once
// Times in JSON: RFC 3339 with nine digits, UTC.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"

namespace lookback {

/// Times that a reader would refuse (before 1678, from 2262 on) are brought to the nearest that it takes.
[[nodiscard]] nlohmann::json time_to_json(int64_t time_ns);
/// null for "never".
[[nodiscard]] nlohmann::json time_to_json(const std::optional<int64_t>& time_ns);
/// {"from", "to"}
[[nodiscard]] nlohmann::json window_to_json(const TimeWindow& window);
[[nodiscard]] nlohmann::json window_to_json(const std::optional<TimeWindow>& window);

/// A member of an object; kind corrupt where it is missing or not a time.
[[nodiscard]] Result<int64_t> json_time(const nlohmann::json& object, std::string_view key);
/// The same where it may be missing or null.
[[nodiscard]] Result<std::optional<int64_t>> json_time_or_none(const nlohmann::json& object, std::string_view key);
/// The members "from" and "to" of an object; corrupt where it ends before it starts.
[[nodiscard]] Result<TimeWindow> window_from_json(const nlohmann::json& object);
/// A member that is a window, null or missing.
[[nodiscard]] Result<std::optional<TimeWindow>> json_window_or_none(const nlohmann::json& object, std::string_view key);

}  // namespace lookback
