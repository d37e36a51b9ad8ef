#include "verify_jobs.hpp"

#include "lookback/archive/archive_file.hpp"
#include "lookback/archive/verify.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/exporter/member_bounds.hpp"
#include "parallel.hpp"

namespace lookback::hub {

Result<std::string> VerifyJobs::start(const std::string& snapshot,
                                      const std::filesystem::path& archive) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return fail(ErrorKind::cancelled, "the hub is stopping");
  if (waiting_.size() >= kMostWaiting)
    return fail(ErrorKind::conflict, "{} verifications wait already", waiting_.size());
  if (!thread_.joinable()) {
    auto thread = try_thread([this] { loop(); });
    if (!thread) return fail(ErrorKind::failed, "the system gives no thread for the verification");
    thread_ = std::move(*thread);
  }
  auto job = std::make_shared<Job>();
  job->id = random_hex(8);
  job->snapshot = snapshot;
  job->archive = archive;
  jobs_.emplace(job->id, job);
  waiting_.push_back(job);
  work_.notify_one();
  return job->id;
}

Result<Json> VerifyJobs::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) return fail(ErrorKind::not_found, "there is no job {}", id);
  const Job& job = *it->second;
  return Json{{"id", job.id},
              {"kind", "verify"},
              {"snapshot", job.snapshot},
              {"state", job.state},
              {"progress", {{"done", job.done}, {"total", job.total}}},
              {"error", job.error.empty() ? Json(nullptr) : Json(job.error)},
              {"result", job.result}};
}

void VerifyJobs::loop() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      job = waiting_.front();
      waiting_.pop_front();
    }
    run(job);
  }
}

void VerifyJobs::run(const std::shared_ptr<Job>& job) {
  const auto progress = [&](uint64_t done, uint64_t total) {
    const std::lock_guard lock(mutex_);
    job->done = done;
    job->total = total;
  };
  const auto file = archive::open_archive_file(job->archive, archive::Links::refuse);
  const auto report = file ? archive::verify_archive(job->archive, progress, &stopping_, exporter::bounds_visitor())
                           : Result<archive::VerifyReport>(tl::make_unexpected(file.error()));
  const std::lock_guard lock(mutex_);
  if (report) {
    job->state = "done";
    job->result = {{"members", report->members},
                   {"content_bytes", report->content_bytes},
                   {"file_bytes", report->file_bytes}};
  } else {
    job->state = "failed";
    job->error = report.error().message;
    if (!stopping_)
      log_warning("verification of snapshot {} failed: {}", job->snapshot, job->error);
  }
  finished_.push_back(job->id);
  if (finished_.size() > kKept) {
    jobs_.erase(finished_.front());
    finished_.pop_front();
  }
}

void VerifyJobs::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace lookback::hub
