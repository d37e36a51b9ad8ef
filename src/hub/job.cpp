#include "lookback/hub/job.hpp"

#include "lookback/base/enum_names.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"

namespace lookback::hub {

namespace {

constexpr EnumNames<JobState, 6> kStates{{"pending", "running", "completed", "failed", "cancelled", "other"}};

Json known_time(int64_t time_ns) {
  return time_ns == 0 ? Json(nullptr) : time_to_json(time_ns);
}

Json error_json(const std::optional<Error>& error) {
  if (!error) return nullptr;
  return {{"kind", to_string(error->kind)}, {"message", error->message}};
}

Result<std::optional<Error>> error_of(const Json& json) {
  const auto error = json.find("error");
  if (error == json.end() || error->is_null()) return std::nullopt;
  TRY_ASSIGN(const auto kind, json_get_or<std::string>(*error, "kind", ""));
  TRY_ASSIGN(std::string message, json_get_or<std::string>(*error, "message", ""));
  return Error{error_kind(kind).value_or(ErrorKind::failed), std::move(message)};
}

/// What was written by this file is JSON; what another hub sent may be anything.
Json parsed(const std::string& text) {
  auto json = parse_json(text, "a job");
  return json ? std::move(*json) : Json(nullptr);
}

}  // namespace

std::string_view name_of(JobState state) {
  return kStates.of(state);
}

JobState job_state(std::string_view name) {
  return kStates.find(name).value_or(JobState::other);
}

nlohmann::json job_to_json(const Job& job) {
  return {{"id", job.id},
          {"kind", job.kind},
          {"subject", job.subject},
          {"state", name_of(job.state)},
          {"created", known_time(job.created_ns)},
          {"started", known_time(job.started_ns)},
          {"ended", known_time(job.ended_ns)},
          {"progress", {{"done", job.done}, {"total", job.total}}},
          {"starts", job.starts},
          {"error", error_json(job.error)},
          {"parameters", parsed(job.parameters)},
          {"result", parsed(job.result)}};
}

Result<Job> job_from_json(const nlohmann::json& json) {
  Job job;
  TRY_ASSIGN(job.id, json_get<std::string>(json, "id"));
  TRY_ASSIGN(job.kind, json_get<std::string>(json, "kind"));
  TRY_ASSIGN(job.subject, json_get_or<std::string>(json, "subject", ""));
  TRY_ASSIGN(const auto state, json_get<std::string>(json, "state"));
  job.state = job_state(state);
  TRY_ASSIGN(const auto created, json_time_or_none(json, "created"));
  TRY_ASSIGN(const auto started, json_time_or_none(json, "started"));
  TRY_ASSIGN(const auto ended, json_time_or_none(json, "ended"));
  job.created_ns = created.value_or(0);
  job.started_ns = started.value_or(0);
  job.ended_ns = ended.value_or(0);
  if (const auto progress = json.find("progress"); progress != json.end()) {
    TRY_ASSIGN(job.done, json_get_or<uint64_t>(*progress, "done", 0));
    TRY_ASSIGN(job.total, json_get_or<uint64_t>(*progress, "total", 0));
  }
  TRY_ASSIGN(job.starts, json_get_or<uint32_t>(json, "starts", 0));
  TRY_ASSIGN(job.error, error_of(json));
  if (const auto parameters = json.find("parameters"); parameters != json.end()) job.parameters = dump_json(*parameters);
  if (const auto result = json.find("result"); result != json.end()) job.result = dump_json(*result);
  return job;
}

}  // namespace lookback::hub
