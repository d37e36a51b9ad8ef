#pragma once
// What happens to snapshots, for GET /api/v1/events: a short history that any number of readers
// follow at their own pace. A reader too slow for it misses events and is told how many.
// Thread-safe.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace lookback::hub {

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

  void publish(std::string type, std::string data);
  /// Events behind number `after`; waits up to `time` for one.
  [[nodiscard]] Batch wait(uint64_t after, std::chrono::milliseconds time) const;
  [[nodiscard]] uint64_t last_number() const;
  void close();

 private:
  static constexpr size_t kHistory = 256;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<Event> events_;
  uint64_t last_ = 0;
  bool closed_ = false;
};

}  // namespace lookback::hub
