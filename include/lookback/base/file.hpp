#pragma once
// Whole files: small ones read at once, new ones that appear complete or not at all, and disk space. What is made here
// is its owner's alone: captured data is nobody else's.

#include <cstdint>
#include <filesystem>
#include <string>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback {

/// Reads a whole file of at most `limit` bytes; a larger one is an error of kind invalid.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path, uint64_t limit = 64 << 20);

/// Replaces `path` with `content` so that after a crash either the old or the new file is there, whole:
/// temporary name, fsync, rename, fsync of the directory.
[[nodiscard]] Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content,
                                             mode_t mode = 0600);

/// Renames without replacing: kind conflict where `to` exists. Both on one file system.
[[nodiscard]] Result<> rename_exclusively(const std::filesystem::path& from,
                                          const std::filesystem::path& to);

/// Makes the folder and those above it that are missing, for their owner alone. Folders that are there keep their mode.
[[nodiscard]] Result<> make_directories(const std::filesystem::path& path, mode_t mode = 0700);

struct DiskSpace {
  uint64_t total_bytes;
  uint64_t available_bytes;  ///< to an unprivileged user (statvfs f_bavail)
};
[[nodiscard]] Result<DiskSpace> disk_space(const std::filesystem::path& path);

/// Holds an exclusive flock on `path` for the object's life; kind conflict when somebody else has it.
class FileLock {
 public:
  [[nodiscard]] static Result<FileLock> acquire(const std::filesystem::path& path);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace lookback
