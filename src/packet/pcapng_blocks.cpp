#include "packet/pcapng_blocks.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>

#include "lookback/base/time.hpp"
#include "packet/option_rules.hpp"
#include "packet/pcapng_format.hpp"

namespace lookback::packet {

namespace {

constexpr std::string_view kSameNameStart = "interface ", kSameNameEnd = " of this name";

__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;

std::string text_of(std::span<const std::byte> value) {
  std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
  // Texts are not terminated, but some writers do; nothing behind a zero byte is meant to be read.
  return std::string(text.substr(0, text.find('\0')));
}
/// The reverse of same_name_comment(); 0 for any other text.
uint32_t same_name_of(std::string_view comment) {
  if (!comment.starts_with(kSameNameStart) || !comment.ends_with(kSameNameEnd)) return 0;
  comment.remove_prefix(kSameNameStart.size());
  uint32_t number = 0;
  const auto read = std::from_chars(comment.data(), comment.data() + comment.size(), number);
  return read.ec == std::errc() && number > 1 && same_name_comment(number - 1).ends_with(comment)
             ? number - 1
             : 0;
}

std::string decimal(UnsignedWide value) {
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<unsigned>(value % 10));
    value /= 10;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

/// The digits behind the point of 1 - 0.digits, which is below 1.
std::string complement(std::string digits) {
  const size_t last = digits.find_last_not_of('0');
  for (size_t i = 0; i <= last; ++i)
    digits[i] = static_cast<char>('0' + ((i == last ? 10 : 9) - (digits[i] - '0')));
  return digits;
}
}  // namespace

std::optional<OptionReader::Option> OptionReader::next() {
  // Options may end without the marker when they fill their block.
  if (left_.size() < 4) {
    damaged_ = damaged_ || !left_.empty();
    return std::nullopt;
  }
  const uint16_t code = order_.u16(left_.data());
  if (code == 0) return std::nullopt;
  const size_t length = order_.u16(left_.data() + 2);
  if (length > left_.size() - 4) {
    damaged_ = true;
    return std::nullopt;
  }
  const Option option{code, left_.subspan(4, length)};
  left_ = left_.subspan(std::min(left_.size(), 4 + ((length + 3) & ~size_t{3})));
  return option;
}

std::string same_name_comment(uint32_t same_name) {
  return fmt::format("{}{}{}", kSameNameStart, same_name + 1, kSameNameEnd);
}

Moment moment_of(const RawStamp& stamp) {
  const unsigned exponent = stamp.resolution & 0x7f;
  UnsignedWide ns = stamp.ticks;
  bool cut = false;
  if ((stamp.resolution & 0x80) != 0) {
    ns *= kNsPerSecond;  // below 2^94, and the exponent is below 128
    cut = (ns & ((UnsignedWide{1} << exponent) - 1)) != 0;
    ns >>= exponent;
  } else if (exponent <= 9) {
    for (unsigned i = exponent; i < 9; ++i) ns *= 10;
  } else {
    for (unsigned i = 9; i < exponent && ns != 0; ++i) {
      cut = cut || ns % 10 != 0;
      ns /= 10;
    }
  }
  const Wide time =
      static_cast<Wide>(ns) + static_cast<Wide>(stamp.offset_seconds) * kNsPerSecond;
  using Limits = std::numeric_limits<int64_t>;
  Moment moment;
  moment.ns = static_cast<int64_t>(std::clamp<Wide>(time, Limits::min(), Limits::max()));
  if (time < kEarliestStampNs || time > kLatestStampNs)
    moment.state = StampState::outside;
  else if (cut)
    moment.state = StampState::finer;
  return moment;
}

std::string RawStamp::text() const {
  const unsigned exponent = resolution & 0x7f;
  UnsignedWide seconds = 0;
  std::string fraction;
  if ((resolution & 0x80) != 0) {
    constexpr unsigned kDigits = 18;  // ticks * 10^18 is below 2^124
    UnsignedWide part = ticks;
    if (exponent < 64) {
      seconds = ticks >> exponent;
      part = ticks & ((uint64_t{1} << exponent) - 1);
    }
    for (unsigned i = 0; i < kDigits; ++i) part *= 10;
    fraction = decimal(part >> exponent);
    fraction.insert(0, kDigits - fraction.size(), '0');
    fraction.erase(fraction.find_last_not_of('0') + 1);
  } else {
    std::string digits = decimal(ticks);
    if (digits.size() <= exponent) digits.insert(0, exponent + 1 - digits.size(), '0');
    fraction = digits.substr(digits.size() - exponent);
    for (const char digit : std::string_view(digits).substr(0, digits.size() - exponent))
      seconds = seconds * 10 + static_cast<unsigned>(digit - '0');
  }
  Wide whole = static_cast<Wide>(seconds) + offset_seconds;
  const bool negative = whole < 0;
  if (negative && fraction.find_first_not_of('0') != std::string::npos) {
    ++whole;
    fraction = complement(std::move(fraction));
  }
  return fmt::format("{}{}{}{}", negative ? "-" : "",
                     decimal(static_cast<UnsignedWide>(negative ? -whole : whole)),
                     fraction.empty() ? "" : ".", fraction);
}

std::optional<uint64_t> ReadStatistics::lost() const {
  if (!dropped_by_interface && !dropped_by_system) return std::nullopt;
  return std::max(dropped_by_interface.value_or(0), dropped_by_system.value_or(0));
}

Result<InterfaceBlock> parse_interface_block(std::span<const std::byte> body, ByteOrder order,
                                             LeftOut& left_out) {
  if (body.size() < 8) return fail(ErrorKind::corrupt, "an interface block that is too short");
  InterfaceBlock block;
  block.scale.resolution = 6;
  block.interface.link_type = order.u16(body.data());
  block.interface.snaplen = order.u32(body.data() + 4);
  OptionReader options(body.subspan(8), order);
  while (const auto option = options.next()) {
    const auto value = option->value;
    switch (option->code) {
      case kOptComment:
        block.interface.same_name = same_name_of(text_of(value));
        if (block.interface.same_name == 0)
          copy_option(block.interface.options, *option, OptionOwner::interface, order, left_out);
        break;
      case kIfName:
        block.interface.name = text_of(value);
        break;
      case kIfDescription:
        block.interface.description = text_of(value);
        break;
      case kIfOs:
        block.interface.os = text_of(value);
        break;
      case kIfFilter:
        // First byte 0: pcap-filter text. Other kinds (1: BPF code) have no text to show, and the byte
        // order of the section.
        if (!value.empty() && load8(value.data()) == 0)
          block.interface.filter = text_of(value.subspan(1));
        else if (order.swapped)
          leave_out(*option, OptionOwner::interface, left_out);
        else
          copy_option(block.interface.options, *option, OptionOwner::interface, order, left_out);
        break;
      case kIfTsresol:
        if (value.size() != 1)
          return fail(ErrorKind::corrupt, "a time resolution of a wrong length");
        block.scale.resolution = load8(value.data());
        break;
      case kIfTsoffset:
        if (value.size() != 8) return fail(ErrorKind::corrupt, "a time offset of a wrong length");
        block.scale.offset_seconds = static_cast<int64_t>(order.u64(value.data()));
        break;
      default:
        copy_option(block.interface.options, *option, OptionOwner::interface, order, left_out);
        break;
    }
  }
  if (options.damaged())
    return fail(ErrorKind::corrupt, "an interface option that leaves its block");
  return block;
}

Result<StatisticsBlock> parse_statistics_block(
    std::span<const std::byte> body, ByteOrder order,
    const std::function<const RawStamp*(uint32_t)>& scale_of, LeftOut& left_out) {
  constexpr size_t kHeader = 12;
  if (body.size() < kHeader) return fail(ErrorKind::corrupt, "a statistics block that is too short");
  StatisticsBlock block;
  block.interface = order.u32(body.data());
  const RawStamp* scale = scale_of(block.interface);
  if (scale == nullptr)
    return fail(ErrorKind::corrupt, "statistics of interface {}, which was not described,",
                block.interface);
  OptionReader options(body.subspan(kHeader), order);
  while (const auto option = options.next()) {
    const auto value = option->value;
    if (option->code == kOptComment) ++left_out["comments on statistics"];
    if (value.size() != 8) continue;
    const uint64_t count = order.u64(value.data());
    const auto time = [&]() -> std::optional<int64_t> {
      RawStamp stamp = *scale;
      stamp.ticks = uint64_t{order.u32(value.data())} << 32 | order.u32(value.data() + 4);
      const Moment moment = moment_of(stamp);
      if (moment.state == StampState::outside) return std::nullopt;
      return moment.ns;
    };
    switch (option->code) {
      case kIsbStart:
        block.counts.start_ns = time();
        break;
      case kIsbEnd:
        block.counts.end_ns = time();
        break;
      case kIsbReceived:
        block.counts.received = count;
        break;
      case kIsbDropped:
        block.counts.dropped_by_interface = count;
        break;
      case kIsbAccepted:
        block.counts.accepted = count;
        break;
      case kIsbDroppedBySystem:
        block.counts.dropped_by_system = count;
        break;
      case kIsbDelivered:
        block.counts.delivered = count;
        break;
      default:
        break;
    }
  }
  if (options.damaged())
    return fail(ErrorKind::corrupt, "a statistics option that leaves its block");
  return block;
}

Result<PcapngProcess> parse_process_block(std::span<const std::byte> body, ByteOrder order) {
  constexpr size_t kLongestName = 255;
  if (body.size() < 4) return fail(ErrorKind::corrupt, "a process block that is too short");
  PcapngProcess process;
  process.pid = order.u32(body.data());
  OptionReader options(body.subspan(4), order);
  while (const auto option = options.next()) {
    if (option->code == kProcessName) process.name = text_of(option->value).substr(0, kLongestName);
  }
  if (options.damaged()) return fail(ErrorKind::corrupt, "a process option that leaves its block");
  return process;
}

Result<> parse_origins(std::span<const std::byte> options, ByteOrder order,
                       std::vector<std::string>& origins, LeftOut& left_out) {
  constexpr size_t kMostOrigins = 16, kLongestOrigin = 1024;
  OptionReader reader(options, order);
  while (const auto option = reader.next()) {
    if (option->code != kOptComment && option->code != kShbHardware && option->code != kShbOs &&
        option->code != kShbApplication) {
      ++left_out["other options of sections"];
      continue;
    }
    std::string text = text_of(option->value);
    if (text.empty() || std::find(origins.begin(), origins.end(), text) != origins.end()) continue;
    if (origins.size() >= kMostOrigins || text.size() > kLongestOrigin)
      ++left_out["long or many texts about sections"];
    else
      origins.push_back(std::move(text));
  }
  if (reader.damaged()) return fail(ErrorKind::corrupt, "a section option that leaves its block");
  return {};
}

}  // namespace lookback::packet
