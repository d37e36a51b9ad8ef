// pcapng (draft-ietf-opsawg-pcapng): blocks of type, length, body, length again.

#include <algorithm>
#include <string>
#include <unordered_map>

#include "lookback/packet/section_walker.hpp"
#include "packet/byte_stream.hpp"
#include "packet/pcapng_blocks.hpp"

namespace lookback::packet {

namespace {

constexpr uint32_t kOldPacket = 2;  // obsolete Packet Block (draft, appendix A)
constexpr size_t kBlockFrame = 12;  // type and both lengths
constexpr uint16_t kOldPacketFlags = 2, kOldPacketDropsUnknown = 0xffff;

class PcapngReader final : public FormatReader {
 public:
  explicit PcapngReader(ByteStream stream) : stream_(std::move(stream)) {}

  Result<std::optional<ReadPacket>> next() override {
    for (;;) {
      stream_.consume(std::exchange(pending_, 0));
      TRY_ASSIGN(const bool any, stream_.fill(kBlockFrame));
      if (!any) {
        if (stream_.available() == 0) return std::optional<ReadPacket>{};
        return damage("the file ends inside a block");
      }
      const auto type = load<uint32_t>(stream_.data());
      if (type == kPcapngSectionHeader) {
        const auto magic = load<uint32_t>(stream_.data() + 8);
        order_.swapped = magic == __builtin_bswap32(kByteOrderMagic);
        if (!order_.swapped && magic != kByteOrderMagic)
          return damage("a section header without byte order magic");
      }
      const uint32_t length = order_.u32(stream_.data() + 4);
      if (length < kBlockFrame || length % 4 != 0 || length > kMaxBlockBytes)
        return damage(fmt::format("a block of {} bytes", length));
      TRY_ASSIGN(const bool whole, stream_.fill(length));
      if (!whole) return damage("the file ends inside a block");
      if (order_.u32(stream_.data() + length - 4) != length)
        return damage("a block whose two lengths differ");
      pending_ = length;
      const std::span<const std::byte> body(stream_.data() + 8, length - kBlockFrame);
      switch (type == kPcapngSectionHeader ? type : order_.u32(stream_.data())) {
        case kPcapngSectionHeader:
          TRY(section(body));
          break;
        case kPcapngInterface:
          TRY(interface(body));
          break;
        case kPcapngEnhancedPacket:
          return enhanced_packet(body);
        case kPcapngSimplePacket:
          return simple_packet(body);
        case kOldPacket:
          return old_packet(body);
        case kPcapngDecryptionSecrets:
          ++secrets_passed_over;
          break;
        default:
          break;
      }
    }
  }

 private:
  /// An interface of the current section: where it is in `interfaces`, and how its times read.
  struct Described {
    uint32_t index;
    TimeScale scale;
  };

  tl::unexpected<Error> damage(std::string_view what) const {
    return fail(ErrorKind::corrupt, "{} at offset {} of the pcapng file", what, stream_.offset());
  }

  Result<> section(std::span<const std::byte> body) {
    if (body.size() < 16) return damage("a section header that is too short");
    const uint16_t major = order_.u16(body.data() + 4);
    if (major != 1) return damage(fmt::format("a section of the unknown version {}", major));
    section_.clear();
    used_in_section_.clear();
    return {};
  }

  Result<> interface(std::span<const std::byte> body) {
    auto block = parse_interface_block(body, order_);
    if (!block) return damage(block.error().message);
    if (section_.size() >= kMaxInterfaces) return damage("too many interfaces");
    // The nth block of a section that says the same is the nth such interface of all sections.
    const std::string key = identity(block->interface);
    std::vector<uint32_t>& same = known_[key];
    const size_t ordinal = used_in_section_[key]++;
    if (ordinal == same.size()) {
      if (interfaces.size() >= kMaxInterfaces) return damage("too many interfaces");
      same.push_back(static_cast<uint32_t>(interfaces.size()));
      interfaces.push_back(std::move(block->interface));
    }
    section_.push_back({same[ordinal], block->scale});
    return {};
  }

  static std::string identity(const PcapngInterface& interface) {
    // Texts have no zero byte inside.
    std::string key = fmt::format("{} {}", interface.link_type, interface.snaplen);
    for (const std::string* text :
         {&interface.name, &interface.description, &interface.filter, &interface.os})
      key.append(1, '\0').append(*text);
    return key;
  }

  Result<std::optional<ReadPacket>> enhanced_packet(std::span<const std::byte> body) {
    constexpr size_t kHeader = 20;
    if (body.size() < kHeader) return damage("a packet block that is too short");
    return timed_packet(body, kHeader, order_.u32(body.data()));
  }

  Result<std::optional<ReadPacket>> old_packet(std::span<const std::byte> body) {
    constexpr size_t kHeader = 20;
    if (body.size() < kHeader) return damage("a packet block that is too short");
    auto packet = timed_packet(body, kHeader, order_.u16(body.data()));
    const uint16_t drops = order_.u16(body.data() + 2);
    if (packet && drops != kOldPacketDropsUnknown) (*packet)->drop_count = drops;
    return packet;
  }

  /// Both kinds of packet blocks have time, lengths, data and options at the same places, and flags
  /// and comments under the same codes (the old kind's other options differ).
  Result<std::optional<ReadPacket>> timed_packet(std::span<const std::byte> body,
                                                 size_t header_bytes, uint32_t interface) {
    static_assert(kOldPacketFlags == kEpbFlags);
    const bool old = order_.u32(stream_.data()) == kOldPacket;
    if (interface >= section_.size())
      return damage(fmt::format("a packet of interface {}, which was not described,", interface));
    const uint64_t ticks =
        uint64_t{order_.u32(body.data() + 4)} << 32 | order_.u32(body.data() + 8);
    const uint32_t captured = order_.u32(body.data() + 12);
    if (captured > body.size() - header_bytes) return damage("a packet longer than its block");
    ReadPacket packet;
    packet.view.time_ns = section_[interface].scale.to_ns(ticks);
    packet.view.data = body.subspan(header_bytes, captured);
    packet.view.original_length = order_.u32(body.data() + 16);
    packet.view.interface = section_[interface].index;
    const size_t data_end =
        std::min(body.size(), header_bytes + ((captured + size_t{3}) & ~size_t{3}));
    OptionReader options(body.subspan(data_end), order_);
    while (const auto option = options.next()) {
      const auto value = option->value;
      if (option->code == kOptComment && packet.first_comment.data() == nullptr) {
        packet.first_comment = {reinterpret_cast<const char*>(value.data()), value.size()};
      } else if (option->code == kEpbFlags && value.size() == 4) {
        SectionWalker::set_flags(order_.u32(value.data()), packet.view);
      } else if (option->code == kEpbDropCount && value.size() == 8 && !old) {
        packet.drop_count = order_.u64(value.data());
      }
    }
    if (options.damaged()) return damage("a packet option that leaves its block");
    return std::optional(packet);
  }

  /// No time, no interface number, and no captured length but what the section's first interface
  /// and the block allow.
  Result<std::optional<ReadPacket>> simple_packet(std::span<const std::byte> body) {
    if (body.size() < 4) return damage("a packet block that is too short");
    if (section_.empty()) return damage("a packet of interface 0, which was not described,");
    ReadPacket packet;
    packet.view.original_length = order_.u32(body.data());
    packet.view.interface = section_[0].index;
    const uint32_t snaplen = interfaces[section_[0].index].snaplen;
    size_t captured = packet.view.original_length;
    if (snaplen != 0) captured = std::min<size_t>(captured, snaplen);
    if (captured > body.size() - 4) return damage("a packet longer than its block");
    packet.view.data = body.subspan(4, captured);
    return std::optional(packet);
  }

  ByteStream stream_;
  ByteOrder order_;
  size_t pending_ = 0;  // bytes of the block that the caller still looks at
  std::vector<Described> section_;
  std::unordered_map<std::string, std::vector<uint32_t>>
      known_;  // by identity(): indexes into interfaces
  std::unordered_map<std::string, size_t> used_in_section_;
};

}  // namespace

Result<std::unique_ptr<FormatReader>> open_pcapng(ByteStream stream) {
  return std::make_unique<PcapngReader>(std::move(stream));
}

}  // namespace lookback::packet
