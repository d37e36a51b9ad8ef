// Long work: started, listed, shown, cancelled.
#include "api.hpp"
#include "json_text.hpp"
#include "verify_job.hpp"

namespace lookback::hub {

namespace {

http::Response verify(http::Request& request, ApiContext& context) {
  if (const auto body = read_document(request); !body) return http::Response::problem(body.error());
  const std::string& name = request.parameters.at("name");
  if (!context.library.contains(name)) {
    const auto known = context.snapshots.show(name);
    if (!known) return http::Response::problem(known.error());
    return http::Response::problem({ErrorKind::conflict, fmt::format("snapshot {} is not finished", name)});
  }
  const auto job = context.jobs.start(kVerify, name);
  if (!job) return http::Response::problem(job.error());
  return http::Response::json(to_text(job_to_json(*job)), 202);
}

/// Those of a kind, a subject or a state; all without them.
http::Response list_jobs(http::Request& request, ApiContext& context) {
  const auto kind = request.query_value("kind"), subject = request.query_value("subject"), state = request.query_value("state");
  if (state && job_state(*state) == JobState::other)
    return http::Response::problem({ErrorKind::invalid, fmt::format("'{}' is not a state of a job", *state)});
  Json jobs = Json::array();
  for (const Job& job : context.jobs.list()) {
    if ((kind && job.kind != *kind) || (subject && job.subject != *subject) || (state && job.state != job_state(*state))) continue;
    jobs.push_back(job_to_json(job));
  }
  return http::Response::json(to_text({{"jobs", std::move(jobs)}}));
}

http::Response show_job(http::Request& request, ApiContext& context) {
  const auto job = context.jobs.find(request.parameters.at("id"));
  if (!job) return http::Response::problem(job.error());
  return http::Response::json(to_text(job_to_json(*job)));
}

http::Response cancel_job(http::Request& request, ApiContext& context) {
  if (const auto body = read_document(request); !body) return http::Response::problem(body.error());
  return answer(context.jobs.cancel(request.parameters.at("id")));
}

using http::Role, http::RunsOn;

const ApiRoute kJobRoutes[] = {
    // What is kept of a job is on the disk before the answer.
    {"POST", "/api/v1/snapshots/{name}/verify", Role::client, RunsOn::order, "Starts a job that holds an archive against its manifest.",
     verify, {.max_body_bytes = kMaxEmptyBytes}},
    {"GET", "/api/v1/jobs", Role::client, RunsOn::worker, "Lists the jobs, the newest first.", list_jobs},
    {"GET", "/api/v1/jobs/{id}", Role::client, RunsOn::worker, "Shows a job.", show_job},
    {"POST", "/api/v1/jobs/{id}/cancel", Role::client, RunsOn::order, "Cancels a job.", cancel_job, {.max_body_bytes = kMaxEmptyBytes}},
};

}  // namespace

ApiTable job_routes() {
  return kJobRoutes;
}

}  // namespace lookback::hub
