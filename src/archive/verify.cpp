#include "lookback/archive/verify.hpp"

#include <algorithm>

#include "archive/layout.hpp"
#include "archive/member_entry.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::archive {

namespace {

class Verifier {
 public:
  Verifier(const ByteSource& source, std::string_view manifest_text, const ContentVisitor& visit)
      : source_(source), manifest_text_(manifest_text), visit_(visit) {}

  Result<> check(const PlacedFrame& placed) {
    compressed_.resize(placed.size.compressed_bytes);
    content_.resize(placed.size.content_bytes);
    TRY(source_.read_at(compressed_, placed.archive_offset));
    TRY(decoder_.decode(compressed_, content_));
    if (placed.size.checksum) {
      uint32_t own = 0;  // the frame's last four bytes, RFC 8878 3.1.1
      for (size_t i = 0; i < 4; ++i) own |= std::to_integer<uint32_t>(compressed_[compressed_.size() - 4 + i]) << (8 * i);
      if (own != *placed.size.checksum) return fail(ErrorKind::corrupt, "the seek table has another checksum for a frame");
    }
    switch (placed.role) {
      case FrameRole::header:
        return check_header(placed);
      case FrameRole::content:
        return check_content(placed);
      case FrameRole::padding:
      case FrameRole::end:
        if (std::any_of(content_.begin(), content_.end(), [](std::byte b) { return b != std::byte{0}; }))
          return fail(ErrorKind::corrupt, "something stands in the padding");
    }
    return {};
  }

 private:
  Result<> check_header(const PlacedFrame& placed) {
    TRY_ASSIGN(const TarHeader header, parse_tar_header(content_));
    const std::string_view name = placed.member != nullptr ? std::string_view(placed.member->name) : kManifestName;
    const uint64_t size = placed.member != nullptr ? placed.member->size : manifest_text_.size();
    if (header.name != name) return fail(ErrorKind::corrupt, "its tar header says {}", header.name);
    if (header.size != size) return fail(ErrorKind::corrupt, "its tar header says {} bytes and not {}", header.size, size);
    if (placed.member != nullptr && placed.member->frames.empty()) return check_hash(*placed.member);
    return {};
  }

  Result<> check_content(const PlacedFrame& placed) {
    if (placed.member == nullptr) {
      if (as_text(content_) != manifest_text_.substr(placed.index * kManifestFrame, content_.size()))
        return fail(ErrorKind::corrupt, "it changed while it was read");
      return {};
    }
    hash_.update(content_);
    if (visit_) TRY(visit_(*placed.member, placed.index, content_));
    if (placed.index + 1 == placed.member->frames.size()) return check_hash(*placed.member);
    return {};
  }

  Result<> check_hash(const MemberEntry& member) {
    if (to_hex(hash_.finish()) != member.sha256) return fail(ErrorKind::corrupt, "its SHA-256 does not hold");
    return {};
  }

  const ByteSource& source_;
  std::string_view manifest_text_;
  const ContentVisitor& visit_;
  FrameDecoder decoder_;
  Sha256 hash_;
  std::vector<std::byte> compressed_, content_;
};

Result<VerifyReport> verify_source(const ByteSource& source, const std::function<void(uint64_t, uint64_t)>& progress, const std::atomic<bool>* cancelled,
                                 const ContentVisitor& visit) {
  VerifyReport report;
  report.file_bytes = source.size();
  TRY_ASSIGN(const SeekTable table, SeekTable::open(source));
  TRY_ASSIGN(const FoundManifest found, find_manifest(source, table));
  TRY_ASSIGN(const Manifest manifest, Manifest::from_json(found.text));
  Verifier verifier(source, found.text, visit);
  const auto check = [&](const PlacedFrame& frame) -> Result<> {
    if (cancelled != nullptr && *cancelled) return fail(ErrorKind::cancelled, "cancelled");
    TRY(verifier.check(frame));
    if (progress) progress(frame.archive_offset + frame.size.compressed_bytes, report.file_bytes);
    return {};
  };
  TRY(walk_layout(table, manifest, found.first_frame, found.text.size(), check));
  if (progress) progress(report.file_bytes, report.file_bytes);
  for (const MemberEntry& member : manifest.members) report.content_bytes += member.size;
  report.members = manifest.members.size();
  return report;
}

}  // namespace

Result<VerifyReport> verify_archive(const std::filesystem::path& path, const std::function<void(uint64_t, uint64_t)>& progress,
                                    const std::atomic<bool>* cancelled, const ContentVisitor& visit) {
  TRY_ASSIGN(const auto source, open_file_source(path));
  return verify_archive(*source, progress, cancelled, visit);
}

Result<VerifyReport> verify_archive(const ByteSource& source, const std::function<void(uint64_t, uint64_t)>& progress,
                                    const std::atomic<bool>* cancelled, const ContentVisitor& visit) {
  source.expect_sequential();
  auto report = verify_source(source, progress, cancelled, visit);
  if (!report) return tl::make_unexpected(report.error().in(source.name()));
  return report;
}

}  // namespace lookback::archive
