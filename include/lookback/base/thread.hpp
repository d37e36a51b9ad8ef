#pragma once
// Threads where the system may give none: a daemon that records goes on without.

#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace lookback {

/// A thread, or nothing where the system gives none.
template <class Function>
[[nodiscard]] std::optional<std::thread> try_thread(Function&& function) {
  try {
    return std::thread(std::forward<Function>(function));
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

/// Runs something on a thread of its own and waits for it: for what changes the thread for good, as
/// setns(2) does. False where the system gives no thread; nothing was run then.
template <class Function>
[[nodiscard]] bool run_apart(Function&& function) {
  auto thread = try_thread(std::forward<Function>(function));
  if (thread) thread->join();
  return thread.has_value();
}

}  // namespace lookback
