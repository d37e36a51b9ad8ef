#include "lookback/base/coverage_json.hpp"

#include <string>

#include "lookback/base/json_list.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback {

namespace {

Result<int64_t> stamp_from_json(const Json& json, std::string_view key) {
  const std::string earlier = std::string(key) + "_ns";
  return json.contains(earlier) ? json_get<int64_t>(json, earlier) : json_time(json, key);
}

}  // namespace

Json gap_to_json(const Gap& gap) {
  return {{"start", time_to_json(gap.start_ns)}, {"end", time_to_json(gap.end_ns)}, {"packets", gap.packets}, {"reason", gap.reason}};
}

Result<Gap> gap_from_json(const Json& json) {
  Gap gap;
  TRY_ASSIGN(gap.start_ns, stamp_from_json(json, "start"));
  TRY_ASSIGN(gap.end_ns, stamp_from_json(json, "end"));
  TRY_ASSIGN(gap.packets, json_get_or<uint64_t>(json, "packets", 0));
  TRY_ASSIGN(gap.reason, json_text(json, "reason", kMaxReason));
  return gap;
}

Json clock_sample_to_json(const ClockSample& sample) {
  return {{"time", time_to_json(sample.time_ns)},
          {"offset_ns", sample.offset_ns},
          {"error_ns", sample.error_ns},
          {"step_ns", sample.step_ns}};
}

Result<ClockSample> clock_sample_from_json(const Json& json) {
  ClockSample sample;
  TRY_ASSIGN(sample.time_ns, stamp_from_json(json, "time"));
  TRY_ASSIGN(sample.offset_ns, json_get<int64_t>(json, "offset_ns"));
  TRY_ASSIGN(sample.error_ns, json_get<int64_t>(json, "error_ns"));
  TRY_ASSIGN(sample.step_ns, json_get_or<int64_t>(json, "step_ns", 0));
  // Stamps are corrected by these: a century is beyond any clock, and sums with a time cannot overflow.
  constexpr int64_t kCentury = 100LL * 366 * 86400 * kNsPerSecond;
  if (sample.error_ns < 0 || sample.error_ns > kCentury || sample.offset_ns > kCentury || sample.offset_ns < -kCentury)
    return fail(ErrorKind::corrupt, "a clock sample is off by more than a century");
  return sample;
}

Json gaps_to_json(const std::vector<Gap>& gaps) { return list_to_json(gaps, gap_to_json); }

Json clock_to_json(const std::vector<ClockSample>& samples) { return list_to_json(samples, clock_sample_to_json); }

Result<std::vector<Gap>> gaps_from_json(const Json& object, std::string_view key, size_t limit) {
  return list_from_json(object, key, limit, gap_from_json);
}

Result<std::vector<ClockSample>> clock_from_json(const Json& object, std::string_view key, size_t limit) {
  return list_from_json(object, key, limit, clock_sample_from_json);
}

}  // namespace lookback
