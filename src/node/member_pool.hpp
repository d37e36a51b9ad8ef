#pragma once
// Few threads of low priority that turn frozen runs into members, so that transfers do not slow recording down.

#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "lookback/base/queue.hpp"

namespace lookback::node {

class MemberPool {
 public:
  explicit MemberPool(unsigned threads = usual_threads());
  ~MemberPool() { stop(); }
  MemberPool(const MemberPool&) = delete;
  MemberPool& operator=(const MemberPool&) = delete;

  /// Runs `work` on one of the threads and waits for it. False when the pool was stopped before.
  bool run(const std::function<void()>& work);
  void stop();
  /// For half of the processors, and one more that waits for the disk meanwhile.
  [[nodiscard]] static unsigned usual_threads();

 private:
  static constexpr size_t kMaxWaiting = 64;

  BoundedQueue<std::packaged_task<void()>> queue_{kMaxWaiting};
  std::vector<std::thread> threads_;
};

}  // namespace lookback::node
