#include "packet/option_rules.hpp"

#include <algorithm>
#include <optional>

namespace lookback::packet {

namespace {

/// What of a value has the byte order of its section.
enum class Shape : uint8_t {
  bytes,     ///< nothing: texts, addresses, hashes
  u16,
  u32,
  u64,
  two_u32,   ///< process and thread
  verdict,   ///< a byte that says what follows: 1 and 2 are a number of 64 bits
  custom,    ///< an enterprise number of 32 bits, then bytes that are the enterprise's
  forbidden  ///< not to be copied (custom options that say so, references into blocks)
};

struct Rule {
  uint16_t code;
  Shape shape;
  const char* name;
};

constexpr Rule kAnywhere[] = {{kOptComment, Shape::bytes, "comments"},
                              {2988, Shape::custom, "custom options"},
                              {2989, Shape::custom, "custom options"},
                              {19372, Shape::forbidden, "custom options that are not to be copied"},
                              {19373, Shape::forbidden, "custom options that are not to be copied"}};
constexpr Rule kOfInterfaces[] = {{4, Shape::bytes, "IPv4 addresses of interfaces"},
                                  {5, Shape::bytes, "IPv6 addresses of interfaces"},
                                  {6, Shape::bytes, "MAC addresses of interfaces"},
                                  {7, Shape::bytes, "EUI addresses of interfaces"},
                                  {8, Shape::u64, "speeds of interfaces"},
                                  {10, Shape::u32, "time zones of interfaces"},
                                  {11, Shape::bytes, "filters of interfaces that are not text"},
                                  {13, Shape::bytes, "FCS lengths of interfaces"},
                                  {15, Shape::bytes, "hardware of interfaces"},
                                  {16, Shape::u64, "transmit speeds of interfaces"},
                                  {17, Shape::u64, "receive speeds of interfaces"},
                                  {18, Shape::bytes, "time zone names of interfaces"}};
constexpr Rule kOfPackets[] = {{kEpbFlags, Shape::u32, "flags of packets"},
                               {3, Shape::bytes, "hashes of packets"},
                               {kEpbDropCount, Shape::u64, "drop counts of packets"},
                               {5, Shape::u64, "packet ids"},
                               {6, Shape::u32, "queues of packets"},
                               {7, Shape::verdict, "verdicts on packets"},
                               {kEpbProcess, Shape::two_u32, "processes of packets"},
                               {kEpbProcessBlock, Shape::forbidden, "references to process blocks"},
                               {0x8002, Shape::u32, "service classes of packets"},
                               {0x8003, Shape::forbidden, "references to effective process blocks"},
                               {0x8004, Shape::u32, "metadata flags of packets"},
                               {0x8005, Shape::u32, "flow ids of packets"},
                               {0x8006, Shape::u32, "trace tags of packets"},
                               {0x8007, Shape::u32, "drop reasons of packets"},
                               {0x8008, Shape::u16, "drop lines of packets"},
                               {0x8009, Shape::bytes, "drop functions of packets"},
                               {0x800a, Shape::u32, "compression generations of packets"}};
constexpr Rule kOfOldPackets[] = {{kEpbFlags, Shape::u32, "flags of packets"}, {3, Shape::bytes, "hashes of packets"}};

std::span<const Rule> rules_of(OptionOwner owner) {
  switch (owner) {
    case OptionOwner::interface:
      return kOfInterfaces;
    case OptionOwner::packet:
      return kOfPackets;
    case OptionOwner::old_packet:
      break;
  }
  return kOfOldPackets;
}

const Rule* find_rule(uint16_t code, OptionOwner owner) {
  for (const std::span<const Rule> rules : {std::span<const Rule>(kAnywhere), rules_of(owner)}) {
    const auto at = std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.code == code; });
    if (at != rules.end()) return &*at;
  }
  return nullptr;
}

/// How many bytes have a byte order, from where on; a value of another length than the code has is not understood.
struct Ordered {
  size_t at = 0, width = 0, count = 0;
};
std::optional<Ordered> ordered(Shape shape, std::span<const std::byte> value) {
  const auto number = [&](size_t width, size_t count = 1) -> std::optional<Ordered> {
    if (value.size() != width * count) return std::nullopt;
    return Ordered{0, width, count};
  };
  switch (shape) {
    case Shape::bytes:
      return Ordered{};
    case Shape::u16:
      return number(2);
    case Shape::u32:
      return number(4);
    case Shape::u64:
      return number(8);
    case Shape::two_u32:
      return number(4, 2);
    case Shape::verdict:
      if (value.size() == 9 && (load8(value.data()) == 1 || load8(value.data()) == 2)) return Ordered{1, 8, 1};
      return Ordered{};
    case Shape::custom:
      if (value.size() < 4) return std::nullopt;
      return Ordered{0, 4, 1};
    case Shape::forbidden:
      break;
  }
  return std::nullopt;
}

}  // namespace

void leave_out(const OptionReader::Option& option, OptionOwner owner, LeftOut& left_out) {
  const Rule* rule = find_rule(option.code, owner);
  const char* whose = owner == OptionOwner::interface ? "interfaces" : "packets";
  ++left_out[rule != nullptr ? rule->name : fmt::format("options {} of {}", option.code, whose)];
}

void copy_option(Buffer& out, const OptionReader::Option& option, OptionOwner owner, ByteOrder order, LeftOut& left_out) {
  const Rule* rule = find_rule(option.code, owner);
  // Of what nobody has described only the bytes are known: they mean the same where the order is the same, but the codes of
  // local use may point to blocks.
  constexpr uint16_t kLocalUse = 0x8000;
  const bool known = rule != nullptr;
  const bool unclear = order.swapped || option.code >= kLocalUse || owner == OptionOwner::old_packet;
  if ((!known && unclear) || (known && !ordered(rule->shape, option.value)))
    return leave_out(option, owner, left_out);
  const auto put = [&out](uint16_t value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  put(option.code);
  put(static_cast<uint16_t>(option.value.size()));
  const size_t at = out.size();
  out.insert(out.end(), option.value.begin(), option.value.end());
  out.resize((out.size() + 3) & ~size_t{3});
  if (!known || !order.swapped) return;
  const Ordered fields = *ordered(rule->shape, option.value);
  for (size_t i = 0; i < fields.count; ++i) {
    const auto first = out.begin() + static_cast<ptrdiff_t>(at + fields.at + i * fields.width);
    std::reverse(first, first + static_cast<ptrdiff_t>(fields.width));
  }
}

std::string block_name(uint32_t type) {
  switch (type) {
    case kPcapngNameResolution:
      return "name resolution blocks";
    case kPcapngDecryptionSecrets:
      return "blocks of decryption secrets (TLS keys)";
    case 9:
      return "systemd journal entries";
    case 0x0bad:
      return "custom blocks";
    case 0x40000bad:
      return "custom blocks that are not to be copied";
    default:
      return fmt::format("blocks of the unknown type 0x{:08x}", type);
  }
}

}  // namespace lookback::packet
