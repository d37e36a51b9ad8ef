#pragma once
// Zstandard frames (RFC 8878) as the archive allows them: one content each, its size stated in the header, closed by
// a content checksum, and small enough that nobody who decodes one has to trust it first.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::archive {

/// The most content one frame may hold.
inline constexpr uint64_t kMaxFrameContent = 4 << 20;
/// The largest window a frame may ask a decoder for (RFC 8878 3.1.1.1.2); what every decoder must grant.
inline constexpr uint64_t kMaxFrameWindow = 8 << 20;

/// The most bytes that an honest compressor makes of `content_bytes` (at most kMaxFrameContent).
[[nodiscard]] uint64_t max_compressed_bytes(uint64_t content_bytes);

/// What the first bytes of a frame say (RFC 8878 3.1.1.1).
struct FrameHeader {
  uint64_t content_bytes = 0;
  uint64_t window_bytes = 0;
};

/// Reads a frame's header from its first bytes (18 are always enough) and holds it against the archive's rules: content
/// size present and at most kMaxFrameContent, checksum present, no dictionary, window at most
/// kMaxFrameWindow, unused and reserved bits zero. Skippable and legacy frames are refused. Kind corrupt.
[[nodiscard]] Result<FrameHeader> read_frame_header(std::span<const std::byte> frame);

/// The length of the frame at the front of `data`, by its block headers; corrupt when it does not end inside.
[[nodiscard]] Result<size_t> frame_length(std::span<const std::byte> data);

/// Compresses `content` (at most kMaxFrameContent) into one frame with content size and checksum. The same content gives
/// the same bytes. Reuses its context; one thread.
class FrameEncoder {
 public:
  explicit FrameEncoder(int level = 1);
  ~FrameEncoder();
  FrameEncoder(FrameEncoder&&) noexcept;
  FrameEncoder& operator=(FrameEncoder&&) noexcept;
  /// Appends the frame to `out`, returns its size.
  size_t encode(std::span<const std::byte> content, std::vector<std::byte>& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Decodes exactly one frame, and refuses (kind corrupt): trailing or missing bytes, a content other than
/// `out.size()` bytes, a checksum that does not hold, and whatever read_frame_header refuses. Reuses its context; one thread.
class FrameDecoder {
 public:
  FrameDecoder();
  ~FrameDecoder();
  FrameDecoder(FrameDecoder&&) noexcept;
  FrameDecoder& operator=(FrameDecoder&&) noexcept;
  /// `out` must be as long as the content is declared to be.
  [[nodiscard]] Result<> decode(std::span<const std::byte> frame, std::span<std::byte> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lookback::archive
