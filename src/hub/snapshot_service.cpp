#include "snapshot_service.hpp"

#include <algorithm>

#include "json_text.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/names.hpp"
#include "parallel.hpp"

namespace lookback::hub {

namespace {

/// Members in memory at a time, over all snapshots.
constexpr unsigned kTransferSlots = 8, kKeptSlots = 3;
constexpr size_t kMostJobs = 32;
/// A page of a list has a little more than this at most: one object more.
constexpr size_t kMostPageNodes = 10'000;
constexpr uint64_t kMaxJobFile = 1ULL << 30;

bool is_over(const SnapshotJob& job) {
  const auto state = job.state();
  return !job.running() &&
         (state == SnapshotJob::State::completed || state == SnapshotJob::State::cancelled);
}

}  // namespace

SnapshotService::SnapshotService(HubPaths paths, std::string hub_id, NodeAccess access,
                                 const Clock& clock, NodeRegistry& nodes, Library& library,
                                 DiskBudget& budget, EventFeed& events, HubCounters& counters)
    : paths_(paths),
      nodes_(nodes),
      library_(library),
      events_(events),
      slots_(kTransferSlots, kKeptSlots),
      env_{
          std::move(paths),
          std::move(hub_id),
          std::move(access),
          clock,
          nodes,
          budget,
          slots_,
          counters,
          [this](const std::string& name, int64_t finished_ns) { library_.add(name, finished_ns); },
          [this](const SnapshotJob& job) { on_changed(job); }} {}

SnapshotService::~SnapshotService() {
  suspend();
  wait();
}

// --- from the last run


void SnapshotService::resume() {
  std::vector<std::shared_ptr<SnapshotJob>> leftovers;
  std::vector<std::string> folders;
  std::error_code ec;
  for (auto it = std::filesystem::directory_iterator(paths_.jobs(), ec);
       !ec && it != std::filesystem::directory_iterator(); it.increment(ec))
    folders.push_back(it->path().filename().string());
  for (const std::string& folder : folders) resume_one(folder, leftovers);
  if (leftovers.empty()) return;
  // Nodes that are gone may keep this waiting; nothing depends on it.
  auto thread = try_thread([leftovers] {
    for (const auto& job : leftovers) job->forget_freezes();
  });
  if (thread) janitor_ = std::move(*thread);
}

void SnapshotService::resume_one(const std::string& folder,
                                 std::vector<std::shared_ptr<SnapshotJob>>& leftovers) {
  std::error_code ec;
  const auto text = read_file(paths_.job_file(folder), kMaxJobFile);
  if (!check_snapshot_name(folder) || (!text && text.error().kind == ErrorKind::not_found)) {
    // An import, or a snapshot that was killed before it began.
    std::filesystem::remove_all(paths_.job(folder), ec);
    return;
  }
  auto record = text ? SnapshotRecord::from_json(*text)
                     : Result<SnapshotRecord>(tl::make_unexpected(text.error()));
  if (record && record->name != folder)
    record = fail(ErrorKind::corrupt, "it is of snapshot {}", record->name);
  if (!record) {
    SnapshotRecord damaged;
    damaged.name = folder;
    damaged.state = SnapshotJob::State::failed;
    damaged.reason = fmt::format("{} cannot be read: {}", paths_.job_file(folder).string(),
                                 record.error().message);
    log_error("snapshot {}: {}", folder, damaged.reason);
    record = std::move(damaged);
  }
  const auto published = library_.find(folder);
  if (published && published->id != record->id && record->state == SnapshotJob::State::in_progress) {
    record->state = SnapshotJob::State::failed;
    record->reason = "another archive has taken its name";
  }
  auto job = std::make_shared<SnapshotJob>(env_, std::move(*record));
  const bool leftover =
      job->state() == SnapshotJob::State::pending || (published && published->id == job->id());
  if (leftover) {
    leftovers.push_back(job);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    jobs_.emplace(folder, job);
  }
  if (job->state() != SnapshotJob::State::in_progress) return;
  log_info("going on with snapshot {}", folder);
  if (const auto started = job->start(); !started) log_error("{}", started.error().message);
}

// --- making


Result<> SnapshotService::check_free(const std::string& name) const {
  if (stopping_) return fail(ErrorKind::cancelled, "the hub is stopping");
  if (jobs_.contains(name) || library_.contains(name) || claims_.contains(name))
    return fail(ErrorKind::conflict,
                "there is a snapshot {} already; delete it first, or choose another name", name);
  return {};
}

Result<archive::Snapshot> SnapshotService::create(const SnapshotOrder& order, int64_t now_ns) {
  SnapshotRecord record;
  TRY_ASSIGN(record.name, expand_snapshot_name(order.name, now_ns));
  TRY_ASSIGN(record.window, order.window(now_ns));
  TRY_ASSIGN(const std::vector<NodeInfo> selected, order.select(nodes_.nodes()));
  record.id = random_hex(16);
  record.created_ns = now_ns;
  record.deadline_ns = order.deadline_ns;
  record.networks = order.networks;
  record.tags = order.tags;
  for (const NodeInfo& node : selected) {
    NodeRecord one;
    one.entry.name = node.name;
    one.entry.version = node.version;
    one.place = node.place;
    record.nodes.push_back(std::move(one));
  }
  auto job = std::make_shared<SnapshotJob>(env_, std::move(record));
  {
    const std::lock_guard lock(mutex_);
    TRY(check_free(job->name()));
    const auto busy = std::count_if(jobs_.begin(), jobs_.end(), [](const auto& one) {
      const auto state = one.second->state();
      return state == SnapshotJob::State::pending || state == SnapshotJob::State::in_progress;
    });
    if (static_cast<size_t>(busy) >= kMostJobs)
      return fail(ErrorKind::conflict,
                  "{} snapshots are being made already; wait for one, or cancel one", busy);
    jobs_.emplace(job->name(), job);
  }
  auto ready = job->prepare();
  if (ready) {
    ready = job->start();
    if (!ready) {
      job->forget_freezes();
      if (const auto left = job->unreleased(); !left.empty()) ready.error().message += "; " + unreleased_text(left);
    }
  }
  if (!ready) {
    forget(job);
    return tl::make_unexpected(ready.error());
  }
  log_info("snapshot {} is being made of {} nodes", job->name(), selected.size());
  return job->snapshot();
}

void SnapshotService::forget(const std::shared_ptr<SnapshotJob>& job) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = jobs_.find(job->name());
    if (it != jobs_.end() && it->second == job) jobs_.erase(it);
    changed_.notify_all();
  }
  const std::lock_guard lock(told_mutex_);
  told_.erase(job->id());
}

std::shared_ptr<SnapshotJob> SnapshotService::find_job(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = jobs_.find(name);
  return it == jobs_.end() ? nullptr : it->second;
}

std::vector<std::string> SnapshotService::live_freezes() const {
  std::vector<std::string> ids;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, job] : jobs_) {
    const auto state = job->state();
    if (state == SnapshotJob::State::pending || state == SnapshotJob::State::in_progress)
      ids.push_back(job->id());
  }
  return ids;
}

Result<std::vector<Unreleased>> SnapshotService::cancel(const std::string& name) {
  const auto job = find_job(name);
  if (!job) {
    if (library_.contains(name))
      return fail(ErrorKind::conflict, "snapshot {} has ended already; delete it instead", name);
    return fail(ErrorKind::not_found, "there is no snapshot {}", name);
  }
  TRY(job->cancel());
  job->wait();
  // One that was still freezing is forgotten by whoever ordered it.
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto it = jobs_.find(name);
    if (it == jobs_.end() || it->second != job) break;
    if (is_over(*job)) {
      jobs_.erase(it);
      break;
    }
    // It had got too far to be stopped, and is published or failed now.
    if (!job->running() && job->state() == SnapshotJob::State::failed) break;
    changed_.wait_for(lock, std::chrono::milliseconds(20));
  }
  lock.unlock();
  if (library_.contains(name))
    return fail(ErrorKind::conflict, "snapshot {} was completed meanwhile; delete it instead",
                name);
  announce("cancelled", name, "gone");
  return job->unreleased();
}

Result<std::vector<Unreleased>> SnapshotService::remove(const std::string& name) {
  const auto job = find_job(name);
  if (job) {
    const auto state = job->state();
    if (state == SnapshotJob::State::pending || state == SnapshotJob::State::in_progress)
      return fail(ErrorKind::conflict, "snapshot {} is being made: cancel it first", name);
    job->wait();
    forget(job);
    if (state == SnapshotJob::State::failed) {
      std::error_code ec;
      std::filesystem::remove_all(paths_.job(name), ec);
      if (ec)
        return fail(ErrorKind::failed, "cannot remove {}: {}", paths_.job(name).string(),
                    ec.message());
      announce("deleted", name, "gone");
      return job->unreleased();
    }
  }
  TRY(library_.remove(name));
  log_info("snapshot {} was deleted", name);
  announce("deleted", name, "gone");
  return std::vector<Unreleased>();
}

Result<SnapshotService::NameClaim> SnapshotService::claim(const std::string& name) {
  TRY(check_snapshot_name(name));
  const std::lock_guard lock(mutex_);
  TRY(check_free(name));
  claims_.insert(name);
  return NameClaim(*this, name);
}

void SnapshotService::give_back(const std::string& name) {
  const std::lock_guard lock(mutex_);
  claims_.erase(name);
}

// --- looking


Result<archive::Snapshot> SnapshotService::show(const std::string& name) const {
  const auto job = find_job(name);
  if (job && job->state() != SnapshotJob::State::completed &&
      job->state() != SnapshotJob::State::cancelled)
    return job->snapshot();
  return library_.full(name);
}

SnapshotService::Page SnapshotService::list(const std::string& after, size_t limit) const {
  // Jobs first: one that is published in between shows up twice rather than not at all, and the
  // second time is left out.
  std::map<std::string, std::shared_ptr<SnapshotJob>> names;  // nullptr: the library's
  {
    const std::lock_guard lock(mutex_);
    for (auto it = jobs_.upper_bound(after); it != jobs_.end(); ++it) {
      const auto state = it->second->state();
      if (state != SnapshotJob::State::completed && state != SnapshotJob::State::cancelled)
        names.emplace(it->first, it->second);
    }
  }
  for (const auto& entry : library_.entries()) {
    if (entry->name > after) names.emplace(entry->name, nullptr);
  }
  Page page;
  size_t nodes = 0;
  for (const auto& [name, job] : names) {
    if (page.snapshots.size() >= limit || nodes > kMostPageNodes) break;
    page.next = name;
    auto snapshot = job ? Result<archive::Snapshot>(job->snapshot()) : library_.brief(name);
    if (!snapshot) continue;  // gone meanwhile
    nodes += snapshot->nodes.size();
    page.snapshots.push_back(std::move(*snapshot));
  }
  if (names.empty() || page.next == names.rbegin()->first) page.next.reset();
  return page;
}

std::map<std::string, size_t> SnapshotService::counts() const {
  std::map<std::string, size_t> counts{{"in_progress", 0}, {"completed", 0}, {"failed", 0}};
  for (const auto& entry : library_.entries()) ++counts[entry->damaged ? "failed" : "completed"];
  const std::lock_guard lock(mutex_);
  for (const auto& [name, job] : jobs_) {
    const auto state = job->state();
    if (state == SnapshotJob::State::failed) ++counts["failed"];
    if (state == SnapshotJob::State::pending || state == SnapshotJob::State::in_progress)
      ++counts["in_progress"];
  }
  return counts;
}

void SnapshotService::on_changed(const SnapshotJob& job) {
  const auto state = job.state();
  const int64_t now = env_.clock.monotonic_ns();
  bool is_new_state = false;
  {
    const std::lock_guard lock(told_mutex_);
    const auto [it, is_new] = told_.try_emplace(job.id(), Told{state, now});
    is_new_state = is_new || it->second.state != state;
    if (!is_new_state && now - it->second.at_ns < kProgressInterval) return;
    it->second = {state, now};
  }
  events_.publish(is_new_state ? "snapshot" : "progress",
                  dump_json(archive::snapshot_facts_to_json(job.snapshot())));
}

void SnapshotService::announce(const std::string& type, const std::string& name,
                               const std::string& state) {
  std::string text = to_text({{"name", name}, {"state", state}});
  text.pop_back();
  events_.publish(type, std::move(text));
}

// --- ending


void SnapshotService::reap() {
  std::vector<std::shared_ptr<SnapshotJob>> over;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, job] : jobs_) {
      if (is_over(*job)) over.push_back(job);
    }
  }
  for (const auto& job : over) {
    job->wait();
    forget(job);
  }
}

void SnapshotService::suspend() {
  std::vector<std::shared_ptr<SnapshotJob>> jobs;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [name, job] : jobs_) jobs.push_back(job);
    changed_.notify_all();
  }
  for (const auto& job : jobs) job->suspend();
}

void SnapshotService::wait() {
  std::vector<std::shared_ptr<SnapshotJob>> jobs;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, job] : jobs_) jobs.push_back(job);
  }
  for (const auto& job : jobs) job->wait();
  if (janitor_.joinable()) janitor_.join();
}

}  // namespace lookback::hub
