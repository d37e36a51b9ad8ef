#pragma once
// Packs ended segments on a thread of its own, so that neither recording nor a freeze waits for it.

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "lookback/observe/event_store.hpp"

namespace lookback::observe {

class EventPacker {
 public:
  /// Where the system gives no thread, segments stay plain.
  explicit EventPacker(EventStore& store);
  ~EventPacker();
  EventPacker(const EventPacker&) = delete;
  EventPacker& operator=(const EventPacker&) = delete;

 private:
  void run();

  EventStore& store_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::optional<std::thread> thread_;
};

}  // namespace lookback::observe
