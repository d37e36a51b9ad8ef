#include "exporter/memory_budget.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace lookback::exporter {

namespace {

constexpr uint64_t kSmallest = 512ULL << 20, kLargest = 4ULL << 30;
constexpr std::chrono::milliseconds kLookForCancel{100};

uint64_t machine_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

}  // namespace

MemoryBudget::Share::Share(Share&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryBudget::Share& MemoryBudget::Share::operator=(Share&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryBudget::Share::~Share() {
  if (budget_ != nullptr) budget_->give_back(bytes_);
}

bool MemoryBudget::Share::try_grow(uint64_t more) {
  if (budget_ == nullptr) return false;
  const std::lock_guard lock(budget_->mutex_);
  if (!budget_->try_take(more)) return false;
  bytes_ += more;
  return true;
}

MemoryBudget& MemoryBudget::of_process() {
  static MemoryBudget budget(std::clamp(machine_memory() / 4, kSmallest, kLargest));
  return budget;
}

bool MemoryBudget::try_take(uint64_t bytes) {
  if (taken_ != 0 && (taken_ > bytes_ || bytes > bytes_ - taken_)) return false;
  taken_ += bytes;
  return true;
}

Result<MemoryBudget::Share> MemoryBudget::take(uint64_t bytes, const std::atomic<bool>* cancelled,
                                               int64_t patience_ns) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience_ns);
  std::unique_lock lock(mutex_);
  while (!try_take(bytes)) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed))
      return fail(ErrorKind::cancelled, "the export was cancelled");
    if (std::chrono::steady_clock::now() >= end) {
      return fail(ErrorKind::failed,
                  "other exports have {} of the {} MiB that all may take together, and this one "
                  "needs {} MiB: try again later",
                  taken_ >> 20, bytes_ >> 20, bytes >> 20);
    }
    returned_.wait_for(lock, kLookForCancel);
  }
  return Share(*this, bytes);
}

void MemoryBudget::give_back(uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    taken_ -= bytes;
  }
  returned_.notify_all();
}

uint64_t MemoryBudget::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

}  // namespace lookback::exporter
