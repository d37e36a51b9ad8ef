// Space: what is used, preparing the next segment, recycling the oldest. structure_ is held by the
// callers.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "lookback/base/fd.hpp"
#include "lookback/base/log.hpp"
#include "lookback/base/size.hpp"
#include "lookback/store/file_names.hpp"
#include "store/disk_usage.hpp"
#include "store/freeze_record.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace {
/// What is lent leaves recording the open segment, the next one, and the one that is kept free.
constexpr uint64_t kSegmentsOfRecording = 3;
}  // namespace

uint64_t StoreImpl::used_bytes_state_locked() const {
  uint64_t sum =
      catalog_.disk_bytes() + prepared_cost_ + small_files_cost_ + freeze_in_work_cost_ + reserved_;
  for (const auto& [id, entry] : freezes_) sum += entry.cost;
  return sum;
}

void StoreImpl::refresh_small_files_locked() {
  const uint64_t cost =
      cost_of_directory(options_.directory) + cost_of(packets_path_) + cost_of(freezes_path_);
  const std::lock_guard lock(state_);
  small_files_cost_ = cost;
}

Result<> StoreImpl::prepare_locked(uint64_t bytes) {
  refresh_small_files_locked();
  const uint64_t cost = bytes + kExtentSlackBytes;
  {
    const std::lock_guard lock(state_);
    // One that proved too small goes first.
    prepared_.reset();
    prepared_cost_ = 0;
  }
  const auto path = packets_path_ / file_names::kPrepared;
  ::unlink(path.c_str());
  // The oldest go before the new one comes: at no moment is there more than the quota. One segment
  // more than that is kept free, because whoever adds up the files meanwhile (du) may have seen one
  // that goes and then the one that comes.
  TRY(make_room_locked(cost + options_.segment_bytes + small_files_reserve(options_.quota_bytes)));
  {
    const std::lock_guard lock(state_);
    prepared_cost_ = cost;
  }
  auto prepared = [&]() -> Result<PreparedFile> {
    PreparedFile file;
    file.direct = direct_;
    file.bytes = bytes;
    const int flags = O_RDWR | O_CREAT | O_EXCL | (direct_ ? O_DIRECT : 0);
    TRY_ASSIGN(file.fd, open_file(path, flags, 0600));
    int status;
    do {
      status = ::fallocate(file.fd.get(), 0, 0, static_cast<off_t>(bytes));
    } while (status != 0 && errno == EINTR);
    if (status != 0 && errno == EOPNOTSUPP)
      status = ::ftruncate(file.fd.get(), static_cast<off_t>(bytes));
    if (status != 0)
      return fail_errno(errno,
                        fmt::format("no space for the next segment in {}", packets_path_.string()));
    return file;
  }();
  if (!prepared) {
    ::unlink(path.c_str());
    const std::lock_guard lock(state_);
    prepared_cost_ = 0;
    return tl::make_unexpected(prepared.error());
  }
  const uint64_t real_cost = cost_of(prepared->fd.get()) + kExtentSlackBytes;
  const std::lock_guard lock(state_);
  prepared_ = std::move(*prepared);
  prepared_cost_ = real_cost;
  return {};
}

Result<> StoreImpl::make_room_locked(uint64_t bytes) {
  for (;;) {
    uint64_t victim;
    {
      const std::lock_guard lock(state_);
      if (used_bytes_state_locked() + bytes <= options_.quota_bytes) return {};
      victim = catalog_.victim(options_.freeze_quota_bytes);
    }
    if (victim == 0) {
      return fail(ErrorKind::no_space,
                  "the storage of {} has no room for {} more and nothing left to recycle",
                  format_size(options_.quota_bytes), format_size(bytes));
    }
    remove_segment_locked(victim);
  }
}

uint64_t StoreImpl::most_reserved_bytes() const {
  const uint64_t kept = options_.freeze_quota_bytes +
                        kSegmentsOfRecording * (options_.segment_bytes + kExtentSlackBytes) +
                        small_files_reserve(options_.quota_bytes);
  return std::min(options_.quota_bytes / 2,
                  options_.quota_bytes - std::min(options_.quota_bytes, kept));
}

/// False: what is left is frozen or being written.
bool StoreImpl::recycle_for_others_locked(uint64_t bytes) {
  for (;;) {
    uint64_t victim;
    {
      const std::lock_guard lock(state_);
      if (used_bytes_state_locked() + bytes <= options_.quota_bytes) return true;
      victim = catalog_.victim(std::numeric_limits<uint64_t>::max());
      if (victim == 0 || catalog_.segments.at(victim).freezes != 0) return false;
    }
    remove_segment_locked(victim);
  }
}

uint64_t StoreImpl::set_reserved(uint64_t bytes) {
  const std::lock_guard structure(structure_);
  uint64_t more;
  {
    const std::lock_guard lock(state_);
    if (bytes <= reserved_) return reserved_ = bytes;
    more = std::min(bytes, std::max(reserved_, most_reserved_bytes())) - reserved_;
  }
  // Kept free beside it: what prepare_locked() keeps free, and for the same reason.
  const uint64_t free = options_.segment_bytes + small_files_reserve(options_.quota_bytes);
  const bool room = recycle_for_others_locked(more + free);
  const std::lock_guard lock(state_);
  if (!room) {
    const uint64_t taken = used_bytes_state_locked() + free;
    more = std::min(more, options_.quota_bytes - std::min(options_.quota_bytes, taken));
  }
  return reserved_ += more;
}

void StoreImpl::remove_segment_locked(uint64_t sequence) {
  const std::string name = file_names::segment(sequence);
  std::map<std::string, std::string> records;  // of the freezes that lose it
  {
    const std::lock_guard lock(state_);
    for (auto& [id, entry] : freezes_) {
      if (entry.sequences.erase(sequence) == 0) continue;
      Gap gap{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min(), 0,
              to_string(GapReason::freeze_quota)};
      for (FrozenRun& run : entry.freeze.runs) {
        if (run.segment != name || run.given_up) continue;
        run.given_up = true;
        gap.start_ns = std::min(gap.start_ns, run.first_ns);
        gap.end_ns = std::max(gap.end_ns, run.last_ns + 1);
        gap.packets += run.packets;
      }
      if (gap.start_ns < gap.end_ns) {
        entry.freeze.gaps.push_back(gap);
        shorten_gaps(entry.freeze.gaps, kMaxGapsOfFreeze);
      }
      records.emplace(id, freeze_to_json(entry.freeze));
    }
  }
  if (::unlink(segment_path(sequence).c_str()) != 0 && errno != ENOENT)
    log_error("cannot recycle segment {}: {}", sequence, errno_error(errno, "unlink").message);
  for (const auto& [id, json] : records) {
    log_warning("freeze {} gives up segment {}: the freeze size is used up (--freeze-size)", id,
                sequence);
    if (::unlink((freeze_path(id) / name).c_str()) != 0 && errno != ENOENT)
      log_error("freeze {}: {}", id, errno_error(errno, "unlink").message);
    // Should this fail, the link that is gone says the same when the store is opened again.
    if (const auto written = write_freeze(freeze_path(id), json); !written)
      log_warning("freeze {}: {}", id, written.error().message);
  }
  damage_->forget(sequence);
  const std::lock_guard lock(state_);
  catalog_.segments.erase(sequence);
}

}  // namespace lookback::store
