#pragma once
// Time as the product speaks it: CLOCK_REALTIME nanoseconds since 1970 UTC in an int64_t named ..._ns,
// RFC 3339 in text, [from, to) for windows.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback {

inline constexpr int64_t kNsPerSecond = 1'000'000'000;
inline constexpr int64_t kNsPerMs = 1'000'000;

/// A half-open window [from_ns, to_ns).
struct TimeWindow {
  int64_t from_ns = 0;
  int64_t to_ns = 0;
  [[nodiscard]] bool contains(int64_t ns) const { return ns >= from_ns && ns < to_ns; }
  [[nodiscard]] bool empty() const { return to_ns <= from_ns; }
  /// Whether the stretch [first_ns, last_ns], its last nanosecond included, has one in the window.
  [[nodiscard]] bool overlaps(int64_t first_ns, int64_t last_ns) const {
    return first_ns < to_ns && last_ns >= from_ns;
  }
  friend bool operator==(const TimeWindow&, const TimeWindow&) = default;
};

/// "2026-03-01T12:00:00Z", with as many fraction digits as needed (0, 3, 6 or 9).
[[nodiscard]] std::string format_time(int64_t time_ns);
/// The same to whole seconds, cut off: for people.
[[nodiscard]] std::string format_time_seconds(int64_t time_ns);
/// The same in always nine digits: for manifests, where texts are compared.
[[nodiscard]] std::string format_time_ns(int64_t time_ns);

/// RFC 3339 with any offset and up to nine fraction digits.
[[nodiscard]] Result<int64_t> parse_rfc3339(std::string_view text);
/// What people type: RFC 3339; "2026-03-01 12:00[:05]" and "12:00[:05]" (UTC; a time of day is the last such
/// moment before now); "now"; "-30m" relative to now; "@1700000000[.5]".
[[nodiscard]] Result<int64_t> parse_time(std::string_view text, int64_t now_ns);

/// "5m", "12h", "1h30m", "250ms", "90s", "2d"; a bare number is an error. Never negative.
[[nodiscard]] Result<int64_t> parse_duration(std::string_view text);
/// "3 h 12 m", "45 s", "250 ms": for people.
[[nodiscard]] std::string format_duration(int64_t duration_ns);
/// "3h12m0s"-like, accepted by parse_duration: for JSON and echo of options.
[[nodiscard]] std::string format_duration_compact(int64_t duration_ns);

}  // namespace lookback
