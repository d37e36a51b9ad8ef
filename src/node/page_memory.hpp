#pragma once
// Page-aligned anonymous memory for O_DIRECT writes, in huge pages where the kernel has them.

#include <cstddef>
#include <span>
#include <utility>

#include "lookback/base/result.hpp"

namespace lookback::node {

class PageMemory {
 public:
  PageMemory() = default;
  PageMemory(PageMemory&& other) noexcept : memory_(std::exchange(other.memory_, {})) {}
  PageMemory& operator=(PageMemory&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~PageMemory();
  [[nodiscard]] static Result<PageMemory> allocate(size_t bytes);
  [[nodiscard]] std::span<std::byte> bytes() const { return memory_; }
  /// Gives whole pages of it back to the system until they are written to again; their content is gone.
  static void release(std::span<std::byte> pages);

 private:
  std::span<std::byte> memory_;
};

}  // namespace lookback::node
