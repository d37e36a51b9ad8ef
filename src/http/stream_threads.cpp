#include "stream_threads.hpp"

#include <system_error>

namespace lookback::http {

bool StreamThreads::run(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  reap(lock);
  if (stopped_ || running_.size() >= limit_) return false;
  const auto slot = running_.emplace(running_.end());
  try {
    // The new thread waits for the lock until its own slot is filled.
    *slot = std::thread([this, slot, job = std::move(job)]() mutable {
      job();
      job = nullptr;  // what the job holds goes before the thread counts as ended
      const std::lock_guard guard(mutex_);
      finished_.splice(finished_.end(), running_, slot);
      ended_.notify_all();
    });
  } catch (const std::system_error&) {
    running_.erase(slot);
    return false;
  }
  return true;
}

void StreamThreads::reap(std::unique_lock<std::mutex>& lock) {
  Threads ended;
  ended.splice(ended.end(), finished_);
  if (ended.empty()) return;
  lock.unlock();
  for (std::thread& thread : ended) thread.join();
  lock.lock();
}

void StreamThreads::stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  ended_.wait(lock, [&] { return running_.empty(); });
  reap(lock);
}

size_t StreamThreads::running() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

}  // namespace lookback::http
