#pragma once
// How many members the hub holds in memory at a time, over all snapshots. Thread-safe.

#include <condition_variable>
#include <mutex>

namespace lookback::hub {

class TransferSlots {
 public:
  explicit TransferSlots(unsigned count) : free_(count) {}

  class Slot {
   public:
    explicit Slot(TransferSlots& slots) : slots_(slots) {
      std::unique_lock lock(slots_.mutex_);
      slots_.returned_.wait(lock, [&] { return slots_.free_ > 0; });
      --slots_.free_;
    }
    ~Slot() {
      const std::lock_guard lock(slots_.mutex_);
      ++slots_.free_;
      slots_.returned_.notify_one();
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    TransferSlots& slots_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  unsigned free_;
};

}  // namespace lookback::hub
