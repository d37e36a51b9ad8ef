#include "lookback/base/file.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "lookback/base/hash.hpp"

namespace lookback {

namespace fs = std::filesystem;

Result<std::string> read_file(const fs::path& path, uint64_t limit) {
  TRY_ASSIGN(const Fd fd, open_file(path, O_RDONLY));
  std::string content;
  char chunk[65536];
  for (;;) {
    const ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno(errno, fmt::format("cannot read {}", path.string()));
    }
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > limit) {
      return fail(ErrorKind::invalid, "{} is larger than the {} bytes expected at most", path.string(),
                  limit);
    }
    content.append(chunk, static_cast<size_t>(n));
  }
}

Result<> write_file_atomically(const fs::path& path, std::string_view content, mode_t mode) {
  const fs::path temporary = path.parent_path() / fmt::format(".{}.{}", path.filename().string(), random_hex(6));
  const auto written = [&]() -> Result<> {
    TRY_ASSIGN(const Fd fd, open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    TRY(write_all(fd.get(), as_bytes(content)));
    if (::fsync(fd.get()) != 0) return fail_errno(errno, "fsync");
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno(errno, "rename");
    return sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
  }();
  if (!written) {
    ::unlink(temporary.c_str());
    return tl::make_unexpected(written.error().in(fmt::format("cannot write {}", path.string())));
  }
  return {};
}

Result<> rename_exclusively(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EINVAL || errno == ENOSYS) {
    // A file system without RENAME_NOREPLACE: link(2) refuses an existing name just as well.
    if (::link(from.c_str(), to.c_str()) == 0) {
      ::unlink(from.c_str());
      return {};
    }
  }
  return fail_errno(errno, fmt::format("cannot rename to {}", to.string()));
}

Result<> make_directories(const fs::path& path, mode_t mode) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) return {};
  if (path.has_parent_path() && path.parent_path() != path) TRY(make_directories(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail_errno(errno, fmt::format("cannot create the directory {}", path.string()));
  if (!fs::is_directory(path, ec)) return fail(ErrorKind::failed, "{} is not a directory", path.string());
  return {};
}

Result<DiskSpace> disk_space(const fs::path& path) {
  struct statvfs st {};
  if (::statvfs(path.c_str(), &st) != 0)
    return fail_errno(errno, fmt::format("cannot tell the space on {}", path.string()));
  return DiskSpace{static_cast<uint64_t>(st.f_blocks) * st.f_frsize,
                   static_cast<uint64_t>(st.f_bavail) * st.f_frsize};
}

Result<FileLock> FileLock::acquire(const fs::path& path) {
  TRY_ASSIGN(Fd fd, open_file(path, O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return fail(ErrorKind::conflict, "another process holds {}", path.string());
    return fail_errno(errno, fmt::format("cannot lock {}", path.string()));
  }
  return FileLock(std::move(fd));
}

}  // namespace lookback
