#include "lookback/exporter/member_builder.hpp"

#include <algorithm>

#include "lookback/packet/decode.hpp"
#include "lookback/packet/pcapng.hpp"
#include "lookback/packet/summary.hpp"

namespace lookback::exporter {

struct MemberBuilder::Impl {
  std::string node_name;
  std::vector<packet::Interface> interfaces;
  std::string application;

  archive::FrameEncoder encoder;
  packet::SummaryBuilder summary;
  Sha256 hash;
  packet::Buffer content;          ///< of the frame that is being filled
  archive::FrameEntry frame;       ///< its bounds and packets so far
  archive::MemberContent member;   ///< the frames before it

  void start() {
    packet::append_section_header(content, application);
    for (const packet::Interface& interface : interfaces) {
      packet::PcapngInterface described;
      described.name = interface.name;
      described.description = "node " + node_name;
      described.link_type = interface.link_type;
      // So many interfaces do not exist; if they ever do, they fill frames of their own.
      if (content.size() > archive::kMaxFrameContent / 2) end_frame();
      packet::append_interface(content, described);
    }
  }

  void end_frame() {
    hash.update(content);
    frame.content_bytes = content.size();
    frame.compressed_bytes = encoder.encode(content, member.compressed);
    frame.summary = summary.take().to_text();
    member.size += frame.content_bytes;
    member.packets += frame.packets;
    member.frames.push_back(std::move(frame));
    frame = {};
    content.clear();
  }
};

MemberBuilder::MemberBuilder(std::string node_name, std::vector<packet::Interface> interfaces, std::string application)
    : impl_(std::make_unique<Impl>()) {
  impl_->node_name = std::move(node_name);
  impl_->interfaces = std::move(interfaces);
  impl_->application = std::move(application);
  impl_->start();
}
MemberBuilder::~MemberBuilder() = default;
MemberBuilder::MemberBuilder(MemberBuilder&&) noexcept = default;
MemberBuilder& MemberBuilder::operator=(MemberBuilder&&) noexcept = default;

void MemberBuilder::add(const packet::PacketView& given) {
  Impl& impl = *impl_;
  LOOKBACK_CHECK(given.interface < impl.interfaces.size());
  packet::PacketView packet = given;
  packet.time_ns = std::max<int64_t>(packet.time_ns, 0);
  packet.data = packet.data.first(std::min<size_t>(packet.data.size(), kMaxPacketBytes));

  const size_t block = packet::packet_block_size(packet.data.size(), true);
  if (impl.frame.packets > 0 && impl.content.size() + block > kMemberFrameBytes) impl.end_frame();
  packet::append_packet(impl.content, packet);
  if (impl.frame.packets++ == 0) impl.frame.first_ns = impl.frame.last_ns = packet.time_ns;
  impl.frame.first_ns = std::min(impl.frame.first_ns, packet.time_ns);
  impl.frame.last_ns = std::max(impl.frame.last_ns, packet.time_ns);
  impl.summary.add(packet::decode(impl.interfaces[packet.interface].link_type, packet.data));
}

uint64_t MemberBuilder::content_bytes() const { return impl_->member.size + impl_->content.size(); }
uint64_t MemberBuilder::packets() const { return impl_->member.packets + impl_->frame.packets; }

archive::MemberContent MemberBuilder::finish() {
  Impl& impl = *impl_;
  if (!impl.content.empty()) impl.end_frame();
  impl.member.sha256 = to_hex(impl.hash.finish());
  archive::MemberContent member = std::exchange(impl.member, {});
  impl.start();
  return member;
}

}  // namespace lookback::exporter
