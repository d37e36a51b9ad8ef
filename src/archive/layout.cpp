#include "archive/layout.hpp"

#include <algorithm>

#include "archive/member_entry.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/tar.hpp"

namespace lookback::archive {

namespace {

Result<std::vector<std::byte>> decode_frame_at(const ByteSource& source, uint64_t offset, const SeekEntry& size, FrameDecoder& decoder) {
  if (size.content_bytes > kMaxFrameContent || size.compressed_bytes > max_compressed_bytes(size.content_bytes))
    return fail(ErrorKind::corrupt, "a frame of {} bytes for {} bytes content", size.compressed_bytes, size.content_bytes);
  std::vector<std::byte> frame(size.compressed_bytes), content(size.content_bytes);
  TRY(source.read_at(frame, offset));
  TRY(decoder.decode(frame, content));
  return content;
}

/// The entries that belong to the manifest: from its header to the tar end. Sizes tell them apart from behind: the end has
/// 1024 bytes, padding fewer than 512, all contents but the last 1 MiB, the header 512.
Result<uint64_t> first_entry_of_manifest(const std::vector<SeekEntry>& tail) {
  const auto none = [] { return fail(ErrorKind::corrupt, "its frames do not end in a manifest"); };
  size_t at = tail.size();
  if (at < 3 || tail[--at].content_bytes != kTarEndBytes) return none();
  if (tail[at - 1].content_bytes < kTarBlock) --at;
  if (at == 0) return none();
  --at;  // the last content, of any size
  while (at > 0 && tail[at - 1].content_bytes == kManifestFrame) --at;
  if (at == 0 || tail[at - 1].content_bytes != kTarBlock) return none();
  return at - 1;
}

}  // namespace

Result<FoundManifest> find_manifest(const ByteSource& source, const SeekTable& table) {
  // The tail that can belong to it: header, contents, padding, end.
  const uint64_t limit = max_manifest_bytes(source.size());
  const uint64_t window = std::min<uint64_t>(table.size(), limit / kManifestFrame + 4);
  TRY_ASSIGN(const std::vector<SeekEntry> tail, table.read(table.size() - window, static_cast<size_t>(window)));
  TRY_ASSIGN(const uint64_t first, first_entry_of_manifest(tail));
  uint64_t bytes = 0, content = 0;
  for (size_t i = first; i < tail.size(); ++i) {
    bytes += tail[i].compressed_bytes;
    content += tail[i].content_bytes;
  }
  if (bytes > table.offset() || content > limit) return fail(ErrorKind::corrupt, "its manifest is larger than any");

  FrameDecoder decoder;
  uint64_t offset = table.offset() - bytes;
  TRY_ASSIGN(const auto header_bytes, decode_frame_at(source, offset, tail[first], decoder));
  TRY_ASSIGN(const TarHeader header, parse_tar_header(header_bytes));
  if (header.name != kManifestName) return fail(ErrorKind::corrupt, "its last member is {} and not {}", header.name, kManifestName);
  if (header.size > content) return fail(ErrorKind::corrupt, "its manifest is cut short");
  offset += tail[first].compressed_bytes;

  FoundManifest found;
  found.first_frame = table.size() - window + first;
  found.text.reserve(header.size);
  for (size_t i = first + 1; found.text.size() < header.size; ++i) {
    if (i + 1 >= tail.size()) return fail(ErrorKind::corrupt, "its manifest is cut short");
    auto part = decode_frame_at(source, offset, tail[i], decoder);
    if (!part) return tl::make_unexpected(part.error().in(kManifestName));
    found.text += as_text(*part);
    offset += tail[i].compressed_bytes;
  }
  if (found.text.size() != header.size) return fail(ErrorKind::corrupt, "its manifest is longer than its tar header says");
  return found;
}

namespace {

class Walk {
 public:
  Walk(const SeekTable& table, const std::function<Result<>(const PlacedFrame&)>& visit) : cursor_(table), visit_(visit) {}

  /// A header, the contents that `sizes` gives, padding. The error does not name the member.
  Result<> member(const MemberEntry* entry, uint64_t size, size_t contents, const std::function<Result<>(size_t, const SeekEntry&)>& check) {
    const auto is_header = [](const SeekEntry& frame) -> Result<> {
      if (frame.content_bytes == 0 || frame.content_bytes % kTarBlock != 0 || frame.content_bytes > kMaxTarHeader)
        return fail(ErrorKind::corrupt, "the seek table has no tar header in front of it");
      return {};
    };
    TRY(step(FrameRole::header, entry, 0, is_header));
    if (entry != nullptr && (cursor_.archive_offset() != entry->archive_offset || cursor_.content_offset() != entry->content_offset))
      return fail(ErrorKind::corrupt, "the seek table has it elsewhere than the manifest");
    for (size_t i = 0; i < contents; ++i)
      TRY(step(FrameRole::content, entry, i, [&](const SeekEntry& frame) { return check(i, frame); }));
    if (const uint64_t padding = tar_padding(size); padding != 0) {
      const auto is_padding = [&](const SeekEntry& frame) -> Result<> {
        if (frame.content_bytes != padding) return fail(ErrorKind::corrupt, "the seek table has no padding behind it");
        return {};
      };
      TRY(step(FrameRole::padding, entry, 0, is_padding));
    }
    return {};
  }

  Result<> end() {
    return step(FrameRole::end, nullptr, 0, [](const SeekEntry& frame) -> Result<> {
      if (frame.content_bytes != kTarEndBytes) return fail(ErrorKind::corrupt, "no tar end behind the manifest");
      return {};
    });
  }

  [[nodiscard]] const SeekCursor& cursor() const { return cursor_; }

 private:
  Result<> step(FrameRole role, const MemberEntry* entry, size_t index, const std::function<Result<>(const SeekEntry&)>& check) {
    PlacedFrame frame{role, entry, index, {}, cursor_.archive_offset(), cursor_.content_offset()};
    TRY_ASSIGN(frame.size, cursor_.next());
    TRY(check(frame.size));
    if (frame.size.content_bytes > kMaxFrameContent || frame.size.compressed_bytes > max_compressed_bytes(frame.size.content_bytes))
      return fail(ErrorKind::corrupt, "a frame of {} bytes for {} bytes content", frame.size.compressed_bytes, frame.size.content_bytes);
    return visit_(frame);
  }

  SeekCursor cursor_;
  const std::function<Result<>(const PlacedFrame&)>& visit_;
};

}  // namespace

Result<> walk_layout(const SeekTable& table, const Manifest& manifest, uint64_t manifest_first_frame, uint64_t manifest_bytes,
                     const std::function<Result<>(const PlacedFrame&)>& visit) {
  Walk walk(table, visit);
  for (const MemberEntry& entry : manifest.members) {
    auto walked = walk.member(&entry, entry.size, entry.frames.size(), [&](size_t i, const SeekEntry& frame) -> Result<> {
      if (frame.compressed_bytes != entry.frames[i].compressed_bytes || frame.content_bytes != entry.frames[i].content_bytes)
        return fail(ErrorKind::corrupt, "the seek table has its frame {} of another size than the manifest", i + 1);
      return {};
    });
    if (!walked) return tl::make_unexpected(walked.error().in(entry.name));
  }
  if (walk.cursor().index() != manifest_first_frame)
    return fail(ErrorKind::corrupt, "something stands in front of {} that it does not name", kManifestName);
  const auto contents = static_cast<size_t>((manifest_bytes + kManifestFrame - 1) / kManifestFrame);
  auto walked = walk.member(nullptr, manifest_bytes, contents, [&](size_t i, const SeekEntry& frame) -> Result<> {
    if (frame.content_bytes != std::min(kManifestFrame, manifest_bytes - i * kManifestFrame))
      return fail(ErrorKind::corrupt, "its frame {} is of a wrong size", i + 1);
    return {};
  });
  if (!walked) return tl::make_unexpected(walked.error().in(kManifestName));
  TRY(walk.end());
  if (walk.cursor().index() != table.size() || walk.cursor().archive_offset() != table.offset())
    return fail(ErrorKind::corrupt, "something stands behind {}", kManifestName);
  return {};
}

}  // namespace lookback::archive
