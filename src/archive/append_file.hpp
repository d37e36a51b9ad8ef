#pragma once
// A file that is written from front to back, past the page cache where the file system can: an archive is seldom read at once,
// and what it would push out of memory belongs to others.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

class AppendFile {
 public:
  AppendFile() = default;
  /// `fd` can be read and written.
  explicit AppendFile(Fd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Puts `data` at `offset`: where the last put ended, or anywhere in front of that, which forgets what was put behind it. After
  /// an error the same offset may be tried again.
  [[nodiscard]] Result<> put(std::span<const std::byte> data, uint64_t offset);
  /// Hands everything up to `end`, the end of the last put or a place in front of it, to the kernel. Up to the end of a page, zeros
  /// may follow in the file.
  [[nodiscard]] Result<> flush(uint64_t end);

 private:
  static constexpr size_t kBuffer = 1 << 20;
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };

  [[nodiscard]] Result<> seek(uint64_t offset);
  [[nodiscard]] Result<> write_out();
  [[nodiscard]] bool set_direct(bool on) const;

  Fd fd_;
  std::unique_ptr<std::byte, Free> buffer_;
  uint64_t start_ = 0;  ///< where the buffer stands in the file: whole pages
  size_t used_ = 0;
  size_t written_ = 0;  ///< of the used ones
};

}  // namespace lookback::archive
