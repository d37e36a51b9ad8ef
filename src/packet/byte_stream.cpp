#include "packet/byte_stream.hpp"

#include <algorithm>
#include <cstring>

namespace lookback::packet {

Result<bool> ByteStream::fill(size_t bytes) {
  constexpr size_t kReadAhead = 256 << 10;
  if (available() >= bytes) return true;
  if (capacity_ - begin_ < bytes) {
    const size_t kept = available();
    if (capacity_ < bytes) {
      const size_t capacity = std::max(bytes, kReadAhead);
      std::unique_ptr<std::byte[]> larger(new std::byte[capacity]);
      if (kept != 0) std::memcpy(larger.get(), data(), kept);
      buffer_ = std::move(larger);
      capacity_ = capacity;
    } else {
      std::memmove(buffer_.get(), data(), kept);
    }
    begin_ = 0;
    end_ = kept;
  }
  while (available() < bytes) {
    if (ended_) return false;
    TRY_ASSIGN(const size_t got, source_({buffer_.get() + end_, capacity_ - end_}));
    LOOKBACK_CHECK(got <= capacity_ - end_);
    end_ += got;
    ended_ = got == 0;
  }
  return true;
}

}  // namespace lookback::packet
