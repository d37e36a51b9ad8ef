#include "cli/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

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
  out.path_ = path;
  std::error_code ec;
  // Writing through a symbolic link changes what it points to, as with any other program.
  if (fs::is_symlink(out.path_, ec)) {
    if (const fs::path target = fs::canonical(out.path_, ec); !ec) out.path_ = target;
  }
  struct stat status {};
  if (::stat(out.path_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) {
      return fail(ErrorKind::invalid, "{} is a directory: give -o a file's name", path);
    }
    if (!S_ISREG(status.st_mode)) {
      TRY_ASSIGN(out.fd_, open_file(out.path_, O_WRONLY));
      out.kind_ = Kind::direct;
      if (S_ISFIFO(status.st_mode)) widen_pipe(out.fd_.get());
      return out;
    }
  }
  const int unnamed = ::open(directory_of(out.path_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (unnamed >= 0) {
    out.fd_ = Fd(unnamed);
    out.kind_ = Kind::unnamed;
    return out;
  }
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return fail_errno(errno, fmt::format("cannot write into {}", directory_of(out.path_).string()));
  }
  const fs::path hidden = hidden_name(out.path_);
  TRY_ASSIGN(out.fd_, open_file(hidden, O_RDWR | O_CREAT | O_EXCL, 0666));
  out.hidden_ = hidden;
  out.kind_ = Kind::hidden;
  return out;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : kind_(other.kind_),
      fd_(std::move(other.fd_)),
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
  if (durable) TRY(sync_directory(directory_of(path_)));
  return {};
}

}  // namespace lookback::cli
