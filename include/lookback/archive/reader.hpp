#pragma once
// Reads a published archive frame by frame, in any order.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "lookback/archive/byte_source.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Reads a published archive by its seek table and manifest. Thread-safe after open.
class ArchiveReader {
 public:
  /// Finds the manifest by the seek table and believes it only where both agree on every frame's place and size.
  /// corrupt: no seek table, a truncated file, no manifest — the message says which and what to do (verify, download again).
  [[nodiscard]] static Result<std::shared_ptr<ArchiveReader>> open(std::shared_ptr<const ByteSource> source);
  [[nodiscard]] static Result<std::shared_ptr<ArchiveReader>> open(const std::filesystem::path& path);
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] uint64_t file_bytes() const { return source_->size(); }
  /// Decodes frame `index` of a member of manifest() into `out` (resized). `compressed` is scratch memory.
  [[nodiscard]] Result<> read_frame(const MemberEntry& member, size_t index, FrameDecoder& decoder,
                                    std::vector<std::byte>& compressed, std::vector<std::byte>& out) const;
  /// A whole small member's content (kubernetes/…, tests), held against its SHA-256. Invalid above 256 MiB.
  [[nodiscard]] Result<std::vector<std::byte>> read_member(const MemberEntry& member) const;

 private:
  ArchiveReader() = default;
  std::shared_ptr<const ByteSource> source_;
  Manifest manifest_;
};

}  // namespace lookback::archive
