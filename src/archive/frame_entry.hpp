#pragma once
// FrameEntry as JSON, the same in member headers, journals and manifests:
// [compressed bytes, content bytes, first ns, last ns, packets, summary].

#include <span>
#include <string>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/json.hpp"

namespace lookback::archive {

/// Appends `text` as a JSON string; bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);
/// Appends the array of all frames.
void append_frames(std::string& out, std::span<const FrameEntry> frames);
/// Reads the array, at most `limit` frames long, and checks each frame by itself.
[[nodiscard]] Result<std::vector<FrameEntry>> frames_from_json(const Json& array, size_t limit);

/// What is true of every frame: sizes within limits, times in order, a summary of graphic ASCII. Kind corrupt.
[[nodiscard]] Result<> check_frame_entry(const FrameEntry& frame);
/// 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_sha256_text(std::string_view text);

/// Sums over frames; each frame has passed check_frame_entry, so that nothing overflows.
struct FrameTotals {
  uint64_t compressed_bytes = 0, content_bytes = 0, packets = 0;
};
[[nodiscard]] FrameTotals total_of(std::span<const FrameEntry> frames);

}  // namespace lookback::archive
