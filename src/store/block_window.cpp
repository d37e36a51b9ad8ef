#include "store/block_window.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lookback::store {

Result<BlockWindow> BlockWindow::open(const std::filesystem::path& path, size_t read_ahead) {
  auto fd = open_file(path, O_RDONLY | O_DIRECT);
  // A file system without direct I/O says so when opening, or only when reading.
  if (fd) {
    AlignedBuffer page(kPageBytes);
    if (::pread(fd->get(), page.data(), kPageBytes, 0) >= 0)
      return BlockWindow(std::move(*fd), read_ahead);
    if (errno != EINVAL) return fail_errno(errno, fmt::format("cannot read {}", path.string()));
  }
  TRY_ASSIGN(Fd plain, open_file(path, O_RDONLY));
  return BlockWindow(std::move(plain), read_ahead);
}

Result<std::span<std::byte>> BlockWindow::get(uint64_t offset, size_t bytes, uint64_t limit) {
  LOOKBACK_CHECK(offset % kPageBytes == 0 && bytes % kPageBytes == 0);
  const bool fresh = offset >= start_ && offset >= fresh_from_;
  if (fresh && offset - start_ + bytes <= valid_)
    return std::span(buffer_.data() + (offset - start_), bytes);
  size_t keep = 0;
  if (fresh && offset - start_ < valid_) {
    keep = valid_ - (offset - start_);
    std::memmove(buffer_.data(), buffer_.data() + (offset - start_), keep);
  }
  const uint64_t ahead =
      offset < limit ? std::min<uint64_t>(read_ahead_, round_up(limit - offset, kPageBytes)) : 0;
  const size_t want = std::max<size_t>(bytes, ahead);
  valid_ = 0;  // should reading fail
  buffer_.reserve(want, keep);
  size_t done = keep;
  while (done < want) {
    const ssize_t n =
        ::pread(fd_.get(), buffer_.data() + done, want - done, static_cast<off_t>(offset + done));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno(errno, fmt::format("cannot read a segment at {}", offset + done));
    }
    done += static_cast<size_t>(n);
    // Pages come whole but for the file's last one.
    if (n == 0 || done % kPageBytes != 0) break;
  }
  std::memset(buffer_.data() + done, 0, want - done);
  // No harm where the cache was not used.
  ::posix_fadvise(fd_.get(), static_cast<off_t>(offset + keep), static_cast<off_t>(want - keep),
                  POSIX_FADV_DONTNEED);
  start_ = fresh_from_ = offset;
  valid_ = want;
  return std::span(buffer_.data(), bytes);
}

}  // namespace lookback::store
