#pragma once
// Runs something for each of n things on threads of its own and waits for all.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "lookback/base/thread.hpp"

namespace lookback::hub {

/// `work(i)` for every i below `count`, on at most `threads` threads, in order of i. Where the
/// system gives no more threads, the caller's own does the rest.
inline void for_each_parallel(size_t count, size_t threads,
                              const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto loop = [&] {
    for (size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::thread> running;
  const size_t wanted = std::min(count, threads);
  for (size_t i = 1; i < wanted; ++i) {
    auto thread = try_thread(loop);
    if (!thread) break;
    running.push_back(std::move(*thread));
  }
  loop();
  for (std::thread& thread : running) thread.join();
}

}  // namespace lookback::hub
