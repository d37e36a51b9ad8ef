#include "lookback/base/time.hpp"

#include <catch2/catch.hpp>
#include <limits>

using namespace lookback;

TEST_CASE("RFC 3339 round trip") {
  for (const char* text : {"1970-01-01T00:00:00Z", "2026-03-01T12:00:00.25Z", "1999-12-31T23:59:59.999999999Z"}) {
    const auto ns = parse_rfc3339(text);
    REQUIRE(ns);
    REQUIRE(parse_rfc3339(format_time(*ns)).value() == *ns);
    REQUIRE(parse_rfc3339(format_time_ns(*ns)).value() == *ns);
  }
  REQUIRE(format_time(0) == "1970-01-01T00:00:00Z");
  REQUIRE(format_time(250'000'000) == "1970-01-01T00:00:00.250Z");
  REQUIRE(format_time(-1) == "1969-12-31T23:59:59.999999999Z");
  REQUIRE(parse_rfc3339("2026-03-01T12:00:00+02:00").value() == parse_rfc3339("2026-03-01T10:00:00Z").value());
}

TEST_CASE("what is not a time is refused") {
  for (const char* text : {"", "yesterday", "2026-02-30T00:00:00Z", "2026-03-01T12:00:00", "2026-03-01T25:00:00Z",
                           "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00.1234567890Z", "9999-01-01T00:00:00Z"}) {
    CAPTURE(text);
    REQUIRE_FALSE(parse_rfc3339(text));
  }
}

TEST_CASE("times as people type them") {
  const int64_t now = parse_rfc3339("2026-03-01T12:00:00Z").value();
  REQUIRE(parse_time("-30m", now).value() == now - 1800 * kNsPerSecond);
  REQUIRE(parse_time("now", now).value() == now);
  REQUIRE(parse_time("@10.5", now).value() == 10'500'000'000);
  REQUIRE(parse_time("11:30", now).value() == now - 1800 * kNsPerSecond);
  REQUIRE(parse_time("12:30", now).value() == now - (86'400 - 1800) * kNsPerSecond);  // yesterday's
  REQUIRE(parse_time("2026-03-01 11:59:59.5", now).value() == now - 500'000'000);
  REQUIRE_FALSE(parse_time("30m", now));
  REQUIRE_FALSE(parse_time("-", now));
}

TEST_CASE("durations") {
  REQUIRE(parse_duration("5m").value() == 300 * kNsPerSecond);
  REQUIRE(parse_duration("1h30m").value() == 5400 * kNsPerSecond);
  REQUIRE(parse_duration("250ms").value() == 250'000'000);
  REQUIRE(parse_duration("1.5s").value() == 1'500'000'000);
  for (const char* text : {"", "5", "-5m", "5 m", "m", "5x", "1e400s", "999999999999d"}) {
    CAPTURE(text);
    REQUIRE_FALSE(parse_duration(text));
  }
  REQUIRE(format_duration(11'520 * kNsPerSecond) == "3 h 12 m");
  for (const int64_t ns : {0LL, 1LL, 90LL * kNsPerSecond, 86'400LL * 15 * kNsPerSecond + 5}) {
    REQUIRE(parse_duration(format_duration_compact(ns)).value() == ns);
  }
}

TEST_CASE("a stretch overlaps a window by its last nanosecond, and not by the window's end") {
  constexpr TimeWindow kWindow{100, 200};
  REQUIRE(kWindow.overlaps(120, 130));
  REQUIRE(kWindow.overlaps(0, 1000));
  REQUIRE_FALSE(kWindow.overlaps(50, 99));
  REQUIRE(kWindow.overlaps(50, 100));
  REQUIRE(kWindow.overlaps(100, 100));
  REQUIRE(kWindow.overlaps(199, 300));
  REQUIRE_FALSE(kWindow.overlaps(200, 300));
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min(),
                    kHighest = std::numeric_limits<int64_t>::max();
  REQUIRE(kWindow.overlaps(kLowest, kHighest));
  REQUIRE(TimeWindow{kLowest, kHighest}.overlaps(kLowest, kLowest));
  REQUIRE_FALSE(TimeWindow{kLowest, kHighest}.overlaps(kHighest, kHighest));
}
