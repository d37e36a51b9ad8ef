#include "node/memory_budget.hpp"

#include <algorithm>

namespace lookback::node {

std::optional<MemoryBudget::Share> MemoryBudget::take(uint64_t bytes) {
  bytes = std::min(bytes, whole_);
  std::unique_lock lock(mutex_);
  const uint64_t ticket = next_ticket_++;
  changed_.wait(lock, [&] { return stopped_ || (serving_ == ticket && whole_ - used_ >= bytes); });
  if (stopped_) return std::nullopt;
  used_ += bytes;
  ++serving_;
  lock.unlock();
  changed_.notify_all();
  return Share(*this, bytes);
}

void MemoryBudget::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
}

uint64_t MemoryBudget::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

uint64_t MemoryBudget::taken() const {
  const std::lock_guard lock(mutex_);
  return serving_;
}

void MemoryBudget::Share::shrink(uint64_t bytes) {
  if (budget_ == nullptr || bytes >= bytes_) return;
  {
    const std::lock_guard lock(budget_->mutex_);
    budget_->used_ -= bytes_ - bytes;
  }
  bytes_ = bytes;
  budget_->changed_.notify_all();
}

}  // namespace lookback::node
