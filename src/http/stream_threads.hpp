#pragma once
// Threads for what may last: a bounded number of them, each for one job, joined at the latest by
// stop().

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace lookback::http {

class StreamThreads {
 public:
  explicit StreamThreads(unsigned limit) : limit_(limit) {}
  ~StreamThreads() { stop(); }

  /// False, and the job is not run, when all are busy, the system gives no thread, or after stop().
  [[nodiscard]] bool run(std::function<void()> job);
  /// Waits for the running jobs; somebody else must have told them to end.
  void stop();
  [[nodiscard]] size_t running() const;

 private:
  using Threads = std::list<std::thread>;
  void reap(std::unique_lock<std::mutex>& lock);

  const unsigned limit_;
  mutable std::mutex mutex_;
  Threads running_, finished_;
  bool stopped_ = false;
  std::condition_variable ended_;
};

}  // namespace lookback::http
