#include "jobs.hpp"

#include <algorithm>
#include <tuple>

#include "lookback/base/file.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/thread.hpp"
#include "lookback/base/time.hpp"

namespace lookback::hub {

namespace {

constexpr std::string_view kRecordSuffix = ".json";
constexpr uint64_t kMaxRecord = 1 << 20;

}  // namespace

Jobs::Jobs(std::filesystem::path folder, std::vector<JobKind> kinds, const Clock& clock, EventFeed& events)
    : folder_(std::move(folder)), kinds_(std::move(kinds)), clock_(clock), events_(events), queues_(kinds_.size()) {}

Jobs::~Jobs() {
  stop();
}

std::filesystem::path Jobs::record_of(const Job& job) const {
  return folder_ / (job.id + std::string(kRecordSuffix));
}

Result<> Jobs::open() {
  TRY(make_directories(folder_));
  std::vector<std::filesystem::path> records;
  std::error_code ec;
  for (const auto& file : std::filesystem::directory_iterator(folder_, ec)) {
    if (file.path().extension() == kRecordSuffix) records.push_back(file.path());
  }
  if (ec) return fail(ErrorKind::failed, "cannot read {}: {}", folder_.string(), ec.message());
  for (const auto& path : records) {
    if (const auto read = read_record(path); !read) log_warning("the record of a job is left aside: {}: {}", path.string(), read.error().message);
  }
  std::vector<std::shared_ptr<Entry>> entries, settled;
  Paths forgotten;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) entries.push_back(entry);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a->job.created_ns < b->job.created_ns; });
    const auto give_up = [&](const std::shared_ptr<Entry>& entry, Error error) {
      entry->job.error = std::move(error);
      const Paths more = settle(*entry, JobState::failed);
      forgotten.insert(forgotten.end(), more.begin(), more.end());
      settled.push_back(entry);
    };
    for (const auto& entry : entries) {
      if (is_over(entry->job.state)) {
        ended_.push_back(entry->job.id);
      } else if (entry->job.starts >= kMostStarts) {
        give_up(entry, {ErrorKind::failed, fmt::format("the hub ended {} times while this ran", entry->job.starts)});
      } else if (const auto queued = enqueue(entry); !queued) {
        give_up(entry, queued.error());
      }
    }
    const Paths more = forget_oldest();
    forgotten.insert(forgotten.end(), more.begin(), more.end());
  }
  for (const auto& entry : settled) keep_end(*entry, {});
  for (const auto& path : forgotten) std::filesystem::remove(path, ec);
  return {};
}

Result<> Jobs::read_record(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, read_file(path, kMaxRecord));
  TRY_ASSIGN(const Json json, parse_json(text, "the record"));
  auto entry = std::make_shared<Entry>();
  TRY_ASSIGN(entry->job, job_from_json(json));
  if (record_of(entry->job) != path) return fail(ErrorKind::corrupt, "it is that of job {}", entry->job.id);
  const auto kind = std::find_if(kinds_.begin(), kinds_.end(), [&](const JobKind& one) { return one.name == entry->job.kind; });
  if (kind == kinds_.end()) return fail(ErrorKind::corrupt, "this hub does not know work of the kind '{}'", entry->job.kind);
  entry->kind = static_cast<size_t>(kind - kinds_.begin());
  const std::lock_guard lock(mutex_);
  entries_.emplace(entry->job.id, std::move(entry));
  return {};
}

Result<Job> Jobs::start(const std::string& kind, const std::string& subject, const std::string& parameters) {
  const auto row = std::find_if(kinds_.begin(), kinds_.end(), [&](const JobKind& one) { return one.name == kind; });
  LOOKBACK_CHECK(row != kinds_.end());
  auto entry = std::make_shared<Entry>();
  entry->kind = static_cast<size_t>(row - kinds_.begin());
  entry->job.id = random_hex(8);
  entry->job.kind = kind;
  entry->job.subject = subject;
  entry->job.parameters = parameters;
  entry->job.created_ns = clock_.realtime_ns();
  Queue& queue = queues_[entry->kind];
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return fail(ErrorKind::cancelled, "the hub is stopping");
    // Those that are about to be begun wait no longer.
    const size_t ahead = queue.starting + queue.waiting.size() + queue.running;
    if (ahead >= row->most_waiting + row->at_a_time)
      return fail(ErrorKind::conflict, "{} jobs of the kind '{}' run or wait already: try again later", ahead, kind);
    ++queue.starting;
  }
  const auto kept = keep(*entry);
  Result<> queued;
  {
    const std::lock_guard lock(mutex_);
    --queue.starting;
    TRY(kept);
    queued = stopping_ ? Result<>(fail(ErrorKind::cancelled, "the hub is stopping")) : enqueue(entry);
    if (queued) {
      entries_.emplace(entry->job.id, entry);
      publish(*entry, "job");
      return entry->job;
    }
  }
  // Whoever asked is told that it failed: it must not begin with the next hub.
  std::error_code ec;
  std::filesystem::remove(record_of(entry->job), ec);
  return tl::make_unexpected(queued.error());
}

Result<> Jobs::enqueue(const std::shared_ptr<Entry>& entry) {
  Queue& queue = queues_[entry->kind];
  entry->job.state = JobState::pending;
  if (queue.idle <= queue.waiting.size() && queue.threads.size() < kinds_[entry->kind].at_a_time) {
    auto thread = try_thread([this, kind = entry->kind] { loop(kind); });
    if (thread) {
      queue.threads.push_back(std::move(*thread));
    } else if (queue.threads.empty()) {
      return fail(ErrorKind::failed, "the system has no thread for a job of the kind '{}': try again later", entry->job.kind);
    }
  }
  queue.waiting.push_back(entry);
  work_.notify_all();
  return {};
}

Result<> Jobs::keep(const Entry& entry) {
  if (!kinds_[entry.kind].is_kept) return {};
  // Whoever writes last writes the newest state.
  const std::lock_guard writing(records_mutex_);
  Job job;
  {
    const std::lock_guard lock(mutex_);
    job = entry.job;
    // One that still runs does not begin again where the hub is killed now.
    if (entry.is_cancelled_by_user && !is_over(job.state)) job.state = JobState::cancelled;
  }
  return write_file_atomically(record_of(job), dump_json(job_to_json(job)) + "\n");
}

Jobs::Paths Jobs::settle(Entry& entry, JobState state) {
  entry.job.state = state;
  entry.job.ended_ns = clock_.realtime_ns();
  publish(entry, "job");
  ended_.push_back(entry.job.id);
  return forget_oldest();
}

Jobs::Paths Jobs::forget_oldest() {
  Paths records;
  for (; ended_.size() > kMostEnded; ended_.pop_front()) {
    const auto oldest = entries_.find(ended_.front());
    records.push_back(record_of(oldest->second->job));
    entries_.erase(oldest);
  }
  return records;
}

void Jobs::keep_end(const Entry& entry, const Paths& forgotten) {
  if (const auto kept = keep(entry); !kept) log_warning("the end of job {} is not kept: {}", entry.job.id, kept.error().message);
  std::error_code ec;
  for (const auto& path : forgotten) std::filesystem::remove(path, ec);  // one that was not kept has none
}

void Jobs::publish(const Entry& entry, const char* type) const {
  Json facts = job_to_json(entry.job);
  for (const char* key : {"parameters", "result"}) facts.erase(key);
  events_.publish(type, dump_json(facts));
}

Result<Job> Jobs::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(id);
  if (it == entries_.end()) return fail(ErrorKind::not_found, "there is no job {}", id);
  return it->second->job;
}

std::vector<Job> Jobs::list() const {
  std::vector<Job> jobs;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) jobs.push_back(entry->job);
  }
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return std::tie(b.created_ns, b.id) < std::tie(a.created_ns, a.id); });
  return jobs;
}

Result<> Jobs::cancel(const std::string& id) {
  std::shared_ptr<Entry> entry;
  Paths forgotten;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return fail(ErrorKind::not_found, "there is no job {}", id);
    entry = it->second;
    if (is_over(entry->job.state)) return fail(ErrorKind::conflict, "job {} is {} already", id, name_of(entry->job.state));
    entry->is_cancelled_by_user = true;
    entry->cancelled = true;
    if (entry->job.state == JobState::pending) {
      auto& waiting = queues_[entry->kind].waiting;
      waiting.erase(std::remove(waiting.begin(), waiting.end(), entry), waiting.end());
      forgotten = settle(*entry, JobState::cancelled);
    }
  }
  keep_end(*entry, forgotten);
  return {};
}

void Jobs::loop(size_t kind) {
  std::unique_lock lock(mutex_);
  Queue& queue = queues_[kind];
  for (;;) {
    ++queue.idle;
    work_.wait(lock, [&] { return stopping_ || !queue.waiting.empty(); });
    --queue.idle;
    if (stopping_) return;
    const auto entry = queue.waiting.front();
    queue.waiting.pop_front();
    entry->job.state = JobState::running;
    entry->job.started_ns = clock_.realtime_ns();
    ++entry->job.starts;
    publish(*entry, "job");
    ++queue.running;
    lock.unlock();
    if (const auto kept = keep(*entry); !kept) log_warning("the start of job {} is not kept: {}", entry->job.id, kept.error().message);
    run(entry);
    lock.lock();
    --queue.running;
  }
}

void Jobs::run(const std::shared_ptr<Entry>& entry) {
  const JobControl control(entry->cancelled, [&](uint64_t done, uint64_t total) { note_progress(*entry, done, total); });
  Result<std::string> result;
  try {
    result = kinds_[entry->kind].run(entry->job, control);
  } catch (const std::exception& e) {
    result = fail(ErrorKind::failed, "it threw: {}", e.what());
  }
  Paths forgotten;
  {
    const std::lock_guard lock(mutex_);
    Job& job = entry->job;
    if (result) {
      job.result = std::move(*result);
      forgotten = settle(*entry, JobState::completed);
    } else if (entry->is_cancelled_by_user) {
      forgotten = settle(*entry, JobState::cancelled);
    } else if (stopping_) {  // the next hub begins again what is kept
      job.state = JobState::pending;
      --job.starts;
    } else {
      job.error = result.error();
      log_warning("job {} ({} {}) failed: {}", job.id, job.kind, job.subject, job.error->message);
      forgotten = settle(*entry, JobState::failed);
    }
  }
  keep_end(*entry, forgotten);
}

void Jobs::note_progress(Entry& entry, uint64_t done, uint64_t total) {
  const std::lock_guard lock(mutex_);
  entry.job.done = done;
  entry.job.total = total;
  const int64_t now_ns = clock_.monotonic_ns();
  if (now_ns - entry.told_ns < kProgressInterval) return;
  entry.told_ns = now_ns;
  publish(entry, "job-progress");
}

void Jobs::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [id, entry] : entries_) entry->cancelled = true;
    work_.notify_all();
  }
  for (Queue& queue : queues_) {
    for (std::thread& thread : queue.threads) thread.join();
    queue.threads.clear();
  }
}

}  // namespace lookback::hub
