#include "packet/pcapng_blocks.hpp"

#include <limits>
#include <string>

#include "lookback/base/time.hpp"

namespace lookback::packet {

namespace {
constexpr uint16_t kIfName = 2, kIfDescription = 3, kIfTsresol = 9, kIfFilter = 11, kIfOs = 12,
                   kIfTsoffset = 14;

std::string text_of(std::span<const std::byte> value) {
  std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
  // Texts are not terminated, but some writers do; nothing behind a zero byte is meant to be read.
  return std::string(text.substr(0, text.find('\0')));
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

int64_t TimeScale::to_ns(uint64_t ticks) const {
  __extension__ using Wide = __int128;
  __extension__ using UnsignedWide = unsigned __int128;
  const unsigned exponent = resolution & 0x7f;
  UnsignedWide ns = ticks;
  if ((resolution & 0x80) != 0) {
    ns = ns * kNsPerSecond >> exponent;  // below 2^94, and exponent below 128
  } else if (exponent <= 9) {
    for (unsigned i = exponent; i < 9; ++i) ns *= 10;
  } else {
    for (unsigned i = 9; i < exponent && ns != 0; ++i) ns /= 10;
  }
  const Wide time = static_cast<Wide>(ns) + static_cast<Wide>(offset_seconds) * kNsPerSecond;
  using Limits = std::numeric_limits<int64_t>;
  if (time > Limits::max()) return Limits::max();
  if (time < Limits::min()) return Limits::min();
  return static_cast<int64_t>(time);
}

Result<InterfaceBlock> parse_interface_block(std::span<const std::byte> body, ByteOrder order) {
  if (body.size() < 8) return fail(ErrorKind::corrupt, "an interface block that is too short");
  InterfaceBlock block;
  block.interface.link_type = order.u16(body.data());
  block.interface.snaplen = order.u32(body.data() + 4);
  OptionReader options(body.subspan(8), order);
  while (const auto option = options.next()) {
    const auto value = option->value;
    switch (option->code) {
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
        // First byte 0: pcap-filter text. Other kinds (1: BPF code) have no text to show.
        if (!value.empty() && load8(value.data()) == 0)
          block.interface.filter = text_of(value.subspan(1));
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
        break;
    }
  }
  if (options.damaged())
    return fail(ErrorKind::corrupt, "an interface option that leaves its block");
  return block;
}

}  // namespace lookback::packet
