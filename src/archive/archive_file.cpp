#include "lookback/archive/archive_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace lookback::archive {

Result<Fd> open_archive_file(const std::filesystem::path& path, Links links) {
  std::error_code ec;
  if (links == Links::refuse && std::filesystem::is_symlink(std::filesystem::symlink_status(path, ec)))
    return fail(ErrorKind::corrupt, "{} is a symbolic link and not a file of the library", path.string());
  // O_NONBLOCK: a pipe is opened without a writer, and seen for what it is.
  TRY_ASSIGN(Fd fd, open_file(path, O_RDONLY | O_NONBLOCK | (links == Links::refuse ? O_NOFOLLOW : 0)));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno(errno, path.string());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::corrupt, "{} is not a regular file", path.string());
  return fd;
}

}  // namespace lookback::archive
