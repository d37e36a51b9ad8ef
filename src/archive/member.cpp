#include "lookback/archive/member.hpp"

#include <algorithm>
#include <cstring>

#include "archive/frame_entry.hpp"
#include "lookback/base/fd.hpp"

namespace lookback::archive {

namespace {

constexpr std::string_view kMagic = "LBM1";
constexpr size_t kPrefix = 8;  // magic and header length

/// Everything that can be told without decoding.
Result<> check_declaration(const MemberContent& member) {
  if (member.size > kMaxMemberContent)
    return fail(ErrorKind::corrupt, "{} bytes content, {} are allowed", member.size, kMaxMemberContent);
  if (member.frames.size() > kMaxWireFrames)
    return fail(ErrorKind::corrupt, "{} frames, {} are allowed", member.frames.size(), kMaxWireFrames);
  if (!is_sha256_text(member.sha256)) return fail(ErrorKind::corrupt, "'sha256' is not a SHA-256 in hex");
  for (const FrameEntry& frame : member.frames) TRY(check_frame_entry(frame));
  const FrameTotals totals = total_of(member.frames);
  if (totals.content_bytes != member.size)
    return fail(ErrorKind::corrupt, "{} bytes content declared, its frames declare {}", member.size, totals.content_bytes);
  if (totals.packets != member.packets)
    return fail(ErrorKind::corrupt, "{} packets declared, its frames declare {}", member.packets, totals.packets);
  if (totals.compressed_bytes != member.compressed.size())
    return fail(ErrorKind::corrupt, "{} bytes of frames declared, {} are there", totals.compressed_bytes, member.compressed.size());
  return {};
}

}  // namespace

Result<> MemberChecker::check(const MemberContent& member, const FrameVisitor& visit) {
  TRY(check_declaration(member));
  size_t at = 0;
  for (size_t i = 0; i < member.frames.size(); ++i) {
    const FrameEntry& frame = member.frames[i];
    if (content_.size() < frame.content_bytes) content_.resize(frame.content_bytes);
    const auto content = std::span(content_).first(frame.content_bytes);
    const auto bytes = std::span(member.compressed).subspan(at, frame.compressed_bytes);
    auto decoded = decoder_.decode(bytes, content);
    if (decoded && visit) decoded = visit(frame, content);
    if (!decoded) {
      std::ignore = hash_.finish();  // the next member starts afresh
      return tl::make_unexpected(decoded.error().in(fmt::format("frame {} of {}", i + 1, member.frames.size())));
    }
    hash_.update(content);
    at += frame.compressed_bytes;
  }
  const std::string sha256 = to_hex(hash_.finish());
  if (sha256 != member.sha256)
    return fail(ErrorKind::corrupt, "the content's SHA-256 is {}, {} is declared", sha256, member.sha256);
  return {};
}

Result<> check_member(const MemberContent& member, FrameDecoder& decoder) {
  MemberChecker checker;
  std::swap(checker.decoder_, decoder);
  auto checked = checker.check(member);
  std::swap(checker.decoder_, decoder);
  return checked;
}

std::vector<std::byte> encode_member_header(const MemberContent& member) {
  std::string header = fmt::format(R"({{"size":{},"sha256":"{}","packets":{},"frames":)", member.size, member.sha256, member.packets);
  append_frames(header, member.frames);
  header += '}';
  LOOKBACK_CHECK(header.size() <= kMaxMemberHeader);
  std::vector<std::byte> wire(kPrefix + header.size());
  std::memcpy(wire.data(), kMagic.data(), kMagic.size());
  for (size_t i = 0; i < 4; ++i) wire[4 + i] = static_cast<std::byte>(header.size() >> (8 * i) & 0xff);
  std::memcpy(wire.data() + kPrefix, header.data(), header.size());
  return wire;
}

Result<MemberContent> decode_member(std::vector<std::byte> wire) {
  if (wire.size() < kPrefix || as_text(std::span(wire).first(kMagic.size())) != kMagic)
    return fail(ErrorKind::corrupt, "not a member (no LBM1 at its start)");
  size_t length = 0;
  for (size_t i = 0; i < 4; ++i) length |= std::to_integer<size_t>(wire[4 + i]) << (8 * i);
  if (length > kMaxMemberHeader)
    return fail(ErrorKind::corrupt, "a member header of {} bytes, {} are allowed", length, kMaxMemberHeader);
  if (length > wire.size() - kPrefix) return fail(ErrorKind::corrupt, "the member ends inside its header");

  TRY_ASSIGN(const Json header, parse_json(as_text(std::span(wire).subspan(kPrefix, length)), "the member header"));
  MemberContent member;
  TRY_ASSIGN(member.size, json_get<uint64_t>(header, "size"));
  TRY_ASSIGN(member.sha256, json_get<std::string>(header, "sha256"));
  TRY_ASSIGN(member.packets, json_get<uint64_t>(header, "packets"));
  const auto frames = header.find("frames");
  if (frames == header.end()) return fail(ErrorKind::corrupt, "'frames' is missing");
  TRY_ASSIGN(member.frames, frames_from_json(*frames, kMaxWireFrames));
  wire.erase(wire.begin(), wire.begin() + static_cast<ptrdiff_t>(kPrefix + length));
  member.compressed = std::move(wire);
  TRY(check_declaration(member));
  return member;
}

}  // namespace lookback::archive
