#pragma once
// How the hub calls the nodes of a snapshot.

#include <atomic>
#include <chrono>
#include <cstddef>

#include "snapshot_record.hpp"

namespace lookback::hub {

/// Nodes called at a time for one snapshot.
inline constexpr size_t kCallThreads = 64;
/// How long to wait before a node is asked again: at first, and at most.
inline constexpr std::chrono::milliseconds kFirstPause{100}, kLongestPause{2'000};

/// What calls of a snapshot need of it. Every function may be called by several threads.
class CallContext {
 public:
  CallContext() = default;
  virtual ~CallContext() = default;
  CallContext(const CallContext&) = delete;
  CallContext& operator=(const CallContext&) = delete;
  /// Somebody asked the whole snapshot to stop, or it failed.
  [[nodiscard]] virtual const std::atomic<bool>& ended() const = 0;
  /// Waits, but not longer than until ended().
  virtual void pause(std::chrono::milliseconds time) = 0;
  /// Where the node is now: it may have been started again elsewhere.
  [[nodiscard]] virtual NodePlace place_of(const NodeRecord& node) const = 0;
};

}  // namespace lookback::hub
