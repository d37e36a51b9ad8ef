#pragma once
// File descriptors that close themselves, and reads and writes that finish or say why not.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "lookback/base/result.hpp"

namespace lookback {

/// Owns a file descriptor. Movable, not copyable; closing errors are ignored (writers call sync() first).
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

/// open(2) with O_CLOEXEC; the error names the path. A new file is its owner's alone, unless `mode` says otherwise: most
/// files hold captured data.
[[nodiscard]] Result<Fd> open_file(const std::filesystem::path& path, int flags, mode_t mode = 0600);

/// Reads exactly buffer.size() bytes at offset; fewer is an error of kind corrupt ("ends early").
[[nodiscard]] Result<> pread_exact(int fd, std::span<std::byte> buffer, uint64_t offset);
/// Reads up to buffer.size() bytes at offset; returns what there was before the end of the file.
[[nodiscard]] Result<size_t> pread_some(int fd, std::span<std::byte> buffer, uint64_t offset);
/// Writes everything, whatever the kernel takes at a time.
[[nodiscard]] Result<> write_all(int fd, std::span<const std::byte> data);
[[nodiscard]] Result<> pwrite_all(int fd, std::span<const std::byte> data, uint64_t offset);
[[nodiscard]] Result<> sync_data(int fd);  ///< fdatasync
/// fsync of a directory, so that a rename or link in it is durable.
[[nodiscard]] Result<> sync_directory(const std::filesystem::path& directory);
[[nodiscard]] Result<uint64_t> file_size(int fd);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace lookback
