#include "lookback/exporter/member_builder.hpp"

#include <algorithm>
#include <cstring>
#include <map>

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
  void reserve(size_t bytes) {
    if (capacity_ < bytes) replace(bytes);
  }
  [[nodiscard]] std::byte* data() { return memory_.get(); }
  [[nodiscard]] size_t size() const { return used_; }
  void clear() { used_ = 0; }

 private:
  void grow(size_t needed) {
    replace(std::max<size_t>({needed, 2 * capacity_, size_t{1} << 20}));
  }
  void replace(size_t capacity) {
    // Nothing in it has to be kept: then there are never two.
    if (used_ == 0) memory_.reset();
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
  std::vector<uint32_t> same_names;                  ///< of those that have one, by interface; may be shorter
  std::map<packet::PcapngProcess, uint32_t> processes;  ///< of this member, to their numbers
  std::string application;

  archive::FrameEncoder encoder;
  packet::SummaryBuilder summary;
  Sha256 hash;
  /// What comes before the packets: parts of a frame each, but for the last, which the first packets may share one with.
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
    if (!processes.empty()) {
      processes.clear();
      describe_all();
    }
    content.clear();
    content.extend(kHeadroom);
  }

  packet::Buffer& front_for_block() {
    if (fronts.back().size() > archive::kMaxFrameContent / 4) fronts.emplace_back();
    return fronts.back();
  }

  void describe(const packet::Interface& interface, uint32_t same_name) {
    packet::PcapngInterface described;
    described.name = interface.name;
    described.description = "node " + node_name;
    described.link_type = interface.link_type;
    described.same_name = same_name;
    packet::Buffer& front = front_for_block();
    const size_t before = front.size();
    packet::append_interface(front, described);
    front_bytes += front.size() - before;
  }

  void describe_all() {
    fronts.assign(1, {});
    packet::append_section_header(fronts.back(), application);
    front_bytes = fronts.back().size();
    for (size_t i = 0; i < interfaces.size(); ++i) describe(interfaces[i], i < same_names.size() ? same_names[i] : 0);
  }

  /// The options of a packet with the number of its process block behind them.
  std::span<const std::byte> with_process(std::span<const std::byte> options, const packet::PcapngProcess& process) {
    const auto [at, fresh] = processes.try_emplace(process, static_cast<uint32_t>(processes.size()));
    if (fresh) {
      packet::Buffer& front = front_for_block();
      const size_t before = front.size();
      packet::append_process(front, process);
      front_bytes += front.size() - before;
    }
    const uint32_t words[2] = {packet::kEpbProcessBlock | 4u << 16, at->second};
    const auto bytes = std::as_bytes(std::span(words));
    options_with_process.assign(options.begin(), options.end());
    options_with_process.insert(options_with_process.end(), bytes.begin(), bytes.end());
    return options_with_process;
  }
  packet::Buffer options_with_process;

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

void MemberBuilder::reserve(uint64_t content_bytes) {
  LOOKBACK_CHECK(impl_->packets == 0);
  impl_->content.clear();
  impl_->content.reserve(kHeadroom + content_bytes);
  impl_->start();
}

void MemberBuilder::set_interfaces(std::vector<packet::Interface> interfaces) {
  impl_->interfaces = std::move(interfaces);
  impl_->same_names.clear();
  impl_->describe_all();
}

void MemberBuilder::add_interface(packet::Interface interface, uint32_t same_name) {
  Impl& impl = *impl_;
  impl.describe(interface, same_name);
  impl.interfaces.push_back(std::move(interface));
  if (same_name == 0) return;
  impl.same_names.resize(impl.interfaces.size());
  impl.same_names.back() = same_name;
}

void MemberBuilder::add(const packet::PacketView& given, std::span<const std::byte> options, const packet::PcapngProcess* process) {
  Impl& impl = *impl_;
  LOOKBACK_CHECK(given.interface < impl.interfaces.size());
  packet::PacketView packet = given;
  packet.time_ns = std::max<int64_t>(packet.time_ns, 0);
  packet.data = packet.data.first(std::min<size_t>(packet.data.size(), kMaxPacketBytes));
  if (process != nullptr) options = impl.with_process(options, *process);

  archive::FrameEntry& frame = impl.frame;
  const size_t block = packet::packet_block_size(packet, options);
  const uint64_t room = kMemberFrameBytes - (impl.ended.empty() ? kHeadroom : 0);
  if (frame.packets > 0 && frame.content_bytes + block > room) impl.end_frame();
  packet::write_packet(impl.content.extend(block), packet, options);
  frame.content_bytes += block;
  if (frame.packets++ == 0) frame.first_ns = frame.last_ns = packet.time_ns;
  frame.first_ns = std::min(frame.first_ns, packet.time_ns);
  frame.last_ns = std::max(frame.last_ns, packet.time_ns);
  impl.summary.add(impl.interfaces[packet.interface].link_type, packet.data);
  ++impl.packets;
}

uint64_t MemberBuilder::content_bytes() const { return impl_->front_bytes + impl_->content.size() - kHeadroom; }
uint64_t MemberBuilder::packet_bytes() const { return impl_->content.size() - kHeadroom; }
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
  const uint64_t content = content_bytes();
  const std::string nothing_in_it = impl.summary.take().to_text();
  // The last part shares a frame with the first packets, where there is room for it in front of them.
  const packet::Buffer nothing;
  const bool shares = impl.fronts.back().size() <= kHeadroom;
  for (size_t i = 0; i < impl.fronts.size() - (shares ? 1 : 0); ++i) {
    archive::FrameEntry alone;
    alone.summary = nothing_in_it;
    impl.put_frame(member, std::move(alone), impl.fronts[i]);
  }
  const packet::Buffer& front = shares ? impl.fronts.back() : nothing;
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
    // The rest shrinks as the first frame does, as a rule; what does not costs a move.
    if (i == 0) member.compressed.reserve(content * member.compressed.size() / member.size * 17 / 16 + 4096);
  }
  member.sha256 = to_hex(impl.hash.finish());
  impl.start();
  return member;
}

}  // namespace lookback::exporter
