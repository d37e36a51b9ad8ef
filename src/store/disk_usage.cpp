#include "store/disk_usage.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <system_error>

#include "lookback/base/size.hpp"
#include "lookback/store/segment_format.hpp"

namespace lookback::store {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMiB = 1 << 20;
/// Beyond a power of two, so that whole kernel blocks (4 MiB) and what is around them fit.
constexpr uint64_t kSegmentExtraBytes = 64 << 10;
constexpr uint64_t kMinSegmentBytes = 64 << 10;

uint64_t cost(const struct stat& st) {
  return std::max<uint64_t>(static_cast<uint64_t>(st.st_blocks) * 512,
                            static_cast<uint64_t>(st.st_size));
}

/// A thousandth of the storage, which keeps a freeze of everything short. Less only costs: every
/// segment is a file made and one removed; so up to 64 MiB where a storage has more than a hundred
/// of them.
uint64_t scaled_segment_bytes(uint64_t quota) {
  const uint64_t few = std::clamp(std::bit_floor(quota / 128), 4 * kMiB, 64 * kMiB);
  const uint64_t wanted = std::clamp(std::bit_ceil(quota / 1024), few, 1024 * kMiB);
  // Two kernel blocks at least, unless that makes too few segments.
  const uint64_t least = quota >= 128 * kMiB ? 8 * kMiB : 4 * kMiB;
  return std::max(wanted, least) + kSegmentExtraBytes;
}

}  // namespace

uint64_t cost_of(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? cost(st) : 0;
}

uint64_t cost_of(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 ? cost(st) : 0;
}

uint64_t cost_of_directory(const fs::path& path) {
  uint64_t sum = cost_of(path);
  std::error_code ec;
  for (auto it = fs::directory_iterator(path, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    struct stat st {};
    if (::lstat(it->path().c_str(), &st) == 0 && !S_ISDIR(st.st_mode) && st.st_nlink == 1)
      sum += cost(st);
  }
  return sum;
}

Result<StoreOptions> checked_options(StoreOptions options) {
  if (options.quota_bytes < kMinQuotaBytes) {
    return fail(ErrorKind::invalid,
                "a storage size of {} is too small, the least is {} (--storage-size)",
                format_size(options.quota_bytes), format_size(kMinQuotaBytes));
  }
  if (options.quota_bytes > (1ULL << 60))
    return fail(ErrorKind::invalid, "the storage size is beyond any disk (--storage-size)");
  if (options.segment_bytes == 0) options.segment_bytes = scaled_segment_bytes(options.quota_bytes);
  options.segment_bytes = round_up(options.segment_bytes, kPageBytes);
  if (options.segment_bytes < kMinSegmentBytes || options.segment_bytes > options.quota_bytes / 4) {
    return fail(ErrorKind::invalid, "a segment size of {} does not fit a storage size of {}",
                format_size(options.segment_bytes), format_size(options.quota_bytes));
  }
  if (options.freeze_quota_bytes == 0) options.freeze_quota_bytes = options.quota_bytes / 4;
  // Recording must always find room: a quarter of the storage at least stays with it.
  const uint64_t most = options.quota_bytes / 4 * 3;
  if (options.freeze_quota_bytes > most) {
    return fail(
        ErrorKind::invalid,
        "a freeze size of {} leaves too little of {} for recording, the most is {} (--freeze-size)",
        format_size(options.freeze_quota_bytes), format_size(options.quota_bytes),
        format_size(most));
  }
  return options;
}

uint64_t small_files_reserve(uint64_t quota_bytes) {
  return std::clamp<uint64_t>(quota_bytes / 64, kMiB / 2, 64 * kMiB);
}

uint64_t directory_estimate(uint64_t names) {
  // An ext4 entry takes 28 bytes for our names, in blocks at least half full; others need less.
  return 3 * kPageBytes + names * 64;
}

}  // namespace lookback::store
