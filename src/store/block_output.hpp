#pragma once
// Writes whole pages to a segment: io_uring with registered memory where the kernel lets us, pwrite
// elsewhere. One write at a time, awaited. For one thread at a time; when another one takes over,
// the ring is made anew (the kernel binds it to its thread).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::store {

class BlockOutput {
 public:
  explicit BlockOutput(bool use_io_uring);
  ~BlockOutput();
  BlockOutput(const BlockOutput&) = delete;
  BlockOutput& operator=(const BlockOutput&) = delete;

  /// The memory stays the caller's and outlives this object.
  void register_memory(std::span<std::byte> memory);
  /// All of `data` or an error. `drop_cache`: the file is written through the page cache, which is
  /// not to keep it.
  [[nodiscard]] Result<> write(int fd, std::span<const std::byte> data, uint64_t offset,
                               bool drop_cache);

 private:
  struct Ring;
  void prepare_ring();
  [[nodiscard]] Result<> write_ring(int fd, std::span<const std::byte> data, uint64_t offset);

  bool use_io_uring_;
  std::unique_ptr<Ring> ring_;
  std::vector<std::span<std::byte>> regions_;  ///< each at most what one fixed buffer may be
  bool regions_changed_ = false;
};

}  // namespace lookback::store
