#pragma once
// A file read from front to back, unpacked on the way where it is in gzip (RFC 1952, several members too) or zstd.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "lookback/base/result.hpp"

namespace lookback::exporter {

class InputFile {
 public:
  [[nodiscard]] static Result<std::unique_ptr<InputFile>> open(const std::filesystem::path& path);
  virtual ~InputFile() = default;
  /// The next bytes of the content, at least one unless it ends or `out` is empty. Kind corrupt: damaged, or cut inside the packing.
  [[nodiscard]] virtual Result<size_t> read(std::span<std::byte> out) = 0;
  /// Bytes taken from the file so far.
  [[nodiscard]] virtual uint64_t position() const = 0;
};

}  // namespace lookback::exporter
