#include "snapshot_job.hpp"

#include <algorithm>

#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/saturating.hpp"
#include "node_calls.hpp"
#include "parallel.hpp"
#include "snapshot_outcome.hpp"
#include "snapshot_view.hpp"

namespace lookback::hub {

using std::chrono::milliseconds;

namespace {

constexpr size_t kNodesAtATime = 8;
constexpr size_t kMembersAtATime = 4;  ///< of one node
constexpr milliseconds kSyncInterval{500};
constexpr int64_t kRenewInterval = 3600 * kNsPerSecond;

}  // namespace

SnapshotJob::SnapshotJob(JobEnvironment& environment, SnapshotRecord record)
    : env_(environment), name_(record.name), id_(record.id), freezes_(environment, name_, id_, *this), record_(std::move(record)) {
  state_ = record_.state;
  if (state_ == State::failed) {
    error_ = Error{ErrorKind::failed, record_.reason};
  } else if (state_ == State::in_progress) {
    for (const NodeRecord& node : record_.nodes)
      transfers_.push_back(std::make_unique<NodeTransfer>(node, id_, record_.deadline_ns));
  }
}

SnapshotJob::~SnapshotJob() {
  suspend();
  wait();
}

Result<> SnapshotJob::save() {
  return write_file_atomically(env_.paths.job_file(name_), record_.to_json(), 0600);
}

void SnapshotJob::set_state(State state) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  changed_.notify_all();
  env_.changed(*this);
}

SnapshotJob::State SnapshotJob::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool SnapshotJob::running() const {
  return running_;
}

uint64_t SnapshotJob::bytes_reserved() const {
  uint64_t compressed = 0;
  for (const NodeRecord& node : record_.nodes) saturate(compressed, node.compressed_bytes);
  return saturating_add(compressed, compressed / 10);
}

Result<> SnapshotJob::start() {
  running_ = true;
  auto thread = try_thread([this] {
    run();
    const std::lock_guard lock(mutex_);
    running_ = false;
    changed_.notify_all();
  });
  if (!thread) {
    running_ = false;
    return fail(ErrorKind::failed, "the system gives no thread for snapshot {}", name_);
  }
  const std::lock_guard lock(mutex_);
  thread_ = std::move(*thread);
  return {};
}

void SnapshotJob::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !running_; });
  if (thread_.joinable()) {
    std::thread thread = std::move(thread_);
    lock.unlock();
    thread.join();
  }
}

void SnapshotJob::suspend() {
  suspended_ = true;
  end_with({ErrorKind::cancelled, "the hub is stopping"});
}

Result<> SnapshotJob::cancel() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::completed || state_ == State::failed || state_ == State::cancelled ||
        committing_)
      return fail(ErrorKind::conflict, "snapshot {} has ended already; delete it instead", name_);
    cancelled_ = true;
  }
  end_with({ErrorKind::cancelled, "cancelled"});
  return {};
}

void SnapshotJob::end_with(const Error& error) {
  std::shared_ptr<MemberStore> store;
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
    ended_ = true;
    store = store_;
  }
  changed_.notify_all();
  if (!store) return;
  store->abandon(error);
  store->wake();
}

void SnapshotJob::close_store() {
  const std::lock_guard lock(mutex_);
  store_.reset();
}

void SnapshotJob::pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [&] { return ended_.load(); });
}

NodePlace SnapshotJob::place_of(const NodeRecord& node) const {
  const auto known = env_.nodes.find(node.entry.name);
  return known ? known->place : node.place;
}

std::vector<Unreleased> SnapshotJob::unreleased() const {
  const std::lock_guard lock(mutex_);
  return unreleased_;
}

Result<> SnapshotJob::store(const NodeRecord& node, uint32_t index,
                            const archive::MemberContent& member) {
  auto stored = store_->append(node, index, member);
  if (stored) {
    ++env_.counters.members_stored;
    env_.counters.member_bytes += member.compressed.size();
    return stored;
  }
  if (stored.error().kind != ErrorKind::corrupt) end_with(stored.error());
  return stored;
}

void SnapshotJob::note(const NodeRecord& node, uint32_t index, MemberOutcome outcome,
                       const std::string& reason) {
  if (outcome == MemberOutcome::dropped) ++env_.counters.members_dropped;
  const auto noted = store_->note({node.entry.name, index, outcome, reason, std::nullopt});
  if (!noted) end_with(noted.error());
}

Result<> SnapshotJob::prepare() {
  record_.state = State::pending;
  TRY(make_directories(env_.paths.job(name_), 0700));
  // Known before the first freeze is made, so that a hub killed in between releases what it made.
  if (auto saved = save(); !saved) {
    remove_files();
    return saved;
  }
  freezes_.freeze(record_, [this](size_t i, NodeRecord frozen) {
    {
      const std::lock_guard lock(mutex_);
      record_.nodes[i] = std::move(frozen);
    }
    env_.changed(*this);
  });
  const bool any = std::any_of(record_.nodes.begin(), record_.nodes.end(), [](const NodeRecord& node) { return node.frozen; });
  Result<> ready;
  if (ended_) {
    ready = fail(ErrorKind::cancelled, "snapshot {} was cancelled", name_);
  } else if (!any) {
    const NodeRecord& first = record_.nodes.front();
    ready = fail(ErrorKind::unavailable, "no node could freeze the window; {}: {}", first.entry.name, first.entry.reason);
  } else {
    ready = env_.budget.reserve(id_, bytes_reserved());
  }
  if (ready) {
    const std::lock_guard lock(mutex_);
    record_.state = State::in_progress;
    ready = save();
  }
  if (!ready) {
    release_freezes();
    remove_files();
    if (const auto left = unreleased(); !left.empty()) ready.error().message += "; " + unreleased_text(left);
    set_state(State::cancelled);
    return ready;
  }
  {
    const std::lock_guard lock(mutex_);
    for (const NodeRecord& node : record_.nodes) transfers_.push_back(std::make_unique<NodeTransfer>(node, id_, record_.deadline_ns));
  }
  set_state(State::in_progress);
  return {};
}

void SnapshotJob::run() {
  const auto transferred = transfer();
  if (transferred) {
    const auto published = publish();
    if (published) return;
    end_with(published.error());
  } else {
    end_with(transferred.error());
  }
  if (cancelled_) {
    close_store();
    release_freezes();
    remove_files();
    log_info("snapshot {} was cancelled", name_);
    return set_state(State::cancelled);
  }
  if (suspended_) return;  // the files stay as they are
  Error error;
  {
    const std::lock_guard lock(mutex_);
    error = *error_;
  }
  fail_with(error);
}

Result<> SnapshotJob::transfer() {
  std::vector<JournalLine> restored;
  {
    TRY_ASSIGN(auto opened, MemberStore::open(env_.paths.job(name_), record_.created_ns,
                                              env_.budget, id_, restored));
    const std::lock_guard lock(mutex_);
    store_ = std::move(opened);
    transfer_started_ns_ = env_.clock.monotonic_ns();
  }
  env_.budget.adopt(id_, bytes_reserved(), store_->bytes_written());
  for (const JournalLine& line : restored) {
    for (const auto& transfer : transfers_) {
      if (transfer->record().entry.name == line.node && !transfer->restore(line))
        log_warning("the journal of snapshot {} names a member {} of node {} that was not offered",
                    name_, line.index, line.node);
    }
  }
  std::vector<NodeTransfer*> queue;
  for (const auto& transfer : transfers_) {
    if (transfer->record().frozen && !transfer->totals().ended) queue.push_back(transfer.get());
  }
  // With few nodes several threads on each keep the node compressing while members travel and are decoded.
  const size_t nodes = queue.size();
  for (size_t n = 2; n <= kMembersAtATime && n * nodes <= kNodesAtATime; ++n) {
    for (size_t i = 0; i < nodes; ++i) queue.push_back(queue[i]);
  }
  std::atomic<size_t> next{0}, working{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(queue.size(), kNodesAtATime); ++i) {
    ++working;
    auto thread = try_thread([&] {
      for (size_t n = next++; n < queue.size() && !ended_; n = next++) {
        queue[n]->run(*this, env_.slots, env_.access);
        env_.changed(*this);
      }
      --working;
      store_->wake();
    });
    if (!thread) {
      --working;
      if (threads.empty())
        end_with({ErrorKind::failed, "the system gives no thread for the transfer"});
      break;
    }
    threads.push_back(std::move(*thread));
  }
  sync_until_done(working);
  for (std::thread& thread : threads) thread.join();
  if (!ended_) confirm_members();
  if (!cancelled_) {
    const auto synced = store_->sync();
    if (!synced) end_with(synced.error());
  }
  const std::lock_guard lock(mutex_);
  if (ended_) return tl::make_unexpected(*error_);
  return {};
}

void SnapshotJob::sync_until_done(const std::atomic<size_t>& working) {
  int64_t renewed_ns = env_.clock.monotonic_ns();
  std::thread renewer;
  while (working > 0) {
    store_->wait_for_work(kSyncInterval);
    if (ended_) continue;
    if (const auto synced = store_->sync(); !synced) end_with(synced.error());
    env_.changed(*this);
    if (env_.clock.monotonic_ns() - renewed_ns < kRenewInterval) continue;
    renewed_ns = env_.clock.monotonic_ns();
    if (renewer.joinable()) renewer.join();
    if (auto thread = try_thread([this] { renew_freezes(); })) renewer = std::move(*thread);
  }
  if (renewer.joinable()) renewer.join();
}

void SnapshotJob::renew_freezes() {
  std::vector<const NodeRecord*> nodes;
  for (const auto& transfer : transfers_) {
    if (transfer->record().frozen && !transfer->totals().ended) nodes.push_back(&transfer->record());
  }
  freezes_.renew(nodes);
}

void SnapshotJob::release_freezes() {
  auto left = freezes_.release(record_.nodes, suspended_);
  const std::lock_guard lock(mutex_);
  unreleased_ = std::move(left);
}

void SnapshotJob::forget_freezes() {
  release_freezes();
  remove_files();
}

void SnapshotJob::confirm_members() {
  {
    const std::lock_guard lock(mutex_);
    confirmed_.assign(record_.nodes.size(), std::nullopt);
  }
  for_each_parallel(record_.nodes.size(), kCallThreads, [&](size_t i) {
    const NodeRecord& node = record_.nodes[i];
    const TransferTotals totals = transfers_[i]->totals();
    // Where no member was read, nothing can have been found.
    if (!node.frozen || totals.members_done == totals.given_up + totals.dropped) return;
    auto answer = freezes_.ask_again(node, record_.deadline_ns, !totals.given_up_because);
    if (!answer)
      log_warning("node {} does not say what its members of snapshot {} lack: {}", node.entry.name, name_, answer.error().message);
    const std::lock_guard lock(mutex_);
    confirmed_[i] = std::move(answer);
  });
}

archive::NodeEntry SnapshotJob::final_entry(size_t i) const {
  const bool asked = i < confirmed_.size() && confirmed_[i].has_value();
  return entry_of(record_, {record_.nodes[i], *transfers_[i], asked ? &*confirmed_[i] : nullptr});
}

archive::Snapshot SnapshotJob::snapshot() const {
  const std::lock_guard lock(mutex_);
  SnapshotJobState job{record_, state_};
  if ((state_ == State::failed || state_ == State::cancelled) && error_) job.reason = error_->message;
  job.size_bytes = store_ ? store_->bytes_written() : size_bytes_;
  if (transfer_started_ns_ != 0) job.seconds = static_cast<double>(env_.clock.monotonic_ns() - transfer_started_ns_) / 1e9;
  for (size_t i = 0; i < transfers_.size(); ++i) {
    SnapshotJobState::Node node{transfers_[i]->totals(), std::nullopt};
    if (!record_.nodes[i].frozen || node.totals.ended || state_ == State::completed) node.outcome = final_entry(i);
    job.nodes.push_back(std::move(node));
  }
  return view_of(job);
}

Result<> SnapshotJob::publish() {
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ || suspended_) return tl::make_unexpected(*error_);
    committing_ = true;
  }
  std::vector<archive::NodeEntry> entries;
  for (size_t i = 0; i < record_.nodes.size(); ++i) entries.push_back(final_entry(i));
  archive::Manifest manifest = manifest_of(record_, std::move(entries));
  const bool complete = manifest.complete;
  auto committed = store_->commit(std::move(manifest), env_.paths.archive(name_));
  if (!committed) {
    const std::lock_guard lock(mutex_);
    committing_ = false;
    return tl::make_unexpected(committed.error());
  }
  const int64_t finished = env_.clock.realtime_ns();
  env_.publish(name_, finished);
  env_.budget.release(id_);
  ++env_.counters.snapshots_completed;
  {
    const std::lock_guard lock(mutex_);
    record_.finished_ns = finished;
    size_bytes_ = *committed;
  }
  log_info("snapshot {} is {}: {} bytes", name_,
           complete ? "complete" : "done, but does not cover its window wholly", *committed);
  set_state(State::completed);
  release_freezes();
  close_store();
  remove_files();
  return {};
}

void SnapshotJob::fail_with(const Error& error) {
  log_error("snapshot {} failed: {}", name_, error.message);
  ++env_.counters.snapshots_failed;
  close_store();
  // First the room, then the note about it: the disk may be full.
  std::error_code ec;
  std::filesystem::remove(env_.paths.partial(name_), ec);
  std::filesystem::remove(env_.paths.journal(name_), ec);
  env_.budget.release(id_);
  SnapshotRecord& record = record_;
  {
    const std::lock_guard lock(mutex_);
    record.state = State::failed;
    record.reason = error.message;
    record.finished_ns = env_.clock.realtime_ns();
  }
  if (const auto saved = save(); !saved) log_error("{}", saved.error().message);
  set_state(State::failed);
  release_freezes();
}

void SnapshotJob::remove_files() {
  env_.budget.release(id_);
  std::error_code ec;
  std::filesystem::remove_all(env_.paths.job(name_), ec);
  if (ec) log_warning("cannot remove {}: {}", env_.paths.job(name_).string(), ec.message());
}

}  // namespace lookback::hub
