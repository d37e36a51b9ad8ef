#pragma once
// The reader's side of the kernel's ring of records (BPF_MAP_TYPE_RINGBUF).
//
// The memory is mapped once: libbpf's own reader maps it twice in a row, so that a record that goes
// over the end lies in one piece, and the process then counts it twice. Here such a record is
// copied together.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::observe {

class RecordRing {
 public:
  using Take = std::function<void(std::span<const std::byte>)>;

  /// Over memory of others: `bytes` is as long as the ring, a power of two. The positions are those
  /// of the kernel's pages.
  RecordRing(std::span<const std::byte> bytes, const uint64_t* producer, uint64_t* consumer)
      : bytes_(bytes), producer_(producer), consumer_(consumer) {}
  /// Of a map, which may be closed then.
  [[nodiscard]] static Result<RecordRing> map(int fd, size_t bytes);
  ~RecordRing();
  RecordRing(RecordRing&& other) noexcept;
  RecordRing& operator=(RecordRing&&) = delete;
  RecordRing(const RecordRing&) = delete;

  /// Hands over every record up to the first that is still being written, but for those that were
  /// thrown away.
  void consume(const Take& take);

 private:
  [[nodiscard]] std::span<const std::byte> piece(uint64_t at, size_t length);

  std::span<const std::byte> bytes_;
  const uint64_t* producer_;
  uint64_t* consumer_;
  std::span<std::byte> mapped_for_reading_, mapped_for_writing_;
  std::vector<std::byte> joined_;
};

}  // namespace lookback::observe
