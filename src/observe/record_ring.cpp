#include "observe/record_ring.hpp"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lookback::observe {
namespace {

/// The kernel is told how far we are after so many bytes, not for each record: each time takes the
/// line with the position away from the processors that write.
constexpr uint64_t kTellAfterBytes = 64 << 10;

constexpr uint64_t kAlignment = 8;

uint32_t load_length(const std::byte* at) {
  return __atomic_load_n(reinterpret_cast<const uint32_t*>(at), __ATOMIC_ACQUIRE);
}

}  // namespace

Result<RecordRing> RecordRing::map(int fd, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const own = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (own == MAP_FAILED) return fail_errno(errno, "the ring of records cannot be mapped");
  // The kernel's position has the page behind ours, and the records follow that.
  void* const theirs =
      mmap(nullptr, page + bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(page));
  if (theirs == MAP_FAILED) {
    const int error = errno;
    munmap(own, page);
    return fail_errno(error, "the ring of records cannot be mapped");
  }
  const auto* records = static_cast<const std::byte*>(theirs) + page;
  RecordRing ring({records, bytes}, static_cast<const uint64_t*>(theirs),
                  static_cast<uint64_t*>(own));
  ring.mapped_for_writing_ = {static_cast<std::byte*>(own), page};
  ring.mapped_for_reading_ = {static_cast<std::byte*>(theirs), page + bytes};
  return ring;
}

RecordRing::RecordRing(RecordRing&& other) noexcept
    : bytes_(other.bytes_),
      producer_(other.producer_),
      consumer_(other.consumer_),
      mapped_for_reading_(std::exchange(other.mapped_for_reading_, {})),
      mapped_for_writing_(std::exchange(other.mapped_for_writing_, {})) {}

RecordRing::~RecordRing() {
  for (const auto& mapped : {mapped_for_reading_, mapped_for_writing_})
    if (!mapped.empty()) munmap(mapped.data(), mapped.size());
}

std::span<const std::byte> RecordRing::piece(uint64_t at, size_t length) {
  const size_t offset = at & (bytes_.size() - 1);
  const size_t first = std::min(length, bytes_.size() - offset);
  if (first == length) return bytes_.subspan(offset, length);
  joined_.resize(length);
  std::memcpy(joined_.data(), bytes_.data() + offset, first);
  std::memcpy(joined_.data() + first, bytes_.data(), length - first);
  return joined_;
}

void RecordRing::consume(const Take& take) {
  uint64_t at = *consumer_;  // nobody else writes it
  uint64_t told = at;
  bool waits = false;
  // What came while the others were read is read too, but not for ever: a kernel that writes as fast
  // as we read would keep the caller from all else.
  const uint64_t enough = at + bytes_.size();
  for (uint64_t end = 0;
       !waits && at < enough && at < (end = __atomic_load_n(producer_, __ATOMIC_ACQUIRE));) {
    while (at < end) {
      // The head of a record never goes over the end: all is aligned to its length.
      const uint32_t head = load_length(bytes_.data() + (at & (bytes_.size() - 1)));
      waits = (head & BPF_RINGBUF_BUSY_BIT) != 0;
      if (waits) break;
      const uint64_t length = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
      if ((head & BPF_RINGBUF_DISCARD_BIT) == 0)
        take(piece(at + BPF_RINGBUF_HDR_SZ, static_cast<size_t>(length)));
      at += (BPF_RINGBUF_HDR_SZ + length + kAlignment - 1) / kAlignment * kAlignment;
      if (at - told < kTellAfterBytes) continue;
      told = at;
      __atomic_store_n(consumer_, at, __ATOMIC_RELEASE);
    }
  }
  if (at != told) __atomic_store_n(consumer_, at, __ATOMIC_RELEASE);
}

}  // namespace lookback::observe
