#include "lookback/archive/frame.hpp"

// For ZSTD_c_literalCompressionMode.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <cstring>

namespace lookback::archive {

namespace {

constexpr uint32_t kFrameMagic = 0xFD2FB528;
constexpr uint32_t kSkippableMagic = 0x184D2A50;  // … 0x184D2A5F

uint64_t read_little_endian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) value = value << 8 | std::to_integer<uint64_t>(bytes[i - 1]);
  return value;
}

}  // namespace

uint64_t max_compressed_bytes(uint64_t content_bytes) { return ZSTD_compressBound(content_bytes); }

// Read by hand and not by ZSTD_getFrameHeader: that one is outside the library's stable interface, and passes over the
// unused bit, which would let one frame be written in two ways.
Result<FrameHeader> read_frame_header(std::span<const std::byte> frame) {
  if (frame.size() < 6) return fail(ErrorKind::corrupt, "a frame ends inside its header");
  const auto magic = static_cast<uint32_t>(read_little_endian(frame.first(4)));
  if ((magic & 0xFFFFFFF0) == kSkippableMagic)
    return fail(ErrorKind::corrupt, "a skippable frame where content was expected");
  if (magic != kFrameMagic) return fail(ErrorKind::corrupt, "not a zstd frame");

  const auto descriptor = std::to_integer<uint8_t>(frame[4]);
  if ((descriptor & 0x18) != 0) return fail(ErrorKind::corrupt, "a frame header with reserved bits set");
  if ((descriptor & 0x03) != 0) return fail(ErrorKind::corrupt, "a frame that needs a dictionary");
  if ((descriptor & 0x04) == 0) return fail(ErrorKind::corrupt, "a frame without checksum");
  const bool single_segment = (descriptor & 0x20) != 0;
  const unsigned size_code = descriptor >> 6;
  if (size_code == 0 && !single_segment) return fail(ErrorKind::corrupt, "a frame without content size");
  const size_t size_bytes = size_t{1} << size_code;
  const size_t size_at = single_segment ? 5 : 6;
  if (frame.size() < size_at + size_bytes) return fail(ErrorKind::corrupt, "a frame ends inside its header");

  FrameHeader header;
  header.content_bytes = read_little_endian(frame.subspan(size_at, size_bytes));
  if (size_bytes == 2) header.content_bytes += 256;
  if (header.content_bytes > kMaxFrameContent)
    return fail(ErrorKind::corrupt, "a frame of {} bytes content, {} are allowed", header.content_bytes, kMaxFrameContent);
  if (single_segment) {
    header.window_bytes = header.content_bytes;
  } else {
    const auto window = std::to_integer<unsigned>(frame[5]);
    const uint64_t base = uint64_t{1} << (10 + (window >> 3));
    header.window_bytes = base + base / 8 * (window & 7);
    if (header.window_bytes > kMaxFrameWindow)
      return fail(ErrorKind::corrupt, "a frame with a window of {} bytes, {} are allowed", header.window_bytes, kMaxFrameWindow);
  }
  return header;
}

Result<size_t> frame_length(std::span<const std::byte> data) {
  TRY(read_frame_header(data));
  const size_t length = ZSTD_findFrameCompressedSize(data.data(), data.size());
  if (ZSTD_isError(length)) return fail(ErrorKind::corrupt, "a damaged or cut frame ({})", ZSTD_getErrorName(length));
  return length;
}

/// The fastest level's hash table, made small enough to stay in the nearest cache, and its steps a little longer: a sixth less
/// time for one to five per cent more bytes. Long steps alone would switch entropy coding off, hence the last.
constexpr int kFastLevel = 1, kFastHashLog = 13, kFastStep = 2;

struct FrameEncoder::Impl {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::unique_ptr<std::byte[]> scratch;
  size_t scratch_bytes = 0;

  explicit Impl(int level) {
    LOOKBACK_CHECK(context != nullptr);
    set(ZSTD_c_compressionLevel, level);
    if (level == kFastLevel) {
      set(ZSTD_c_hashLog, kFastHashLog);
      // Not of the library's stable interface: another one may not have it.
      const auto coded = ZSTD_CCtx_setParameter(context, ZSTD_c_literalCompressionMode, ZSTD_lcm_huffman);
      if (!ZSTD_isError(coded)) set(ZSTD_c_targetLength, kFastStep);
    }
    set(ZSTD_c_contentSizeFlag, 1);
    set(ZSTD_c_checksumFlag, 1);
  }
  ~Impl() { ZSTD_freeCCtx(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  void set(ZSTD_cParameter parameter, int value) const {
    LOOKBACK_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)));
  }
};

FrameEncoder::FrameEncoder(int level) : impl_(std::make_unique<Impl>(level)) {}
FrameEncoder::~FrameEncoder() = default;
FrameEncoder::FrameEncoder(FrameEncoder&&) noexcept = default;
FrameEncoder& FrameEncoder::operator=(FrameEncoder&&) noexcept = default;

size_t FrameEncoder::encode(std::span<const std::byte> content, std::vector<std::byte>& out) {
  LOOKBACK_CHECK(content.size() <= kMaxFrameContent);
  Impl& impl = *impl_;
  const size_t bound = ZSTD_compressBound(content.size());
  if (bound > impl.scratch_bytes) {
    impl.scratch = std::make_unique_for_overwrite<std::byte[]>(bound);
    impl.scratch_bytes = bound;
  }
  const size_t size = ZSTD_compress2(impl.context, impl.scratch.get(), bound, content.data(), content.size());
  // The destination is large enough for any content; only a lack of memory is left to fail.
  LOOKBACK_CHECK(!ZSTD_isError(size));
  out.insert(out.end(), impl.scratch.get(), impl.scratch.get() + size);
  return size;
}

struct FrameDecoder::Impl {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Impl() { LOOKBACK_CHECK(context != nullptr); }
  ~Impl() { ZSTD_freeDCtx(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

FrameDecoder::FrameDecoder() : impl_(std::make_unique<Impl>()) {}
FrameDecoder::~FrameDecoder() = default;
FrameDecoder::FrameDecoder(FrameDecoder&&) noexcept = default;
FrameDecoder& FrameDecoder::operator=(FrameDecoder&&) noexcept = default;

Result<> FrameDecoder::decode(std::span<const std::byte> frame, std::span<std::byte> out) {
  TRY_ASSIGN(const FrameHeader header, read_frame_header(frame));
  if (header.content_bytes != out.size())
    return fail(ErrorKind::corrupt, "a frame says that it holds {} bytes, {} are declared", header.content_bytes, out.size());
  TRY_ASSIGN(const size_t length, frame_length(frame));
  if (length != frame.size())
    return fail(ErrorKind::corrupt, "a frame ends after {} of {} bytes", length, frame.size());
  const size_t decoded = ZSTD_decompressDCtx(impl_->context, out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(decoded)) return fail(ErrorKind::corrupt, "a damaged frame ({})", ZSTD_getErrorName(decoded));
  if (decoded != out.size())
    return fail(ErrorKind::corrupt, "a frame decodes to {} bytes, {} are declared", decoded, out.size());
  return {};
}

}  // namespace lookback::archive
