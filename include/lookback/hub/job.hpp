#pragma once
// Long work of the hub as people and programs see it: the object of GET /api/v1/jobs/{id}, and the record on disk.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::hub {

enum class JobState : uint8_t {
  pending,    ///< waits for others of its kind
  running,
  completed,
  failed,
  cancelled,
  other,      ///< one that a newer hub knows
};
[[nodiscard]] std::string_view name_of(JobState state);
[[nodiscard]] JobState job_state(std::string_view name);
[[nodiscard]] constexpr bool is_over(JobState state) {
  return state == JobState::completed || state == JobState::failed || state == JobState::cancelled;
}

struct Job {
  std::string id;       ///< 16 hexadecimal digits
  std::string kind;     ///< "verify"
  std::string subject;  ///< what it is about: a snapshot's name
  JobState state = JobState::pending;
  int64_t created_ns = 0, started_ns = 0, ended_ns = 0;  ///< hub time; 0: not yet
  uint64_t done = 0, total = 0;                          ///< of what the kind counts, mostly bytes; total 0: not known
  uint32_t starts = 0;                                   ///< how often it was begun: more than once where the hub was restarted
  std::optional<Error> error;                            ///< of a failed one
  std::string parameters = "{}";                         ///< JSON: what the kind was asked for
  std::string result = "null";                           ///< JSON, of a completed one; what is in it is up to the kind
};

[[nodiscard]] nlohmann::json job_to_json(const Job& job);
/// Kind corrupt where it is not one.
[[nodiscard]] Result<Job> job_from_json(const nlohmann::json& json);

}  // namespace lookback::hub
