#include "disk_budget.hpp"

#include <algorithm>

#include "lookback/base/saturating.hpp"
#include "lookback/base/size.hpp"

namespace lookback::hub {

DiskBudget::DiskBudget(std::filesystem::path directory, uint64_t quota_bytes,
                       std::function<uint64_t()> published)
    : directory_(std::move(directory)),
      quota_bytes_(quota_bytes),
      published_(std::move(published)) {}

uint64_t DiskBudget::disk_reserve(uint64_t total_bytes) {
  return std::max<uint64_t>(total_bytes / 100, 64 << 20);
}

Result<> DiskBudget::check(uint64_t more_quota, uint64_t more_disk,
                           const std::string& except) const {
  uint64_t held = published_(), promised = 0;
  for (const auto& [id, claim] : claims_) {
    saturate(held, id == except ? claim.written : std::max(claim.reserved, claim.written));
    if (id != except) saturate(promised, claim.reserved - std::min(claim.reserved, claim.written));
  }
  if (quota_bytes_ != 0 && saturating_add(held, more_quota) > quota_bytes_) {
    return fail(ErrorKind::no_space,
                "{} more would pass the {} that snapshots may use ({} are used): delete snapshots, "
                "or allow more with --snapshot-storage-size",
                format_size(more_quota), format_size(quota_bytes_), format_size(held));
  }
  TRY_ASSIGN(const DiskSpace disk, disk_space(directory_));
  const uint64_t reserve = disk_reserve(disk.total_bytes);
  if (disk.available_bytes < saturating_add(saturating_add(promised, more_disk), reserve)) {
    return fail(ErrorKind::no_space,
                "{} more do not fit on the disk of {}: {} are available, of which {} stay free{}",
                format_size(more_disk), directory_.string(), format_size(disk.available_bytes),
                format_size(reserve),
                promised == 0 ? ""
                              : fmt::format(" and {} are promised to other snapshots",
                                            format_size(promised)));
  }
  return {};
}

Result<> DiskBudget::reserve(const std::string& id, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  TRY(check(bytes, bytes, id));
  claims_[id].reserved = bytes;
  return {};
}

Result<> DiskBudget::grow(const std::string& id, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  TRY(check(bytes, bytes, id));
  saturate(claims_[id].written, bytes);
  return {};
}

void DiskBudget::adopt(const std::string& id, uint64_t reserved, uint64_t written) {
  const std::lock_guard lock(mutex_);
  claims_[id] = {reserved, written};
}

void DiskBudget::release(const std::string& id) {
  const std::lock_guard lock(mutex_);
  claims_.erase(id);
}

uint64_t DiskBudget::used_bytes() const {
  const std::lock_guard lock(mutex_);
  uint64_t used = published_();
  for (const auto& [id, claim] : claims_) saturate(used, claim.written);
  return used;
}

}  // namespace lookback::hub
