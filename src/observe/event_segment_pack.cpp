#include <zstd.h>

#include <cstring>
#include <memory>

#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/observe/event_segment.hpp"
#include "observe/event_segment_header.hpp"

namespace lookback::observe {
namespace {

constexpr int kLevel = 1;

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

Result<std::string> pack_event_segment(std::span<const std::byte> bytes) {
  TRY_ASSIGN(const EventSegmentHeader header, read_event_segment_header(bytes));
  if (header.version != kEventSegmentVersion)
    return fail(ErrorKind::corrupt, "an event segment that is packed already");
  if (bytes.size() > kMostEventSegmentBytes)
    return fail(ErrorKind::invalid, "an event segment of {} bytes", bytes.size());
  const auto records = bytes.subspan(sizeof header);
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(),
                                                                   ZSTD_freeCCtx);
  if (!context) return fail(ErrorKind::failed, "no memory to pack an event segment");
  for (const auto& [parameter, value] :
       {std::pair(ZSTD_c_compressionLevel, kLevel), std::pair(ZSTD_c_contentSizeFlag, 1),
        std::pair(ZSTD_c_checksumFlag, 1)})
    LOOKBACK_CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), parameter, value)));
  std::string packed =
      event_segment_header(header.sequence, header.created_ns, kPackedEventSegmentVersion);
  packed.resize(sizeof header + ZSTD_compressBound(records.size()));
  const size_t length =
      ZSTD_compress2(context.get(), packed.data() + sizeof header, packed.size() - sizeof header,
                     records.data(), records.size());
  if (ZSTD_isError(length))
    return fail(ErrorKind::failed, "an event segment cannot be packed ({})",
                ZSTD_getErrorName(length));
  packed.resize(sizeof header + length);
  return packed;
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
