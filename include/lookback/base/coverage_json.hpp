#pragma once
// The JSON of gaps and clock samples, the same wherever they stand: {"start", "end", "packets", "reason"} and
// {"time", "offset_ns", "error_ns", "step_ns"}, times in RFC 3339. Readers take the earlier form as well, with times in nanoseconds
// ("start_ns").

#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "lookback/base/coverage.hpp"
#include "lookback/base/result.hpp"

namespace lookback {

[[nodiscard]] nlohmann::json gap_to_json(const Gap& gap);
[[nodiscard]] Result<Gap> gap_from_json(const nlohmann::json& json);
[[nodiscard]] nlohmann::json clock_sample_to_json(const ClockSample& sample);
/// Corrupt where a stamp corrected by it could overflow.
[[nodiscard]] Result<ClockSample> clock_sample_from_json(const nlohmann::json& json);

[[nodiscard]] nlohmann::json gaps_to_json(const std::vector<Gap>& gaps);
[[nodiscard]] nlohmann::json clock_to_json(const std::vector<ClockSample>& samples);
/// The member `key` of an object: at most `limit` of them; none where it is missing.
[[nodiscard]] Result<std::vector<Gap>> gaps_from_json(const nlohmann::json& object, std::string_view key, size_t limit);
[[nodiscard]] Result<std::vector<ClockSample>> clock_from_json(const nlohmann::json& object, std::string_view key, size_t limit);

}  // namespace lookback
