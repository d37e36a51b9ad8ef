#pragma once
// Where things stand in an archive file: members as the manifest orders them, then manifest.json, the tar end, the seek table.

#include <cstdint>
#include <functional>
#include <string>

#include "archive/seek_table.hpp"
#include "lookback/archive/byte_source.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Content bytes of a frame of the manifest; all but its last are this long.
inline constexpr uint64_t kManifestFrame = 1 << 20;
/// A manifest larger than this, or than the file can account for, is a bomb.
inline constexpr uint64_t kMaxManifestBytes = 1ULL << 30;
/// What a manifest may have in an archive of so many bytes: more than JSON of this kind compresses, so that a small file
/// cannot claim a large manifest.
[[nodiscard]] constexpr uint64_t max_manifest_bytes(uint64_t file_bytes) {
  constexpr uint64_t kFree = 16ULL << 20, kMostRatio = 128;
  return file_bytes > (kMaxManifestBytes - kFree) / kMostRatio ? kMaxManifestBytes : kFree + kMostRatio * file_bytes;
}

/// The manifest as found from the end of the file.
struct FoundManifest {
  std::string text;
  uint64_t first_frame = 0;  ///< index of its header frame in the seek table
};
[[nodiscard]] Result<FoundManifest> find_manifest(const ByteSource& source, const SeekTable& table);

/// What a frame of the file is.
enum class FrameRole { header, content, padding, end };

struct PlacedFrame {
  FrameRole role = FrameRole::header;
  const MemberEntry* member = nullptr;  ///< null: of manifest.json
  size_t index = 0;                     ///< of a content frame in its member
  SeekEntry size;
  uint64_t archive_offset = 0, content_offset = 0;
};

/// Walks the whole seek table and holds each entry against the manifest; calls `visit` for each frame, in order. Kind corrupt names the
/// first member that stands elsewhere.
[[nodiscard]] Result<> walk_layout(const SeekTable& table, const Manifest& manifest, uint64_t manifest_first_frame,
                                   uint64_t manifest_bytes, const std::function<Result<>(const PlacedFrame&)>& visit);

}  // namespace lookback::archive
