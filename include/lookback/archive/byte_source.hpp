#pragma once
// Bytes that can be read at any place: what an archive is read from. A file is one.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Does not change while it is read. Any thread.
class ByteSource {
 public:
  ByteSource() = default;
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  /// For messages: the file's path.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual uint64_t size() const = 0;
  /// Fills `out`. Kind corrupt where the bytes end before that.
  [[nodiscard]] virtual Result<> read_at(std::span<std::byte> out, uint64_t offset) const = 0;
  /// All of it is read soon, from its start to its end.
  virtual void expect_sequential() const {}
};

/// Whether a symbolic link in the place of the file counts as it.
enum class Links { follow, refuse };

/// Kind corrupt for a pipe, a folder, a device, or a refused link.
[[nodiscard]] Result<std::shared_ptr<const ByteSource>> open_file_source(const std::filesystem::path& path, Links links = Links::follow);

}  // namespace lookback::archive
