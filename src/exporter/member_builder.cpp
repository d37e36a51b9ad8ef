#include "lookback/exporter/member_builder.hpp"

#include <algorithm>
#include <cstring>

#include "lookback/packet/pcapng.hpp"
#include "lookback/packet/summary.hpp"

namespace lookback::exporter {

namespace {

/// Left free in front of the packets for what describes their interfaces, which may be known only after them.
constexpr size_t kHeadroom = 16 << 10;

/// Bytes one after the other; grows, and keeps its memory for the next member. Nothing is cleared that is written anyway.
class Arena {
 public:
  std::byte* extend(size_t bytes) {
    if (capacity_ - used_ < bytes) grow(used_ + bytes);
    used_ += bytes;
    return memory_.get() + used_ - bytes;
  }
  [[nodiscard]] std::byte* data() { return memory_.get(); }
  [[nodiscard]] size_t size() const { return used_; }
  void clear() { used_ = 0; }

 private:
  void grow(size_t needed) {
    const size_t capacity = std::max<size_t>({needed, 2 * capacity_, size_t{1} << 20});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (used_ > 0) std::memcpy(larger.get(), memory_.get(), used_);
    memory_ = std::move(larger);
    capacity_ = capacity;
  }

  std::unique_ptr<std::byte[]> memory_;
  size_t used_ = 0, capacity_ = 0;
};

}  // namespace

struct MemberBuilder::Impl {
  std::string node_name;
  std::vector<packet::Interface> interfaces;
  std::string application;

  archive::FrameEncoder encoder;
  packet::SummaryBuilder summary;
  Sha256 hash;
  /// What comes before the packets: parts of a frame each, but for the last, which the first packets share one with.
  std::vector<packet::Buffer> fronts;
  size_t front_bytes = 0;
  Arena content;                           ///< kHeadroom, then the packets' blocks
  std::vector<archive::FrameEntry> ended;  ///< of packets; content_bytes are theirs alone
  archive::FrameEntry frame;               ///< the one being filled
  uint64_t packets = 0;

  void start() {
    ended.clear();
    frame = {};
    packets = 0;
    content.clear();
    content.extend(kHeadroom);
  }

  void describe() {
    fronts.assign(1, {});
    packet::append_section_header(fronts.back(), application);
    for (const packet::Interface& interface : interfaces) {
      packet::PcapngInterface described;
      described.name = interface.name;
      described.description = "node " + node_name;
      described.link_type = interface.link_type;
      // So many interfaces do not exist; if they ever do, they fill frames of their own.
      if (fronts.back().size() > archive::kMaxFrameContent / 2) fronts.emplace_back();
      packet::append_interface(fronts.back(), described);
    }
    if (fronts.back().size() > kHeadroom) fronts.emplace_back();
    front_bytes = 0;
    for (const packet::Buffer& front : fronts) front_bytes += front.size();
  }

  void end_frame() {
    frame.summary = summary.take().to_text();
    ended.push_back(std::move(frame));
    frame = {};
  }

  void put_frame(archive::MemberContent& member, archive::FrameEntry entry, std::span<const std::byte> bytes) {
    hash.update(bytes);
    entry.content_bytes = bytes.size();
    entry.compressed_bytes = encoder.encode(bytes, member.compressed);
    member.size += entry.content_bytes;
    member.packets += entry.packets;
    member.frames.push_back(std::move(entry));
  }
};

MemberBuilder::MemberBuilder(std::string node_name, std::vector<packet::Interface> interfaces, std::string application)
    : impl_(std::make_unique<Impl>()) {
  impl_->node_name = std::move(node_name);
  impl_->application = std::move(application);
  set_interfaces(std::move(interfaces));
  impl_->start();
}
MemberBuilder::~MemberBuilder() = default;
MemberBuilder::MemberBuilder(MemberBuilder&&) noexcept = default;
MemberBuilder& MemberBuilder::operator=(MemberBuilder&&) noexcept = default;

void MemberBuilder::set_interfaces(std::vector<packet::Interface> interfaces) {
  impl_->interfaces = std::move(interfaces);
  impl_->describe();
}

void MemberBuilder::add(const packet::PacketView& given) {
  Impl& impl = *impl_;
  LOOKBACK_CHECK(given.interface < impl.interfaces.size());
  packet::PacketView packet = given;
  packet.time_ns = std::max<int64_t>(packet.time_ns, 0);
  packet.data = packet.data.first(std::min<size_t>(packet.data.size(), kMaxPacketBytes));

  archive::FrameEntry& frame = impl.frame;
  const size_t block = packet::packet_block_size(packet);
  const uint64_t room = kMemberFrameBytes - (impl.ended.empty() ? kHeadroom : 0);
  if (frame.packets > 0 && frame.content_bytes + block > room) impl.end_frame();
  packet::write_packet(impl.content.extend(block), packet);
  frame.content_bytes += block;
  if (frame.packets++ == 0) frame.first_ns = frame.last_ns = packet.time_ns;
  frame.first_ns = std::min(frame.first_ns, packet.time_ns);
  frame.last_ns = std::max(frame.last_ns, packet.time_ns);
  impl.summary.add(impl.interfaces[packet.interface].link_type, packet.data);
  ++impl.packets;
}

uint64_t MemberBuilder::content_bytes() const { return impl_->front_bytes + impl_->content.size() - kHeadroom; }
uint64_t MemberBuilder::packets() const { return impl_->packets; }

void MemberBuilder::clear() {
  set_interfaces({});
  std::ignore = impl_->summary.take();
  impl_->start();
}

archive::MemberContent MemberBuilder::finish() {
  Impl& impl = *impl_;
  if (impl.frame.packets > 0) impl.end_frame();
  archive::MemberContent member;
  // Packets shrink to a third or less as a rule; what does not costs a move.
  member.compressed.reserve(content_bytes() / 5 * 2 + 4096);
  const std::string nothing_in_it = impl.summary.take().to_text();
  for (size_t i = 0; i + 1 < impl.fronts.size(); ++i) {
    archive::FrameEntry alone;
    alone.summary = nothing_in_it;
    impl.put_frame(member, std::move(alone), impl.fronts[i]);
  }
  const packet::Buffer& front = impl.fronts.back();
  std::byte* at = impl.content.data() + kHeadroom - front.size();
  if (!front.empty()) std::memcpy(at, front.data(), front.size());
  if (impl.ended.empty() && !front.empty()) {
    impl.ended.emplace_back();
    impl.ended.back().summary = nothing_in_it;
  }
  for (size_t i = 0; i < impl.ended.size(); ++i) {
    const size_t bytes = impl.ended[i].content_bytes + (i == 0 ? front.size() : 0);
    impl.put_frame(member, std::move(impl.ended[i]), {at, bytes});
    at += bytes;
  }
  member.sha256 = to_hex(impl.hash.finish());
  impl.start();
  return member;
}

}  // namespace lookback::exporter
