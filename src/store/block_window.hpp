#pragma once
// A window onto a segment file that moves forward: reads whole pages, far enough ahead, past the
// page cache where that is possible. What it hands out is the reader's to change, once.

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"
#include "store/aligned_buffer.hpp"

namespace lookback::store {

class BlockWindow {
 public:
  /// `read_ahead`: how much is read at a time at least; 0 for those who hop from header to header.
  /// Takes the file over.
  BlockWindow(Fd fd, size_t read_ahead) : fd_(std::move(fd)), read_ahead_(read_ahead) {}
  /// With O_DIRECT where the file system has it.
  [[nodiscard]] static Result<BlockWindow> open(const std::filesystem::path& path,
                                                size_t read_ahead);

  /// `bytes` at `offset`, both whole pages; zeros behind the file's end. Nothing behind `limit` is
  /// read ahead. The span is good until the next call.
  [[nodiscard]] Result<std::span<std::byte>> get(uint64_t offset, size_t bytes, uint64_t limit);
  /// What stands in front of `end` is not as in the file any more, and read again when it is asked
  /// for again.
  void changed_up_to(uint64_t end) { fresh_from_ = std::max(fresh_from_, end); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  size_t read_ahead_;
  AlignedBuffer buffer_;
  uint64_t start_ = 0;  ///< of what is in the buffer
  size_t valid_ = 0;
  uint64_t fresh_from_ = 0;
};

}  // namespace lookback::store
