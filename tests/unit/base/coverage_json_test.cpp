#include "lookback/base/coverage_json.hpp"

#include <catch2/catch.hpp>
#include <limits>

#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback {

TEST_CASE("gaps are what they were after JSON") {
  const std::vector<Gap> gaps{{0, 1, 0, "not running"}, {1'700'000'000'123'456'789, 1'700'000'001'000'000'000, 17, "a reason of tomorrow"}, {-5, -5, 1, "\xc3\xa4"}};
  const Json json{{"gaps", gaps_to_json(gaps)}};
  CHECK(json.at("gaps").at(1).dump() ==
        R"({"end":"2023-11-14T22:13:21.000000000Z","packets":17,"reason":"a reason of tomorrow","start":"2023-11-14T22:13:20.123456789Z"})");
  const auto read = gaps_from_json(json, "gaps", 3);
  REQUIRE(read);
  CHECK(*read == gaps);
  CHECK(gaps_from_json(json, "gaps", 2).error().kind == ErrorKind::corrupt);
  CHECK(gaps_from_json(json, "others", 2)->empty());
}

TEST_CASE("gaps and clock samples of earlier versions are read") {
  const Json json = Json::parse(R"({"gaps":[{"start_ns":5,"end_ns":7,"packets":2,"reason":"recycled"}],
                                    "clock":[{"time_ns":9,"offset_ns":-3,"error_ns":1,"step_ns":0}]})");
  CHECK(*gaps_from_json(json, "gaps", 9) == std::vector<Gap>{{5, 7, 2, "recycled"}});
  CHECK(*clock_from_json(json, "clock", 9) == std::vector<ClockSample>{{9, -3, 1, 0}});
}

TEST_CASE("what is not a gap or a clock sample is refused") {
  const auto gap = [](const char* text) { return gap_from_json(Json::parse(text)); };
  CHECK(gap(R"({"start":"2023-11-14T22:13:20Z","end":"2023-11-14T22:13:21Z","reason":"x"})"));
  for (const char* wrong : {"{}", "[]", "7", R"({"start":"yesterday","end":"2023-11-14T22:13:21Z","packets":1,"reason":"x"})",
                            R"({"start":"2023-11-14T22:13:20Z","end":"2023-11-14T22:13:21Z","packets":-1,"reason":"x"})",
                            R"({"start":"2023-11-14T22:13:20Z","end":"2023-11-14T22:13:21Z","packets":1,"reason":7})"})
    CHECK(gap(wrong).error().kind == ErrorKind::corrupt);
  const Json long_reason{{"start", time_to_json(0)}, {"end", time_to_json(1)}, {"packets", 1}, {"reason", std::string(kMaxReason + 1, 'x')}};
  CHECK(gap_from_json(long_reason).error().kind == ErrorKind::corrupt);
  // Stamps are corrected by a sample: a sum must not overflow.
  const auto sample = [](int64_t offset_ns, int64_t error_ns) {
    return clock_sample_from_json({{"time", time_to_json(0)}, {"offset_ns", offset_ns}, {"error_ns", error_ns}, {"step_ns", 0}});
  };
  CHECK(sample(-5, 0));
  for (const int64_t far : {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    CHECK(sample(far, 1).error().kind == ErrorKind::corrupt);
    CHECK(sample(1, far).error().kind == ErrorKind::corrupt);
  }
}

TEST_CASE("times that no reader takes become the nearest that it does") {
  for (const int64_t far : {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    const Json json{{"time", time_to_json(far)}};
    CHECK(json_time(json, "time"));
  }
  CHECK(time_to_json(std::optional<int64_t>()).is_null());
  CHECK_FALSE(*json_time_or_none(Json::object(), "time"));
}

}  // namespace lookback
