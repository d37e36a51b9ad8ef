#pragma once
// So many bytes for members that are being made or sent, over all snapshots: who finds none left waits for its turn. Thread-safe.

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace lookback::node {

class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t bytes) : whole_(bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  /// A part of the budget, given back with this. The budget outlives it.
  class Share {
   public:
    Share(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    Share(Share&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&&) = delete;
    ~Share() { shrink(0); }
    /// Keeps at most `bytes`.
    void shrink(uint64_t bytes);

   private:
    MemoryBudget* budget_;
    uint64_t bytes_;
  };
  /// Waits in the order of the calls, so that a large one gets its turn. What is larger than the budget gets all of it. Nothing
  /// once the budget was stopped.
  [[nodiscard]] std::optional<Share> take(uint64_t bytes);
  void stop();
  [[nodiscard]] uint64_t used() const;
  [[nodiscard]] uint64_t taken() const;  ///< how often, since the start

 private:
  const uint64_t whole_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t used_ = 0;
  uint64_t next_ticket_ = 0, serving_ = 0;
  bool stopped_ = false;
};

}  // namespace lookback::node
