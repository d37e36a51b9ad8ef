#pragma once
// Page-aligned memory, as O_DIRECT wants it. Grows, never shrinks; its content does not survive
// growing.

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "lookback/base/result.hpp"
#include "lookback/store/segment_format.hpp"

namespace lookback::store {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) { reserve(bytes); }

  /// Only the first `keep` bytes of the content survive growing.
  void reserve(size_t bytes, size_t keep = 0) {
    if (bytes <= size_) return;
    const size_t size = round_up(bytes, kPageBytes);
    auto* fresh = static_cast<std::byte*>(std::aligned_alloc(kPageBytes, size));
    if (fresh == nullptr) throw std::bad_alloc();
    if (keep > 0) std::memcpy(fresh, memory_.get(), keep);
    memory_.reset(fresh);
    size_ = size;
  }
  [[nodiscard]] std::byte* data() { return memory_.get(); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> span(size_t bytes) {
    LOOKBACK_CHECK(bytes <= size_);
    return {memory_.get(), bytes};
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
};

}  // namespace lookback::store
