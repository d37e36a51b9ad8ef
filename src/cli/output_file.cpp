#include "cli/output_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "cli/terminal.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::cli {

namespace fs = std::filesystem;

namespace {

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path hidden_name(const fs::path& path) {
  return directory_of(path) / fmt::format(".{}.{}", path.filename().string(), random_hex(6));
}

/// Whether the path is a link of /proc to something that is open: it leads to that very thing, which
/// may have no name, or another one by now.
bool is_magic_link(const fs::path& path) {
  struct statfs system {};
  return ::statfs(directory_of(path).c_str(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/// Where writing to `path` ends up: links are followed, also one to a file that is not there yet.
fs::path behind_links(fs::path path) {
  constexpr int kMostLinks = 40;  // as the kernel's MAXSYMLINKS
  std::error_code ec;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, ec) && !is_magic_link(path); ++i) {
    const fs::path target = fs::read_symlink(path, ec);
    if (ec) break;
    path = target.is_absolute() ? target : directory_of(path) / target;
  }
  return path;
}

/// Whether a new file in its place can be made to look the same: one name, no attributes besides
/// the label that its folder gives it.
bool can_be_replaced(int fd, const struct stat& status) {
  if (status.st_nlink != 1) return false;
  char names[1024];
  const ssize_t size = ::flistxattr(fd, names, sizeof names);
  if (size < 0) return errno == ENOTSUP;
  for (std::string_view rest(names, static_cast<size_t>(size)); !rest.empty();) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    if (name != "security.selinux") return false;
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  }
  return true;
}

Result<> copy_all(int from, int to) {
  std::vector<std::byte> buffer(1 << 20);
  for (uint64_t offset = 0;;) {
    TRY_ASSIGN(const size_t got, pread_some(from, buffer, offset));
    if (got == 0) return {};
    TRY(write_all(to, std::span(buffer).first(got)));
    offset += got;
  }
}

/// A larger pipe saves switches between a fast export and its reader; where the kernel refuses, the
/// old size works too.
void widen_pipe(int fd) {
  (void)::fcntl(fd, F_SETPIPE_SZ, 1 << 20);
}

}  // namespace

Result<OutputFile> OutputFile::open(const std::string& path) {
  OutputFile out;
  if (path == "-") {
    if (is_terminal(STDOUT_FILENO)) {
      return fail(ErrorKind::invalid,
                  "standard output is a terminal, which binary data would garble: give -o FILE, or "
                  "pipe it into a program");
    }
    out.kind_ = Kind::standard_output;
    widen_pipe(STDOUT_FILENO);
    return out;
  }
  if (path.empty())
    return fail(ErrorKind::invalid, "the output file has an empty name: give -o FILE");
  out.path_ = behind_links(path);
  struct stat status {};
  if (::stat(out.path_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) {
      return fail(ErrorKind::invalid, "{} is a directory: give -o a file's name", path);
    }
    const bool direct = !S_ISREG(status.st_mode) || is_magic_link(out.path_);
    TRY_ASSIGN(Fd existing, open_file(out.path_, O_WRONLY));
    if (direct) {
      // As a shell's > does with such a file.
      if (S_ISREG(status.st_mode) && ::ftruncate(existing.get(), 0) != 0)
        return fail_errno(errno, fmt::format("cannot empty {}", path));
      out.fd_ = std::move(existing);
      out.kind_ = Kind::direct;
      if (S_ISFIFO(status.st_mode)) widen_pipe(out.fd_.get());
      return out;
    }
    out.old_ = std::move(existing);
  }
  const int unnamed = ::open(directory_of(out.path_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) {
    out.fd_ = Fd(unnamed);
    out.kind_ = Kind::unnamed;
    return out;
  }
  if (errno == EACCES && out.old_) {
    // Only the file may be written, not its folder: as a shell's > does.
    if (::ftruncate(out.old_.get(), 0) != 0)
      return fail_errno(errno, fmt::format("cannot empty {}", path));
    out.fd_ = std::move(out.old_);
    out.kind_ = Kind::direct;
    return out;
  }
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return fail_errno(errno, fmt::format("cannot write into {}", directory_of(out.path_).string()));
  }
  const fs::path hidden = hidden_name(out.path_);
  TRY_ASSIGN(out.fd_, open_file(hidden, O_RDWR | O_CREAT | O_EXCL));
  out.hidden_ = hidden;
  out.kind_ = Kind::hidden;
  return out;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : kind_(other.kind_),
      fd_(std::move(other.fd_)),
      old_(std::move(other.old_)),
      path_(std::move(other.path_)),
      hidden_(std::exchange(other.hidden_, {})),
      bytes_(other.bytes_),
      reader_gone_(other.reader_gone_) {}

OutputFile::~OutputFile() {
  if (!hidden_.empty()) ::unlink(hidden_.c_str());
}

std::string OutputFile::name() const {
  return kind_ == Kind::standard_output ? "standard output" : path_.string();
}

fs::path OutputFile::content_path() const {
  return fmt::format("/proc/self/fd/{}", fd_.get());
}

Result<> OutputFile::write(std::span<const std::byte> data) {
  const int fd = kind_ == Kind::standard_output ? STDOUT_FILENO : fd_.get();
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE) {
        reader_gone_ = true;
        return fail(ErrorKind::cancelled, "nobody reads {} any more", name());
      }
      return fail_errno(errno, fmt::format("cannot write {}", name()));
    }
    bytes_ += static_cast<uint64_t>(n);
    data = data.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<> OutputFile::commit(bool durable) {
  if (!is_file()) return {};
  if (durable) TRY(sync_data(fd_.get()));
  TRY(old_ ? commit_over_old() : give_name());
  if (durable && old_) TRY(sync_data(old_.get()));
  if (durable) TRY(sync_directory(directory_of(path_)));
  return {};
}

/// In place of the old file where the new one can look the same, and into it where not: somebody
/// else's file that this user may write to, one with several names, with an access list.
Result<> OutputFile::commit_over_old() {
  struct stat status {};
  if (::fstat(old_.get(), &status) != 0)
    return fail_errno(errno, fmt::format("cannot replace {}", path_.string()));
  constexpr mode_t kPermissions = 0777;
  if (can_be_replaced(old_.get(), status) &&
      ::fchown(fd_.get(), status.st_uid, status.st_gid) == 0 &&
      ::fchmod(fd_.get(), status.st_mode & kPermissions) == 0) {
    TRY(give_name());
    old_.reset();
    return {};
  }
  if (::ftruncate(old_.get(), 0) != 0)
    return fail_errno(errno, fmt::format("cannot empty {}", path_.string()));
  if (auto copied = copy_all(fd_.get(), old_.get()); !copied)
    return tl::make_unexpected(copied.error().in(fmt::format("cannot write {}", path_.string())));
  return {};
}

/// Over what may stand there.
Result<> OutputFile::give_name() {
  if (kind_ == Kind::unnamed) {
    const std::string self = content_path().string();
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      if (errno != EEXIST)
        return fail_errno(errno, fmt::format("cannot name the file {}", path_.string()));
      // link(2) never replaces: take a hidden name, then rename(2) over the old file.
      const fs::path hidden = hidden_name(path_);
      if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, hidden.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        return fail_errno(errno, fmt::format("cannot write into {}", directory_of(path_).string()));
      }
      hidden_ = hidden;
    }
  }
  if (!hidden_.empty()) {
    if (::rename(hidden_.c_str(), path_.c_str()) != 0) {
      return fail_errno(errno, fmt::format("cannot replace {}", path_.string()));
    }
    hidden_.clear();
  }
  return {};
}

}  // namespace lookback::cli
