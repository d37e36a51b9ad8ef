#pragma once
// A member on its way: the compressed frames of one file of the archive with what they are declared to hold.
//
// Wire and spool form (all that a node sends; it has no name in it, names are the hub's):
//   "LBM1"                     4 bytes
//   length of the header       u32 little-endian, at most kMaxMemberHeader
//   header                     JSON {"size", "sha256", "packets", "frames": [[compressed, content, first_ns, last_ns, packets, summary], …]}
//   the frames                 back to back, to the end

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/frame.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Limits of one member that comes from a node.
inline constexpr uint64_t kMaxMemberContent = 64ULL << 20;
inline constexpr size_t kMaxWireFrames = 4096;
inline constexpr size_t kMaxMemberHeader = 4 << 20;

/// A member as it travels from a node and is appended: its frames, and what they decode to.
struct MemberContent {
  std::vector<FrameEntry> frames;
  std::vector<std::byte> compressed;  ///< the frames back to back
  uint64_t size = 0;                  ///< content bytes
  std::string sha256;                 ///< of the content, hex
  uint64_t packets = 0;
};

/// Looks at the content of a frame while it is at hand; an error of it is one of the member.
using FrameVisitor = std::function<Result<>(const FrameEntry&, std::span<const std::byte>)>;

/// Checks members one after the other with the same memory: a decoder and one frame's content. One thread.
class MemberChecker {
 public:
  /// Decodes every frame within limits and holds sizes, sums and hash against what is declared. Kind corrupt names the difference.
  /// `visit` gets the frames in order.
  [[nodiscard]] Result<> check(const MemberContent& member, const FrameVisitor& visit = {});

 private:
  friend Result<> check_member(const MemberContent& member, FrameDecoder& decoder);
  FrameDecoder decoder_;
  Sha256 hash_;
  std::vector<std::byte> content_;
};

/// The same with the caller's decoder, for a single member.
[[nodiscard]] Result<> check_member(const MemberContent& member, FrameDecoder& decoder);

/// The wire form up to the frames; `member.compressed` is to follow.
[[nodiscard]] std::vector<std::byte> encode_member_header(const MemberContent& member);
/// Takes a wire form apart. Everything is held against the limits and the sums, nothing is decoded yet: see MemberChecker.
[[nodiscard]] Result<MemberContent> decode_member(std::vector<std::byte> wire);

}  // namespace lookback::archive
