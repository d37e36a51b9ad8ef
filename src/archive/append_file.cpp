#include "archive/append_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "lookback/base/page.hpp"

namespace lookback::archive {

bool AppendFile::set_direct(bool on) const {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  return flags >= 0 && ::fcntl(fd_.get(), F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

Result<> AppendFile::seek(uint64_t offset) {
  if (!buffer_) {
    buffer_.reset(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kBuffer)));
    if (!buffer_) throw std::bad_alloc();
  } else if (offset >= start_ && offset - start_ <= used_) {
    used_ = static_cast<size_t>(offset - start_);
    written_ = std::min(written_, used_);
    return {};
  }
  // The page in which it begins is written as a whole, so what it holds already is needed.
  used_ = written_ = 0;
  start_ = offset / kPageBytes * kPageBytes;
  const auto there = static_cast<size_t>(offset - start_);
  if (there > 0) {
    std::ignore = set_direct(false);
    if (auto read = pread_exact(fd_.get(), std::span(buffer_.get(), there), start_); !read) {
      buffer_.reset();  // it stands nowhere
      return read;
    }
  }
  used_ = written_ = there;
  // Where the file system knows no direct I/O, the page cache does.
  std::ignore = set_direct(true);
  return {};
}

Result<> AppendFile::write_out() {
  if (written_ == used_) return {};
  const size_t from = written_ / kPageBytes * kPageBytes, to = in_pages(used_);
  std::memset(buffer_.get() + used_, 0, to - used_);
  const auto pages = std::span<const std::byte>(buffer_.get() + from, to - from);
  auto written = pwrite_all(fd_.get(), pages, start_ + from);
  if (!written && set_direct(false)) {
    // Some file systems take the flag and not the write; and a write that fails for another reason does so again.
    written = pwrite_all(fd_.get(), pages, start_ + from);
  }
  TRY(written);
  const size_t whole = used_ / kPageBytes * kPageBytes;
  std::memmove(buffer_.get(), buffer_.get() + whole, used_ - whole);
  start_ += whole;
  used_ -= whole;
  written_ = used_;
  return {};
}

Result<> AppendFile::put(std::span<const std::byte> data, uint64_t offset) {
  TRY(seek(offset));
  while (!data.empty()) {
    const size_t n = std::min(data.size(), kBuffer - used_);
    std::memcpy(buffer_.get() + used_, data.data(), n);
    used_ += n;
    data = data.subspan(n);
    if (used_ == kBuffer) TRY(write_out());
  }
  return {};
}

Result<> AppendFile::flush(uint64_t end) {
  TRY(seek(end));
  return write_out();
}

}  // namespace lookback::archive
