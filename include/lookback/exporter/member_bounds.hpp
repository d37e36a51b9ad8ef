#pragma once
// Whether a member's packets are what its frames declare: exports open and skip frames by that.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lookback/archive/archive.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/base/result.hpp"
#include "lookback/packet/pcapng.hpp"

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
  std::vector<packet::PcapngInterface> interfaces_;
};

/// Whether a member holds packets, by its name.
[[nodiscard]] bool holds_packets(const archive::MemberEntry& member);

/// For archive::verify_archive(): checks every member that holds packets.
[[nodiscard]] archive::ContentVisitor bounds_visitor();

}  // namespace lookback::exporter
