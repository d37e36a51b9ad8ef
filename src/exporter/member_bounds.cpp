#include "lookback/exporter/member_bounds.hpp"

#include <algorithm>
#include <memory>

#include "lookback/archive/member_kind.hpp"
#include "lookback/packet/section_walker.hpp"

namespace lookback::exporter {

Result<> MemberBounds::check(const archive::FrameEntry& declared,
                             std::span<const std::byte> content) {
  auto walker = first_ ? packet::SectionWalker(content)
                       : packet::SectionWalker(content, interfaces_);
  first_ = false;
  uint64_t packets = 0;
  int64_t first_ns = INT64_MAX, last_ns = INT64_MIN;
  for (packet::RawPacket packet; walker.next(packet); ++packets) {
    first_ns = std::min(first_ns, packet.view.time_ns);
    last_ns = std::max(last_ns, packet.view.time_ns);
  }
  if (walker.error()) return tl::make_unexpected(*walker.error());
  interfaces_ += walker.interfaces().size();
  if (packets != declared.packets)
    return fail(ErrorKind::corrupt, "{} packets in it, {} are declared", packets, declared.packets);
  if (packets != 0 && (first_ns != declared.first_ns || last_ns != declared.last_ns))
    return fail(ErrorKind::corrupt, "its packets are of {} to {}, {} to {} are declared", first_ns,
                last_ns, declared.first_ns, declared.last_ns);
  return {};
}

bool holds_packets(const archive::MemberEntry& member) {
  const auto kind = archive::kind_of(member);
  return kind && archive::info_of(*kind).has_packets;
}

archive::ContentVisitor bounds_visitor() {
  return [bounds = std::make_shared<MemberBounds>()](const archive::MemberEntry& member,
                                                     size_t frame,
                                                     std::span<const std::byte> content) {
    if (frame == 0) *bounds = {};
    return holds_packets(member) ? bounds->check(member.frames[frame], content) : Result<>{};
  };
}

}  // namespace lookback::exporter
