// lookback jobs

#include <unistd.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/json_text.hpp"
#include "cli/table.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/time.hpp"
#include "lookback/hub/job.hpp"

namespace lookback::cli {

namespace {

struct JobsOptions {
  HubSettings hub;
  std::string id;
  std::string kind, subject, state;
  std::string output = "table";
};

Colour colour_of(hub::JobState state) {
  switch (state) {
    case hub::JobState::completed:
      return Colour::green;
    case hub::JobState::failed:
      return Colour::red;
    case hub::JobState::cancelled:
      return Colour::yellow;
    default:
      return Colour::none;
  }
}

std::string time_text(int64_t time_ns) {
  return time_ns == 0 ? "-" : format_time_seconds(time_ns);
}

std::string progress_text(const hub::Job& job) {
  if (job.total == 0) return "-";
  return fmt::format("{} of {} ({} %)", format_size(job.done), format_size(job.total),
                     static_cast<int>(100.0 * static_cast<double>(job.done) / static_cast<double>(job.total)));
}

std::string jobs_table(const std::vector<hub::Job>& jobs) {
  Table table({{"ID"}, {"Kind"}, {"Subject", false, 12}, {"State"}, {"Progress"}, {"Created"}, {"Ended"}, {"Error", false, 16}});
  for (const hub::Job& job : jobs) {
    table.add({{job.id, Colour::bold},
               job.kind,
               job.subject,
               {std::string(name_of(job.state)), colour_of(job.state)},
               progress_text(job),
               time_text(job.created_ns),
               time_text(job.ended_ns),
               job.error ? job.error->message : ""});
  }
  return table.render(TableStyle::of(STDOUT_FILENO));
}

std::string job_page(const hub::Job& job) {
  const auto fact = [](std::string_view name, std::string_view value) { return fact_line(name, value, 9); };
  std::string page = fact("Job", job.id) + fact("Kind", job.kind) + fact("Subject", job.subject) + fact("State", name_of(job.state)) +
                     fact("Progress", progress_text(job)) + fact("Created", time_text(job.created_ns)) +
                     fact("Started", time_text(job.started_ns)) + fact("Ended", time_text(job.ended_ns));
  if (job.starts > 1) page += fact("Starts", fmt::format("{}: the hub was restarted", job.starts));
  if (job.error) page += fact("Error", job.error->message);
  if (job.state == hub::JobState::completed && job.result != "null") page += fact("Result", job.result);
  return page;
}

std::string query_of(const JobsOptions& options) {
  std::string query;
  for (const auto& [key, value] : {std::pair("kind", options.kind), std::pair("subject", options.subject), std::pair("state", options.state)}) {
    if (!value.empty()) query += fmt::format("{}{}={}", query.empty() ? "?" : "&", key, http::url_encode(value));
  }
  return query;
}

Result<int> list(const JobsOptions& options) {
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const Json answer, hub.get("/api/v1/jobs" + query_of(options)));
  if (options.output == "json") {
    TRY(print(pretty(answer)));
    return kExitDone;
  }
  std::vector<hub::Job> jobs;
  for (const Json& json : list_of(answer, "jobs")) {
    TRY_ASSIGN(hub::Job job, hub::job_from_json(json));
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) {
    report_note("there are no such jobs");
    return kExitDone;
  }
  TRY(print(jobs_table(jobs)));
  return kExitDone;
}

std::string path_of(const JobsOptions& options) {
  return "/api/v1/jobs/" + http::url_encode(options.id);
}

Result<int> show(const JobsOptions& options) {
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const Json answer, hub.get(path_of(options)));
  if (options.output == "json") {
    TRY(print(pretty(answer)));
    return kExitDone;
  }
  TRY_ASSIGN(const hub::Job job, hub::job_from_json(answer));
  TRY(print(job_page(job)));
  return kExitDone;
}

Result<int> cancel(const JobsOptions& options) {
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY(hub.post_nothing(path_of(options) + "/cancel"));
  report_note(fmt::format("job {} ends", options.id));
  return kExitDone;
}

void add_list_options(Command& command, const std::shared_ptr<JobsOptions>& options) {
  command.text("--kind", "KIND", options->kind, "Only jobs of this kind, such as verify");
  command.text("--subject", "NAME", options->subject, "Only jobs about this, such as a snapshot's name");
  command.choice("--state", "pending|running|completed|failed|cancelled", options->state, "Only jobs in this state");
  command.choice("-o,--output", "table|json", options->output, "How to print; by default a table");
  add_hub_options(command, options->hub);
  command.action = [options] { return list(*options); };
}

Command list_command() {
  Command command("list", "list the jobs, the newest first");
  command.description = "The same as 'lookback jobs'. The hub remembers the last 256 jobs that ended. Times are UTC.";
  add_list_options(command, std::make_shared<JobsOptions>());
  command.examples = {{"lookback jobs list --state failed", "What did not work."}};
  return command;
}

Command show_command() {
  Command command("show", "show one job");
  auto options = std::make_shared<JobsOptions>();
  command.description = "Shows the state of a job, its progress, and its result or its error. Times are UTC.";
  command.argument("JOB", options->id, "The job's id");
  command.choice("-o,--output", "table|json", options->output, "How to print; by default for people");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback jobs show 0123456789abcdef -o json | jq .state", "Its state, for scripts."}};
  command.action = [options] { return show(*options); };
  return command;
}

Command cancel_command() {
  Command command("cancel", "cancel a job");
  auto options = std::make_shared<JobsOptions>();
  command.description = "A job that waits ends at once. A job that runs ends as soon as it can.";
  command.argument("JOB", options->id, "The job's id");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback jobs cancel 0123456789abcdef", "Ends it."}};
  command.action = [options] { return cancel(*options); };
  return command;
}

}  // namespace

Command jobs_command() {
  Command command("jobs", "list, show and cancel long work of the hub");
  command.description =
      "Work that takes long runs on the hub as a job: it goes on when the command that started it ends. Without a command below, the "
      "jobs are listed, the newest first. The making of a snapshot is not a job: see lookback snapshot. Times are UTC.";
  add_list_options(command, std::make_shared<JobsOptions>());
  command.subcommands.push_back(list_command());
  command.subcommands.push_back(show_command());
  command.subcommands.push_back(cancel_command());
  command.examples = {{"lookback jobs", "A table of the jobs."},
                      {"lookback jobs --kind verify --state running", "Which snapshots are being verified."}};
  return command;
}

}  // namespace lookback::cli
