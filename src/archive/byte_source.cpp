#include "lookback/archive/byte_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace lookback::archive {

namespace {

class FileSource final : public ByteSource {
 public:
  FileSource(std::string name, Fd fd, uint64_t size) : name_(std::move(name)), fd_(std::move(fd)), size_(size) {}
  const std::string& name() const override { return name_; }
  uint64_t size() const override { return size_; }
  Result<> read_at(std::span<std::byte> out, uint64_t offset) const override { return pread_exact(fd_.get(), out, offset); }
  void expect_sequential() const override { ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL); }

 private:
  const std::string name_;
  const Fd fd_;
  const uint64_t size_;
};

}  // namespace

Result<std::shared_ptr<const ByteSource>> open_file_source(const std::filesystem::path& path, Links links) {
  std::error_code ec;
  if (links == Links::refuse && std::filesystem::is_symlink(std::filesystem::symlink_status(path, ec)))
    return fail(ErrorKind::corrupt, "{} is a symbolic link and not a file of the library", path.string());
  // O_NONBLOCK: a pipe is opened without a writer, and seen for what it is.
  TRY_ASSIGN(Fd fd, open_file(path, O_RDONLY | O_NONBLOCK | (links == Links::refuse ? O_NOFOLLOW : 0)));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno(errno, path.string());
  if (!S_ISREG(st.st_mode)) return fail(ErrorKind::corrupt, "{} is not a regular file", path.string());
  return std::make_shared<FileSource>(path.string(), std::move(fd), static_cast<uint64_t>(st.st_size));
}

}  // namespace lookback::archive
