#pragma once
// How much the archives may hold: the quota, and the disk with a reserve. What a snapshot will
// probably need is taken off beforehand, so that two started together do not count on the same
// space. Thread-safe.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "lookback/base/file.hpp"
#include "lookback/base/result.hpp"

namespace lookback::hub {

class DiskBudget {
 public:
  /// `quota_bytes` 0: none. `published` tells what finished archives hold.
  DiskBudget(std::filesystem::path directory, uint64_t quota_bytes,
             std::function<uint64_t()> published);

  /// Sets `bytes` aside for `id`; no_space says what lacks. A second call changes the sum.
  [[nodiscard]] Result<> reserve(const std::string& id, uint64_t bytes);
  /// Asks before `bytes` more are written for `id`, and counts them.
  [[nodiscard]] Result<> grow(const std::string& id, uint64_t bytes);
  /// What was written for `id` before this process started.
  void adopt(const std::string& id, uint64_t reserved, uint64_t written);
  void release(const std::string& id);

  [[nodiscard]] uint64_t quota_bytes() const { return quota_bytes_; }
  /// Published archives and unfinished ones.
  [[nodiscard]] uint64_t used_bytes() const;
  /// max(1 % of the disk, 64 MiB) stay free.
  [[nodiscard]] static uint64_t disk_reserve(uint64_t total_bytes);

 private:
  struct Claim {
    uint64_t reserved = 0, written = 0;
  };
  [[nodiscard]] Result<> check(uint64_t more_quota, uint64_t more_disk,
                               const std::string& except) const;  // under the lock

  const std::filesystem::path directory_;
  const uint64_t quota_bytes_;
  const std::function<uint64_t()> published_;
  mutable std::mutex mutex_;
  std::map<std::string, Claim> claims_;
};

}  // namespace lookback::hub
