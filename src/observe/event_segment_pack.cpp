#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/observe/event_segment.hpp"
#include "observe/event_segment_header.hpp"

namespace lookback::observe {
namespace {

/// A recorder has little memory: pieces and a window of this size pack as well as the whole does.
constexpr int kLevel = 1, kWindowLog = 18;
constexpr size_t kPieceBytes = 128 << 10;

/// What a frame says that it holds; corrupt where that is nothing or too much.
Result<uint64_t> declared_bytes(std::span<const std::byte> frame) {
  const unsigned long long bytes = ZSTD_getFrameContentSize(frame.data(), frame.size());
  if (bytes == ZSTD_CONTENTSIZE_ERROR || bytes == ZSTD_CONTENTSIZE_UNKNOWN)
    return fail(ErrorKind::corrupt, "a packed event segment without a whole frame");
  if (bytes > kMostEventSegmentBytes - sizeof(EventSegmentHeader))
    return fail(ErrorKind::corrupt, "a packed event segment of {} bytes, {} are allowed", bytes,
                kMostEventSegmentBytes);
  return bytes;
}

}  // namespace

Result<EventSegmentHeader> read_event_segment_header(std::span<const std::byte> bytes) {
  EventSegmentHeader header;
  if (bytes.size() < sizeof header)
    return fail(ErrorKind::corrupt, "an event segment ends in its header");
  std::memcpy(&header, bytes.data(), sizeof header);
  const uint32_t checksum = std::exchange(header.checksum, 0);
  if (std::memcmp(header.magic, kEventSegmentMagic, sizeof header.magic) != 0 ||
      crc32c(std::as_bytes(std::span(&header, 1))) != checksum)
    return fail(ErrorKind::corrupt, "not an event segment");
  if (header.version != kEventSegmentVersion && header.version != kPackedEventSegmentVersion)
    return fail(ErrorKind::corrupt, "an event segment of version {}", header.version);
  return header;
}

std::string event_segment_header(uint64_t sequence, int64_t created_ns, uint32_t version) {
  EventSegmentHeader header{};
  std::memcpy(header.magic, kEventSegmentMagic, sizeof header.magic);
  header.version = version;
  header.sequence = sequence;
  header.created_ns = created_ns;
  header.checksum = crc32c(std::as_bytes(std::span(&header, 1)));
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

std::string event_segment_header(uint64_t sequence, int64_t created_ns) {
  return event_segment_header(sequence, created_ns, kEventSegmentVersion);
}

Result<EventSegmentFront> read_event_segment_front(std::span<const std::byte> front,
                                                   uint64_t file_bytes) {
  TRY_ASSIGN(const EventSegmentHeader header, read_event_segment_header(front));
  EventSegmentFront found{header.sequence, header.created_ns, false, file_bytes};
  if (header.version == kEventSegmentVersion) return found;
  TRY_ASSIGN(const uint64_t records, declared_bytes(front.subspan(sizeof header)));
  found.packed = true;
  found.content_bytes = sizeof header + records;
  return found;
}

Result<std::string> pack_event_segment(uint64_t bytes, const ReadEventSegment& read) {
  if (bytes > kMostEventSegmentBytes)
    return fail(ErrorKind::invalid, "an event segment of {} bytes", bytes);
  std::vector<std::byte> piece(kPieceBytes), packed_piece(ZSTD_CStreamOutSize());
  EventSegmentHeader header;
  const auto front = std::span(piece).first(std::min<uint64_t>(bytes, sizeof header));
  TRY(read(front, 0));
  TRY_ASSIGN(header, read_event_segment_header(front));
  if (header.version != kEventSegmentVersion)
    return fail(ErrorKind::corrupt, "an event segment that is packed already");
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  if (!context) return fail(ErrorKind::failed, "no memory to pack an event segment");
  for (const auto& [parameter, value] :
       {std::pair(ZSTD_c_compressionLevel, kLevel), std::pair(ZSTD_c_windowLog, kWindowLog),
        std::pair(ZSTD_c_contentSizeFlag, 1), std::pair(ZSTD_c_checksumFlag, 1)})
    LOOKBACK_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), parameter, value)));
  LOOKBACK_CHECK(!ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context.get(), bytes - sizeof header)));
  std::string packed =
      event_segment_header(header.sequence, header.created_ns, kPackedEventSegmentVersion);
  for (uint64_t at = sizeof header;;) {
    const auto records = std::span(piece).first(std::min<uint64_t>(bytes - at, piece.size()));
    TRY(read(records, at));
    at += records.size();
    const bool last = at == bytes;
    ZSTD_inBuffer in{records.data(), records.size(), 0};
    for (bool more = true; more;) {
      ZSTD_outBuffer out{packed_piece.data(), packed_piece.size(), 0};
      const size_t left =
          ZSTD_compressStream2(context.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left))
        return fail(ErrorKind::failed, "an event segment cannot be packed ({})",
                    ZSTD_getErrorName(left));
      packed.append(reinterpret_cast<const char*>(packed_piece.data()), out.pos);
      more = last ? left != 0 : in.pos < in.size;
    }
    if (last) return packed;
  }
}

Result<std::string> pack_event_segment(std::span<const std::byte> bytes) {
  return pack_event_segment(bytes.size(), [&](std::span<std::byte> out, uint64_t offset) {
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return Result<>{};
  });
}

Result<std::string> unpack_event_segment(std::string bytes) {
  TRY_ASSIGN(const EventSegmentHeader header, read_event_segment_header(as_bytes(bytes)));
  if (header.version == kEventSegmentVersion) return bytes;
  const auto frame = as_bytes(bytes).subspan(sizeof header);
  TRY_ASSIGN(const uint64_t records, declared_bytes(frame));
  const size_t length = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(length))
    return fail(ErrorKind::corrupt, "a packed event segment is damaged or cut ({})",
                ZSTD_getErrorName(length));
  if (length != frame.size())
    return fail(ErrorKind::corrupt, "a packed event segment ends after {} of {} bytes", length,
                frame.size());
  std::string plain = event_segment_header(header.sequence, header.created_ns);
  plain.resize(sizeof header + records);
  const size_t decoded =
      ZSTD_decompress(plain.data() + sizeof header, records, frame.data(), frame.size());
  if (ZSTD_isError(decoded))
    return fail(ErrorKind::corrupt, "a packed event segment is damaged ({})",
                ZSTD_getErrorName(decoded));
  if (decoded != records)
    return fail(ErrorKind::corrupt, "a packed event segment holds {} bytes, {} are declared",
                decoded, records);
  return plain;
}

}  // namespace lookback::observe
