#include "node/member_pool.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace lookback::node {
namespace {

// linux/ioprio.h: class best effort, its lowest level. (The idle class would starve transfers on a busy disk.)
constexpr int kIoprioWhoProcess = 1, kIoprioBestEffortLowest = 2 << 13 | 7;

constexpr unsigned kMostThreads = 9;

void lower_priority() {
  prctl(PR_SET_NAME, "members");
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, thread, 10);
  syscall(SYS_ioprio_set, kIoprioWhoProcess, thread, kIoprioBestEffortLowest);
}

}  // namespace

unsigned MemberPool::usual_threads() {
  return std::clamp(std::thread::hardware_concurrency() / 2, 2u, kMostThreads - 1) + 1;
}

MemberPool::MemberPool(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i)
    threads_.emplace_back([this] {
      lower_priority();
      while (auto task = queue_.pop()) (*task)();
    });
}

bool MemberPool::run(const std::function<void()>& work) {
  std::packaged_task<void()> task(work);
  auto done = task.get_future();
  if (!queue_.push(std::move(task))) return false;
  done.get();
  return true;
}

void MemberPool::stop() {
  queue_.close();
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

}  // namespace lookback::node
