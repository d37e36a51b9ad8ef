#include "observe/unused_sockets.hpp"

#include <algorithm>
#include <unordered_set>

#include "observe/socket_scan.hpp"

namespace lookback::observe {
namespace {

/// Beyond that the oldest are left to their use.
constexpr size_t kMostAccepted = 20'000;
constexpr int64_t kTryForNs = 10'000'000'000;

/// Who may have accepted from these listeners: they, their children, and who can have the listening
/// socket from the same parent.
std::vector<uint32_t> relatives_of(const std::unordered_set<uint32_t>& listeners,
                                   const LiveTable& table) {
  std::unordered_set<uint32_t> parents;
  for (const uint32_t pid : listeners)
    if (const Event* process = table.process(pid); process != nullptr && process->ppid > 1)
      parents.insert(process->ppid);
  std::vector<uint32_t> pids;
  table.each_process([&](const Event& process) {
    if (listeners.contains(process.pid) || listeners.contains(process.ppid) ||
        parents.contains(process.ppid) || parents.contains(process.pid))
      pids.push_back(process.pid);
  });
  std::sort(pids.begin(), pids.end());
  return pids;
}

}  // namespace

void UnusedSockets::note(const Event& event) {
  if (event.kind != Kind::accept || event.pid != 0) return;
  if (accepted_.size() >= kMostAccepted) accepted_.pop_front();
  accepted_.emplace_back(event.time_ns, event.socket);
}

std::vector<Event> UnusedSockets::find_owners(int64_t before_ns, const LiveTable& table) {
  std::vector<Event> unused, found;
  std::vector<std::pair<int64_t, uint64_t>> again;
  std::unordered_set<uint32_t> listeners;
  for (; !accepted_.empty() && accepted_.front().first < before_ns; accepted_.pop_front()) {
    const Event* const socket = table.socket(accepted_.front().second);
    if (socket == nullptr || socket->pid != 0 || socket->listener_pid == 0) continue;
    unused.push_back(*socket);
    listeners.insert(socket->listener_pid);
  }
  if (unused.empty()) return found;
  const auto owners = owners_of(unused, relatives_of(listeners, table));
  for (size_t i = 0; i < unused.size(); ++i) {
    const Event* const process = table.process(owners[i]);
    if (process == nullptr) {
      // It may wait for its listener yet.
      if (unused[i].time_ns >= before_ns - kTryForNs)
        again.emplace_back(unused[i].time_ns, unused[i].socket);
      continue;
    }
    Event& event = found.emplace_back(std::move(unused[i]));
    event.kind = Kind::owner;
    event.pid = event.tid = process->pid;
    event.uid = process->uid;
    event.comm = process->comm;
    event.cgroup = process->cgroup;
    event.first = true;
    event.state = 0;
    event.role = Role::unknown;
    event.opened_ns = 0;
    event.listener_pid = 0;
  }
  accepted_.insert(accepted_.begin(), again.begin(), again.end());
  return found;
}

}  // namespace lookback::observe
