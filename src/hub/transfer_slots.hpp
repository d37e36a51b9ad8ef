#pragma once
// How many members the hub holds in memory at a time, over all snapshots. Some slots are kept for nodes that hold none, so
// that a few slow nodes with many threads do not keep the others waiting. Thread-safe.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

namespace lookback::hub {

class TransferSlots {
 public:
  /// `kept`: how many of `count` are for a node's first member.
  TransferSlots(unsigned count, unsigned kept) : free_(count), kept_(kept) {}

  /// Waits until the node may have one, or `ended` is set (looked at now and then); where it is the node's own transfers
  /// that hold this one up, for as long as `patience`.
  class Slot {
   public:
    Slot(TransferSlots& slots, const std::string& node, std::chrono::nanoseconds patience, const std::atomic<bool>& ended)
        : slots_(slots), node_(node) {
      const auto started = std::chrono::steady_clock::now();
      std::unique_lock lock(slots_.mutex_);
      while (!ended && !taken_) {
        unsigned& held = slots_.held_[node_];
        if (slots_.free_ > (held == 0 ? 0 : slots_.kept_)) {
          ++held;
          --slots_.free_;
          taken_ = true;
        } else if (held > 0 && std::chrono::steady_clock::now() - started > patience) {
          break;
        } else {
          slots_.returned_.wait_for(lock, kLookAround);
        }
      }
    }
    ~Slot() {
      const std::lock_guard lock(slots_.mutex_);
      const auto held = slots_.held_.find(node_);
      if (taken_) {
        --held->second;
        ++slots_.free_;
      }
      if (held != slots_.held_.end() && held->second == 0) slots_.held_.erase(held);
      slots_.returned_.notify_all();
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    [[nodiscard]] bool taken() const { return taken_; }

   private:
    static constexpr std::chrono::milliseconds kLookAround{100};
    TransferSlots& slots_;
    const std::string node_;
    bool taken_ = false;
  };

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::map<std::string, unsigned> held_;  ///< by node
  unsigned free_;
  const unsigned kept_;
};

}  // namespace lookback::hub
