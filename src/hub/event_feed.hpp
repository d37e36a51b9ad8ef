#pragma once
// What happens to snapshots and jobs, for GET /api/v1/events: a short history that any number of readers follow at their own
// pace. A reader too slow for it misses events and is told how many. Thread-safe.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "lookback/base/time.hpp"

namespace lookback::hub {

/// The progress of one thing is published this often at most.
inline constexpr int64_t kProgressInterval = kNsPerSecond;

class EventFeed {
 public:
  struct Event {
    uint64_t number = 0;
    std::string type, data;  ///< data: one line of JSON
  };
  struct Batch {
    std::vector<Event> events;
    uint64_t missed = 0;
    bool closed = false;
  };

  EventFeed();
  void publish(std::string type, std::string data);
  /// Events behind number `after`.
  [[nodiscard]] Batch after(uint64_t number) const;
  [[nodiscard]] uint64_t last_number() const;
  /// Numbers begin at 1 in each run of the hub. This names the run.
  [[nodiscard]] const std::string& run() const { return run_; }
  /// `wake` is called after each event and when the feed is closed, under the feed's lock: it must only pass the word on.
  [[nodiscard]] uint64_t listen(std::function<void()> wake);
  /// The listener is not called any more once this returns.
  void unlisten(uint64_t listener);
  void close();

 private:
  static constexpr size_t kHistory = 256;
  void wake_all() const;  // under mutex_

  const std::string run_;
  mutable std::mutex mutex_;
  std::deque<Event> events_;
  std::map<uint64_t, std::function<void()>> listeners_;
  uint64_t last_ = 0, last_listener_ = 0;
  bool closed_ = false;
};

}  // namespace lookback::hub
