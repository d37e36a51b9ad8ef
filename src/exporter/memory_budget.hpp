#pragma once
// The memory that the exports of one process may take together. Frames of an archive from elsewhere
// may all overlap in time, and several such exports may run at once: neither may take the machine.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "lookback/base/result.hpp"

namespace lookback::exporter {

/// Any number of threads. Outlives its shares.
class MemoryBudget {
 public:
  /// What one export has of the budget; given back on destruction.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept;
    Share& operator=(Share&& other) noexcept;
    ~Share();
    /// More of it, without waiting; false where too little is left.
    [[nodiscard]] bool try_grow(uint64_t more);
    [[nodiscard]] uint64_t bytes() const { return bytes_; }

   private:
    friend class MemoryBudget;
    Share(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    MemoryBudget* budget_ = nullptr;
    uint64_t bytes_ = 0;
  };

  explicit MemoryBudget(uint64_t bytes) : bytes_(bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  /// A quarter of the machine's memory, but between 512 MiB and 4 GiB.
  [[nodiscard]] static MemoryBudget& of_process();

  /// Waits until the others leave this much, at most `patience_ns`; kind failed then, and cancelled
  /// where it is. Who is alone gets what it asks for.
  [[nodiscard]] Result<Share> take(uint64_t bytes, const std::atomic<bool>* cancelled,
                                   int64_t patience_ns = kPatienceNs);
  [[nodiscard]] uint64_t taken() const;

  static constexpr int64_t kPatienceNs = 60'000'000'000;

 private:
  [[nodiscard]] bool try_take(uint64_t bytes);
  void give_back(uint64_t bytes);

  const uint64_t bytes_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable returned_;
  uint64_t taken_ = 0;
};

}  // namespace lookback::exporter
