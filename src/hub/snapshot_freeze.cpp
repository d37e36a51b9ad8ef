// The first part of a snapshot: freezing the window on all nodes at once.
#include <algorithm>
#include <thread>

#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "node_calls.hpp"
#include "parallel.hpp"
#include "snapshot_job.hpp"

namespace lookback::hub {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kFreezeThreads = 256;
constexpr int kTriesWhereRefused = 3;

/// What a node's whole storage can hold as pcapng, with ample room: the smallest packets take half
/// of that on its disk.
uint64_t most_content(uint64_t quota_bytes) {
  constexpr uint64_t kSlack = 1ULL << 30;
  const uint64_t whole = quota_bytes > UINT64_MAX / 4 ? UINT64_MAX / 4 : quota_bytes;
  return 2 * whole + kSlack;
}

}  // namespace

Result<> SnapshotJob::prepare() {
  record_.state = State::pending;
  TRY(make_directories(env_.paths.job(name_), 0700));
  // Known before the first freeze is made, so that a hub killed in between releases what it made.
  if (auto saved = save(); !saved) {
    remove_files();
    return saved;
  }
  freeze_all();
  const auto frozen = std::count_if(record_.nodes.begin(), record_.nodes.end(),
                                    [](const NodeRecord& node) { return node.frozen; });
  Result<> ready;
  if (ended_) {
    ready = fail(ErrorKind::cancelled, "snapshot {} was cancelled", name_);
  } else if (frozen == 0) {
    const NodeRecord& first = record_.nodes.front();
    ready = fail(ErrorKind::unavailable, "no node could freeze the window; {}: {}",
                 first.entry.name, first.entry.reason);
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
    for (const NodeRecord& node : record_.nodes)
      transfers_.push_back(std::make_unique<NodeTransfer>(node, id_, record_.deadline_ns));
  }
  set_state(State::in_progress);
  return {};
}

void SnapshotJob::freeze_all() {
  // A window may reach a little past now: what it still lacks has to happen first.
  const int64_t ahead_ns = record_.window.to_ns - env_.clock.realtime_ns();
  if (ahead_ns > 0)
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(ahead_ns, kNsPerSecond)));
  const std::string owner = fmt::format("snapshot {} of hub {}", name_, env_.hub_id);
  for_each_parallel(record_.nodes.size(), kFreezeThreads, [&](size_t i) {
    NodeRecord frozen = record_.nodes[i];
    const auto known = env_.nodes.find(frozen.entry.name);
    const int64_t clock_error_ns = known && known->clock ? known->clock->error_ns : 0;
    // In hub time: the node has its clock's history, and knows what it showed then.
    const FreezeOrder order{id_, owner, env_.hub_id, record_.window, record_.networks};
    freeze_node(frozen, !known || known->state == NodeState::lost, clock_error_ns, order);
    const uint64_t quota = known ? known->status.quota_bytes : 0;
    if (frozen.frozen && quota != 0 && frozen.content_bytes > most_content(quota)) {
      frozen.frozen = false;
      frozen.entry.reason =
          fmt::format("the node's freeze cannot be used: it announces {}, but its storage holds {}",
                      format_size(frozen.content_bytes), format_size(quota));
      log_warning("node {}: {}", frozen.entry.name, frozen.entry.reason);
    }
    if (!frozen.frozen) frozen.entry.status = "failed";
    {
      const std::lock_guard lock(mutex_);
      record_.nodes[i] = std::move(frozen);
    }
    env_.changed(*this);
  });
}

void SnapshotJob::freeze_node(NodeRecord& node, bool lost, int64_t clock_error_ns,
                              const FreezeOrder& order) {
  const auto give_up_at = steady_clock::now() + std::chrono::nanoseconds(record_.deadline_ns);
  milliseconds pause_time = kFirstPause;
  node.unasked = true;
  for (int refusals = 0;;) {
    node.place = place_of(node);
    auto client = NodeClient::create(env_.access, node.entry.name, node.place, record_.deadline_ns);
    const auto frozen = client ? client->freeze(order, node, ended_)
                               : Result<>(tl::make_unexpected(client.error()));
    if (client && !client->was_refused()) node.unasked = false;
    if (frozen) return;
    const Error& error = frozen.error();
    node.entry.reason = error.message;
    if (ended_) return;
    if (error.kind == ErrorKind::invalid && ++refusals < kTriesWhereRefused) {
      // The node's clock may be a little behind what was thought, so that the window's end is still
      // ahead there.
      pause(milliseconds(std::clamp<int64_t>(clock_error_ns / 1'000'000 + 50, 50, 2'000)));
      continue;
    }
    // Nobody listening, and a node not heard of for a minute, are not waited for.
    const bool hopeless =
        !may_pass(error.kind) || lost || (client && client->was_refused());
    if (hopeless || steady_clock::now() + pause_time > give_up_at) {
      log_warning("node {} did not freeze the window of snapshot {}: {}", node.entry.name, name_,
                  error.message);
      return;
    }
    pause(pause_time);
    pause_time = std::min(pause_time * 2, kLongestPause);
  }
}

void SnapshotJob::forget_freezes() {
  release_freezes();
  remove_files();
}

}  // namespace lookback::hub
