#pragma once
// Whether a member's packets are what its frames declare: exports open and skip frames by that.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lookback/archive/archive.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/base/result.hpp"

namespace lookback::exporter {

/// Holds the packets of one member, frame by frame in order, against the times and the number that
/// are declared of each frame. One thread.
class MemberBounds {
 public:
  /// Kind corrupt for a difference, and for content that no export could read.
  [[nodiscard]] Result<> check(const archive::FrameEntry& declared,
                               std::span<const std::byte> content);

 private:
  bool first_ = true;
  size_t interfaces_ = 0;  ///< described so far
};

/// Whether a member holds packets, by its name.
[[nodiscard]] bool holds_packets(const archive::MemberEntry& member);

/// For archive::verify_archive(): checks every member that holds packets.
[[nodiscard]] archive::ContentVisitor bounds_visitor();

}  // namespace lookback::exporter
