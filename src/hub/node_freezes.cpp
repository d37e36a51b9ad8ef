#include "node_freezes.hpp"

#include <algorithm>
#include <optional>
#include <thread>

#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "parallel.hpp"

namespace lookback::hub {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr size_t kFreezeThreads = 256;
constexpr int kTriesWhereRefused = 3;
constexpr int kReleaseTries = 3;
constexpr int64_t kReleasePatience = 3 * kNsPerSecond;

/// What a node's whole storage can hold as pcapng, with ample room: the smallest packets take half of that on its disk.
uint64_t most_content(uint64_t quota_bytes) {
  constexpr uint64_t kSlack = 1ULL << 30;
  const uint64_t whole = quota_bytes > UINT64_MAX / 4 ? UINT64_MAX / 4 : quota_bytes;
  return 2 * whole + kSlack;
}

}  // namespace

std::string unreleased_text(const std::vector<Unreleased>& nodes) {
  std::string names;
  for (const Unreleased& one : nodes) names += (names.empty() ? "" : ", ") + one.node;
  return fmt::format("{} could not be reached, and may keep the frozen window until the hub hears from it, or for a day at most", names);
}

void NodeFreezes::freeze(const SnapshotRecord& record, const std::function<void(size_t, NodeRecord)>& done) const {
  // A window may reach a little past now: what it still lacks has to happen first.
  const int64_t ahead_ns = record.window.to_ns - env_.clock.realtime_ns();
  if (ahead_ns > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(ahead_ns, kNsPerSecond)));
  const std::string owner = fmt::format("snapshot {} of hub {}", name_, env_.hub_id);
  for_each_parallel(record.nodes.size(), kFreezeThreads, [&](size_t i) {
    NodeRecord frozen = record.nodes[i];
    const auto known = env_.nodes.find(frozen.entry.name);
    const int64_t clock_error_ns = known && known->clock ? known->clock->error_ns : 0;
    // In hub time: the node has its clock's history, and knows what it showed then.
    const FreezeOrder order{id_, owner, env_.hub_id, record.window, record.networks};
    freeze_node(frozen, !known || known->state == NodeState::lost, clock_error_ns, order, record.deadline_ns);
    const uint64_t quota = known ? known->status.quota_bytes : 0;
    if (frozen.frozen && quota != 0 && frozen.content_bytes > most_content(quota)) {
      frozen.frozen = false;
      frozen.entry.reason = fmt::format("the node's freeze cannot be used: it announces {}, but its storage holds {}",
                                        format_size(frozen.content_bytes), format_size(quota));
      log_warning("node {}: {}", frozen.entry.name, frozen.entry.reason);
    }
    if (!frozen.frozen) frozen.entry.status = "failed";
    done(i, std::move(frozen));
  });
}

void NodeFreezes::freeze_node(NodeRecord& node, bool lost, int64_t clock_error_ns, const FreezeOrder& order, int64_t deadline_ns) const {
  const auto give_up_at = steady_clock::now() + std::chrono::nanoseconds(deadline_ns);
  milliseconds pause_time = kFirstPause;
  node.unasked = true;
  for (int refusals = 0;;) {
    node.place = context_.place_of(node);
    auto client = NodeClient::create(env_.access, node.entry.name, node.place, deadline_ns);
    const auto frozen = client ? client->freeze(order, node, context_.ended()) : Result<>(tl::make_unexpected(client.error()));
    if (client && !client->was_refused()) node.unasked = false;
    if (frozen) return;
    const Error& error = frozen.error();
    node.entry.reason = error.message;
    if (context_.ended()) return;
    if (error.kind == ErrorKind::invalid && ++refusals < kTriesWhereRefused) {
      // The node's clock may be a little behind what was thought, so that the window's end is still ahead there.
      context_.pause(milliseconds(std::clamp<int64_t>(clock_error_ns / kNsPerMs + 50, 50, 2'000)));
      continue;
    }
    // Nobody listening, and a node not heard of for a minute, are not waited for.
    const bool hopeless = !may_pass(error.kind) || lost || (client && client->was_refused());
    if (hopeless || steady_clock::now() + pause_time > give_up_at) {
      log_warning("node {} did not freeze the window of snapshot {}: {}", node.entry.name, name_, error.message);
      return;
    }
    context_.pause(pause_time);
    pause_time = std::min(pause_time * 2, kLongestPause);
  }
}

void NodeFreezes::renew(const std::vector<const NodeRecord*>& nodes) const {
  for_each_parallel(nodes.size(), kCallThreads, [&](size_t i) {
    if (context_.ended()) return;
    const NodeRecord& node = *nodes[i];
    auto client = NodeClient::create(env_.access, node.entry.name, context_.place_of(node), kReleasePatience);
    const auto renewed = client ? client->renew(id_) : Result<>(tl::make_unexpected(client.error()));
    // An hour later it is tried again; a freeze lives for a day.
    if (!renewed)
      log_warning("cannot renew the freeze of snapshot {} on node {}: {}", name_, node.entry.name, renewed.error().message);
  });
}

Result<NodeRecord> NodeFreezes::ask_again(const NodeRecord& node, int64_t deadline_ns, bool patient) const {
  const int64_t give_up_ns = env_.clock.monotonic_ns() + deadline_ns;
  for (milliseconds wait = kFirstPause;; wait = std::min(wait * 2, kLongestPause)) {
    NodeRecord answer = node;
    auto client = NodeClient::create(env_.access, node.entry.name, context_.place_of(node), deadline_ns);
    const auto asked = client ? client->describe(id_, answer, context_.ended()) : Result<>(tl::make_unexpected(client.error()));
    if (asked) return answer;
    // A node that is being started again is waited for like for a member.
    const bool again = patient && may_pass(asked.error().kind) && !context_.ended() && env_.clock.monotonic_ns() < give_up_ns;
    if (!again) return tl::make_unexpected(asked.error());
    context_.pause(wait);
  }
}

// What a node does not hear of here, it hears with its next heartbeat: the snapshot is not among the live ones any more.
std::vector<Unreleased> NodeFreezes::release(const std::vector<NodeRecord>& nodes, const std::atomic<bool>& hurry) const {
  std::vector<std::optional<Unreleased>> left(nodes.size());
  for_each_parallel(nodes.size(), kCallThreads, [&](size_t i) {
    const NodeRecord& node = nodes[i];
    if (node.place.url.empty() || node.unasked) return;
    // A node that did not answer may have frozen all the same: it is asked once.
    const int tries = node.frozen ? kReleaseTries : 1;
    Result<> released;
    for (int n = 0; n < tries; ++n) {
      if (n > 0) std::this_thread::sleep_for(milliseconds(100 << n));
      auto client = NodeClient::create(env_.access, node.entry.name, context_.place_of(node), kReleasePatience);
      released = client ? client->release(id_) : Result<>(tl::make_unexpected(client.error()));
      if (released || hurry || (client && client->was_refused())) break;
    }
    if (released) return;
    left[i] = Unreleased{node.entry.name, released.error().message};
    log_warning("node {} may keep the freeze of snapshot {} until the hub hears from it, or for a day at most: {}", node.entry.name, name_,
                released.error().message);
  });
  std::vector<Unreleased> unreleased;
  for (auto& one : left)
    if (one) unreleased.push_back(std::move(*one));
  return unreleased;
}

}  // namespace lookback::hub
