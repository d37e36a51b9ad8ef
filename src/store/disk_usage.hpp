#pragma once
// What files cost, as du(1) counts: the larger of allocated blocks and length, so that both ways of
// counting hold.

#include <cstdint>
#include <filesystem>

#include "lookback/base/result.hpp"
#include "lookback/store/store.hpp"

namespace lookback::store {

/// 0 where there is no such file.
[[nodiscard]] uint64_t cost_of(const std::filesystem::path& path);
[[nodiscard]] uint64_t cost_of(int fd);
/// A directory itself and the regular files in it, not what is below; hard links (more than one
/// name) are left out.
[[nodiscard]] uint64_t cost_of_directory(const std::filesystem::path& path);

/// What an open segment may cost above its length: extent blocks of the file system.
inline constexpr uint64_t kExtentSlackBytes = 32 << 10;

/// Quota, freeze quota and segment size as they will be used; invalid says which flag is wrong.
[[nodiscard]] Result<StoreOptions> checked_options(StoreOptions options);
/// Space kept for the small files: directories that grow, freeze records.
[[nodiscard]] uint64_t small_files_reserve(uint64_t quota_bytes);
/// An upper bound for a directory with that many segments' names.
[[nodiscard]] uint64_t directory_estimate(uint64_t names);

}  // namespace lookback::store
