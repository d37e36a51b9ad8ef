// lookback snapshot verify

#include <memory>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/snapshot_view.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/size.hpp"
#include "lookback/exporter/member_bounds.hpp"
#include "lookback/hub/job.hpp"

namespace lookback::cli {

namespace {

struct SnapshotVerifyOptions {
  HubSettings hub;
  std::string snapshot;
  std::string output = "table";
};

Result<int> show(const SnapshotVerifyOptions& options, const Json& report) {
  if (options.output == "json") {
    TRY(print(pretty(report)));
    return kExitDone;
  }
  TRY(print_line(fmt::format("{}: every byte is as the manifest says: {}, {} of content in {}",
                        options.snapshot,
                        counted(static_cast<uint64_t>(number_of(report, "members")), "member"),
                        format_size(static_cast<uint64_t>(number_of(report, "content_bytes"))),
                        format_size(static_cast<uint64_t>(number_of(report, "file_bytes"))))));
  return kExitDone;
}

Result<int> verify_file(const SnapshotVerifyOptions& options) {
  const Interrupt interrupt;
  Progress progress;
  const auto report = archive::verify_archive(
      options.snapshot, [&](uint64_t done, uint64_t total) { progress.update(done, total); },
      &interrupt.flag(), exporter::bounds_visitor());
  progress.clear();
  if (!report) {
    if (interrupt.requested()) return interrupt.exit_status();
    return tl::make_unexpected(report.error());
  }
  return show(options, {{"members", report->members},
                        {"content_bytes", report->content_bytes},
                        {"file_bytes", report->file_bytes}});
}

Result<int> outcome(const SnapshotVerifyOptions& options, const hub::Job& job) {
  if (job.state == hub::JobState::cancelled)
    return fail(ErrorKind::cancelled, "job {}, which verified snapshot {}, was cancelled", job.id, options.snapshot);
  if (job.error)
    return fail(job.error->kind, "snapshot {} is damaged or cannot be read: {}", options.snapshot, job.error->message);
  TRY_ASSIGN(const Json result, parse_json(job.result, "the job's result"));
  return show(options, result);
}

Result<int> verify_on_hub(const SnapshotVerifyOptions& options) {
  TRY_ASSIGN(const std::string path, snapshot_path(options.snapshot, "/verify"));
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub));
  TRY_ASSIGN(const Json started, hub.post(path, Json::object()));
  TRY_ASSIGN(hub::Job job, hub::job_from_json(started));
  const std::string job_path = "/api/v1/jobs/" + http::url_encode(job.id);

  const Interrupt interrupt;
  Progress progress;
  for (int pause_ms = 20;; pause_ms = std::min(pause_ms * 2, 250)) {
    TRY_ASSIGN(const Json answer, hub.get(job_path));
    TRY_ASSIGN(job, hub::job_from_json(answer));
    if (is_over(job.state)) {
      progress.clear();
      return outcome(options, job);
    }
    progress.update(job.done, job.total, job.state == hub::JobState::pending ? "waits for other jobs" : "");
    if (!interrupt.sleep_ms(pause_ms)) {
      progress.clear();
      report_note(fmt::format("detached; the hub goes on verifying {}: see lookback jobs show {}", options.snapshot, job.id));
      return interrupt.exit_status();
    }
  }
}

}  // namespace

Command snapshot_verify_command() {
  Command command("verify", "hold every byte of a snapshot against its manifest");
  auto options = std::make_shared<SnapshotVerifyOptions>();
  command.description =
      "Reads the whole archive: frames, headers, padding, and every member against its SHA-256. "
      "Where something is wrong the first "
      "bad member is named, and the exit status is 1. A snapshot's name is verified by the hub, on "
      "the hub; an archive file (an "
      "argument with a '/' in it, or that ends in .zst and exists) here, without any hub.";
  command.argument("SNAPSHOT|FILE", options->snapshot, "A snapshot's name, or an archive file");
  command.choice("-o,--output", "table|json", options->output,
                 "How to print the outcome; by default a line for people");
  add_hub_options(command, options->hub);
  command.examples = {{"lookback snapshot verify incident-1", "Verifies the hub's archive."},
                      {"lookback snapshot verify ./incident-1.tar.zst", "Verifies a file."}};
  command.action = [options] {
    return means_file(options->snapshot) ? verify_file(*options) : verify_on_hub(*options);
  };
  return command;
}

}  // namespace lookback::cli
