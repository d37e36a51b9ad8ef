// pcapng (draft-ietf-opsawg-pcapng): blocks of type, length, body, length again.

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>

#include "lookback/packet/section_walker.hpp"
#include "packet/byte_stream.hpp"
#include "packet/option_rules.hpp"
#include "packet/pcapng_blocks.hpp"
#include "packet/pcapng_format.hpp"
#include "packet/pseudo_header.hpp"

namespace lookback::packet {

namespace {

constexpr uint32_t kOldPacket = 2;  // obsolete Packet Block (draft, appendix A)
constexpr size_t kBlockFrame = 12;  // type and both lengths
constexpr uint16_t kOldPacketFlags = 2, kOldPacketDropsUnknown = 0xffff;
/// Of a packet; what is beyond is left out, so that a packet fits into a frame.
constexpr size_t kMaxKeptOptions = 256 << 10;
constexpr size_t kMaxProcesses = 1 << 20;

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
        case kPcapngStatistics:
          take_statistics(body);
          break;
        case kPcapngProcess:
          take_process(body);
          break;
        default:
          ++left_out[block_name(order_.u32(stream_.data()))];
          break;
      }
    }
  }

 private:
  /// An interface of the current section: where it is in `interfaces`, and how its times read.
  struct Described {
    uint32_t index;
    RawStamp scale;
    /// An earlier section says the same, and no packet has told yet whether this one goes on with it.
    bool presumed;
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
    section_processes_.clear();
    earlier_sections_ = statistics;
    if (!parse_origins(body.subspan(16), order_, origins, left_out))
      ++left_out["options of sections that cannot be read"];
    return {};
  }

  Result<> interface(std::span<const std::byte> body) {
    auto block = parse_interface_block(body, order_, left_out);
    if (!block) return damage(block.error().message);
    if (section_.size() >= kMaxInterfaces) return damage("too many interfaces");
    // The nth block of a section that says the same is the nth such interface of all sections.
    const std::string key = identity(block->interface);
    std::vector<uint32_t>& same = known_[key];
    const size_t ordinal = used_in_section_[key]++;
    const bool presumed = ordinal < same.size();
    if (!presumed) {
      if (interfaces.size() >= kMaxInterfaces) return damage("too many interfaces");
      same.push_back(static_cast<uint32_t>(interfaces.size()));
      interfaces.push_back(std::move(block->interface));
      last_ns_.push_back(INT64_MIN);
    }
    section_.push_back({same[ordinal], block->scale, presumed});
    return {};
  }

  /// Two recordings of one moment are two interfaces, however equal their names are.
  Result<> settle(Described& described, int64_t first_ns) {
    described.presumed = false;
    if (first_ns >= last_ns_[described.index]) return {};
    if (interfaces.size() >= kMaxInterfaces) return damage("too many interfaces");
    PcapngInterface another = interfaces[described.index];
    known_[identity(another)].push_back(static_cast<uint32_t>(interfaces.size()));
    described.index = static_cast<uint32_t>(interfaces.size());
    interfaces.push_back(std::move(another));
    last_ns_.push_back(INT64_MIN);
    return {};
  }

  static std::string identity(const PcapngInterface& interface) {
    // Texts have no zero byte inside.
    std::string key =
        fmt::format("{} {} {}", interface.link_type, interface.snaplen, interface.same_name);
    for (const std::string* text :
         {&interface.name, &interface.description, &interface.filter, &interface.os})
      key.append(1, '\0').append(*text);
    key.append(1, '\0');
    for (const std::byte byte : interface.options) key += static_cast<char>(byte);
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
    Described& described = section_[interface];
    packet.stamp = described.scale;
    packet.stamp.ticks = ticks;
    const Moment moment = moment_of(packet.stamp);
    packet.view.time_ns = moment.ns;
    packet.stamp_state = moment.state;
    if (moment.state != StampState::outside) {
      if (described.presumed) TRY(settle(described, moment.ns));
      last_ns_[described.index] = std::max(last_ns_[described.index], moment.ns);
    }
    packet.view.interface = described.index;
    packet.view.data = data_of(header_bytes, captured, described.index);
    packet.view.original_length = order_.u32(body.data() + 16);
    const size_t data_end =
        std::min(body.size(), header_bytes + ((captured + size_t{3}) & ~size_t{3}));
    TRY(take_options(body.subspan(data_end), old ? OptionOwner::old_packet : OptionOwner::packet,
                     packet));
    return std::optional(packet);
  }

  /// The captured bytes, which begin so far behind the block's lengths.
  std::span<const std::byte> data_of(size_t at, size_t captured, uint32_t interface) {
    const std::span<std::byte> data(stream_.data() + 8 + at, captured);
    if (order_.swapped) swap_pseudo_header(interfaces[interface].link_type, data);
    return data;
  }

  Result<> take_options(std::span<const std::byte> bytes, OptionOwner owner, ReadPacket& packet) {
    std::optional<uint32_t> flags;
    options_.assign(kFlagsOption, std::byte{0});  // flags stand first
    OptionReader options(bytes, order_);
    while (const auto option = options.next()) {
      const auto value = option->value;
      if (option->code == kEpbFlags && value.size() == 4) {
        flags = order_.u32(value.data());
        continue;
      }
      if (option->code == kEpbProcessBlock && owner == OptionOwner::packet && value.size() == 4 &&
          order_.u32(value.data()) < section_processes_.size()) {
        packet.process = section_processes_[order_.u32(value.data())];
        continue;
      }
      if (option->code == kOptComment && packet.first_comment.data() == nullptr) {
        packet.first_comment = {reinterpret_cast<const char*>(value.data()), value.size()};
      } else if (option->code == kEpbDropCount && value.size() == 8 &&
                 owner == OptionOwner::packet) {
        packet.drop_count = order_.u64(value.data());
      }
      if (options_.size() + value.size() + 8 > kMaxKeptOptions)
        leave_out(*option, owner, left_out);
      else
        copy_option(options_, *option, owner, order_, left_out);
    }
    if (options.damaged()) return damage("a packet option that leaves its block");
    if (flags) SectionWalker::set_flags(*flags, packet.view);
    constexpr uint32_t kDirectionAndReception = 0x1f;
    const bool more_flags = flags && (*flags & ~kDirectionAndReception) != 0;
    if (options_.size() == kFlagsOption && !more_flags && packet.process == ReadPacket::kNoProcess)
      return {};
    if (flags) {
      const uint32_t option[2] = {uint32_t{kEpbFlags} | 4u << 16, *flags};
      std::memcpy(options_.data(), option, sizeof option);
    }
    packet.options = std::span(options_).subspan(flags ? 0 : kFlagsOption);
    return {};
  }

  void take_statistics(std::span<const std::byte> body) {
    const auto scale_of = [this](uint32_t number) {
      return number < section_.size() ? &section_[number].scale : nullptr;
    };
    auto block = parse_statistics_block(body, order_, scale_of, left_out);
    if (!block) {
      ++left_out["statistics that cannot be read"];
      return;
    }
    const uint32_t index = section_[block->interface].index;
    statistics.resize(std::max<size_t>(statistics.size(), index + 1));
    // Each section counts from its own start.
    if (index < earlier_sections_.size() && earlier_sections_[index])
      add_counts(*earlier_sections_[index], block->counts);
    statistics[index] = block->counts;
  }

  static void add_counts(const ReadStatistics& earlier, ReadStatistics& counts) {
    const auto add = [](const std::optional<uint64_t>& from, std::optional<uint64_t>& to) {
      if (!from) return;
      const uint64_t sum = *from + to.value_or(0);
      to = sum < *from ? UINT64_MAX : sum;
    };
    add(earlier.received, counts.received);
    add(earlier.dropped_by_interface, counts.dropped_by_interface);
    add(earlier.accepted, counts.accepted);
    add(earlier.dropped_by_system, counts.dropped_by_system);
    add(earlier.delivered, counts.delivered);
    if (earlier.start_ns) counts.start_ns = earlier.start_ns;
    if (!counts.end_ns) counts.end_ns = earlier.end_ns;
  }

  void take_process(std::span<const std::byte> body) {
    auto process = parse_process_block(body, order_);
    const bool taken = process && processes.size() < kMaxProcesses;
    if (!taken) ++left_out["process blocks that cannot be read"];
    // Packets count the blocks, readable or not.
    if (section_processes_.size() >= kMaxProcesses) return;
    section_processes_.push_back(taken ? static_cast<uint32_t>(processes.size())
                                       : ReadPacket::kNoProcess);
    if (taken) processes.push_back(std::move(*process));
  }

  /// No time, no interface number, and no captured length but what the section's first interface
  /// and the block allow.
  Result<std::optional<ReadPacket>> simple_packet(std::span<const std::byte> body) {
    if (body.size() < 4) return damage("a packet block that is too short");
    if (section_.empty()) return damage("a packet of interface 0, which was not described,");
    ReadPacket packet;
    packet.view.original_length = order_.u32(body.data());
    packet.view.interface = section_[0].index;
    packet.stamp_state = StampState::absent;
    const uint32_t snaplen = interfaces[section_[0].index].snaplen;
    size_t captured = packet.view.original_length;
    if (snaplen != 0) captured = std::min<size_t>(captured, snaplen);
    if (captured > body.size() - 4) return damage("a packet longer than its block");
    packet.view.data = data_of(4, captured, packet.view.interface);
    return std::optional(packet);
  }

  ByteStream stream_;
  ByteOrder order_;
  size_t pending_ = 0;  // bytes of the block that the caller still looks at
  std::vector<Described> section_;
  std::unordered_map<std::string, std::vector<uint32_t>>
      known_;  // by identity(): indexes into interfaces
  std::unordered_map<std::string, size_t> used_in_section_;
  std::vector<int64_t> last_ns_;  // by index into interfaces: its latest stamp so far
  std::vector<std::optional<ReadStatistics>> earlier_sections_;  // statistics before this section
  std::vector<uint32_t> section_processes_;  // by number in the section: index into processes
  Buffer options_;                           // of the packet that the caller still looks at
};

}  // namespace

Result<std::unique_ptr<FormatReader>> open_pcapng(ByteStream stream) {
  return std::make_unique<PcapngReader>(std::move(stream));
}

}  // namespace lookback::packet
