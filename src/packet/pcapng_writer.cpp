#include <algorithm>
#include <cstring>

#include "lookback/base/result.hpp"
#include "lookback/packet/pcapng.hpp"
#include "packet/pcapng_blocks.hpp"
#include "packet/pcapng_format.hpp"

namespace lookback::packet {

namespace {

constexpr size_t kMaxOption = 0xffff;

constexpr size_t padded(size_t bytes) {
  return (bytes + 3) & ~size_t{3};
}

/// Time stamps are unsigned on disk: what lies before 1970 is written as 1970.
uint64_t unsigned_time(int64_t time_ns) {
  return static_cast<uint64_t>(std::max<int64_t>(time_ns, 0));
}

void put_bytes(Buffer& out, const void* from, size_t bytes) {
  const auto* data = static_cast<const std::byte*>(from);
  out.insert(out.end(), data, data + bytes);
}
template <class T>
void put(Buffer& out, T value) {
  put_bytes(out, &value, sizeof value);
}
void put_padding(Buffer& out, size_t unpadded) {
  static constexpr std::byte kZero[3] = {};
  put_bytes(out, kZero, padded(unpadded) - unpadded);
}

/// Cuts at the longest length an option can have, not inside a UTF-8 sequence.
std::string_view option_text(std::string_view text) {
  if (text.size() <= kMaxOption) return text;
  size_t end = kMaxOption;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

void put_option(Buffer& out, uint16_t code, std::string_view value) {
  put(out, code);
  put(out, static_cast<uint16_t>(value.size()));
  put_bytes(out, value.data(), value.size());
  put_padding(out, value.size());
}
void put_text_option(Buffer& out, uint16_t code, std::string_view text) {
  if (!text.empty()) put_option(out, code, option_text(text));
}
void put_end_of_options(Buffer& out) {
  put(out, uint32_t{kOptEnd});
}

/// A 64-bit time as two words, the high one first whatever the byte order (draft, section 4.6).
void put_time_option(Buffer& out, uint16_t code, int64_t time_ns) {
  const uint64_t time = unsigned_time(time_ns);
  put(out, code);
  put(out, uint16_t{8});
  put(out, static_cast<uint32_t>(time >> 32));
  put(out, static_cast<uint32_t>(time));
}
void put_count_option(Buffer& out, uint16_t code, uint64_t count) {
  put(out, code);
  put(out, uint16_t{8});
  put(out, count);
}

/// Writes the type and room for the length, which end_block() fills in.
size_t begin_block(Buffer& out, uint32_t type) {
  const size_t start = out.size();
  put(out, type);
  put(out, uint32_t{0});
  return start;
}
void end_block(Buffer& out, size_t start) {
  const size_t total = out.size() + 4 - start;
  LOOKBACK_CHECK(total <= UINT32_MAX && total % 4 == 0);
  const auto length = static_cast<uint32_t>(total);
  put(out, length);
  std::memcpy(out.data() + start + 4, &length, sizeof length);
}

/// epb_flags: bits 0-1 direction, 2-4 reception type.
uint32_t flags_word(const PacketView& packet) {
  return static_cast<uint32_t>(packet.direction) | static_cast<uint32_t>(packet.reception) << 2;
}

constexpr size_t kPacketHeader = 28;  // up to the data
constexpr size_t kEndOfOptions = 4, kTrailer = 4;

/// What stands in front of a packet's data in its block, and behind it: padding, flags, (comments go here,) the end of the options,
/// the length once more.
struct PacketEnds {
  uint32_t header[kPacketHeader / 4];
  std::byte tail[3 + kFlagsOption + kEndOfOptions + kTrailer] = {};
  size_t flags_end, tail_end;

  PacketEnds(const PacketView& packet, uint32_t total, bool comments)
      : header{kPcapngEnhancedPacket,
               total,
               packet.interface,
               static_cast<uint32_t>(unsigned_time(packet.time_ns) >> 32),
               static_cast<uint32_t>(unsigned_time(packet.time_ns)),
               static_cast<uint32_t>(packet.data.size()),
               packet.original_length} {
    size_t used = padded(packet.data.size()) - packet.data.size();
    const auto word = [&](uint32_t value) {
      std::memcpy(tail + used, &value, sizeof value);
      used += sizeof value;
    };
    // Flags stand first: SectionWalker finds them there without a search.
    const uint32_t flags = flags_word(packet);
    if (flags != 0) {
      word(uint32_t{kEpbFlags} | 4u << 16);
      word(flags);
    }
    flags_end = used;
    if (flags != 0 || comments) word(kOptEnd);
    word(total);
    tail_end = used;
  }
};

}  // namespace

void append_section_header(Buffer& out, std::string_view application, std::string_view comment) {
  const size_t start = begin_block(out, kPcapngSectionHeader);
  put(out, kByteOrderMagic);
  put(out, uint16_t{1});
  put(out, uint16_t{0});
  put(out, ~uint64_t{0});  // section length not known: readers walk the blocks
  put_text_option(out, kOptComment, comment);
  put_text_option(out, kShbApplication, application);
  put_end_of_options(out);
  end_block(out, start);
}

void append_interface(Buffer& out, const PcapngInterface& interface) {
  const size_t start = begin_block(out, kPcapngInterface);
  put(out, interface.link_type);
  put(out, uint16_t{0});
  put(out, interface.snaplen);
  put_text_option(out, kIfName, interface.name);
  put_text_option(out, kIfDescription, interface.description);
  put_option(out, kIfTsresol, "\x09");
  if (!interface.filter.empty()) {
    // The first byte says what follows: 0 is pcap-filter text.
    put_option(out, kIfFilter, option_text(std::string(1, '\0') + interface.filter));
  }
  put_text_option(out, kIfOs, interface.os);
  if (interface.same_name != 0)
    put_text_option(out, kOptComment, same_name_comment(interface.same_name));
  put_bytes(out, interface.options.data(), interface.options.size());
  put_end_of_options(out);
  end_block(out, start);
}

void append_packet(Buffer& out, const PacketView& packet, std::span<const std::string> comments) {
  size_t total = packet_block_size(packet);
  if (!comments.empty()) {
    if (flags_word(packet) == 0) total += kEndOfOptions;
    for (const std::string& comment : comments) total += 4 + padded(option_text(comment).size());
  }
  LOOKBACK_CHECK(total <= UINT32_MAX);
  const PacketEnds ends(packet, static_cast<uint32_t>(total), !comments.empty());
  put_bytes(out, ends.header, sizeof ends.header);
  put_bytes(out, packet.data.data(), packet.data.size());
  put_bytes(out, ends.tail, ends.flags_end);
  for (const std::string& comment : comments) put_option(out, kOptComment, option_text(comment));
  put_bytes(out, ends.tail + ends.flags_end, ends.tail_end - ends.flags_end);
}

void write_packet(std::byte* out, const PacketView& packet) {
  const size_t total = packet_block_size(packet);
  LOOKBACK_CHECK(total <= UINT32_MAX);
  const PacketEnds ends(packet, static_cast<uint32_t>(total), false);
  std::memcpy(out, ends.header, sizeof ends.header);
  out += sizeof ends.header;
  if (!packet.data.empty()) std::memcpy(out, packet.data.data(), packet.data.size());
  std::memcpy(out + packet.data.size(), ends.tail, ends.tail_end);
}

void write_packet(std::byte* out, const PacketView& packet, std::span<const std::byte> options) {
  if (options.empty()) return write_packet(out, packet);
  const size_t total = packet_block_size(packet, options);
  LOOKBACK_CHECK(total <= UINT32_MAX && options.size() % 4 == 0);
  PacketView without_flags = packet;
  without_flags.direction = Direction::unknown;
  without_flags.reception = Reception::unspecified;
  const PacketEnds ends(without_flags, static_cast<uint32_t>(total), true);
  const auto put = [&out](const void* from, size_t bytes) {
    if (bytes != 0) std::memcpy(out, from, bytes);
    out += bytes;
  };
  put(ends.header, sizeof ends.header);
  put(packet.data.data(), packet.data.size());
  put(ends.tail, ends.flags_end);  // padding
  put(options.data(), options.size());
  put(ends.tail + ends.flags_end, ends.tail_end - ends.flags_end);
}

void append_packet_comment(Buffer& options, const PacketView& packet, std::string_view comment) {
  if (options.empty() && flags_word(packet) != 0) {
    put(options, uint32_t{kEpbFlags} | 4u << 16);
    put(options, flags_word(packet));
  }
  put_option(options, kOptComment, option_text(comment));
}

size_t packet_block_size(const PacketView& packet, std::span<const std::byte> options) {
  if (options.empty()) return packet_block_size(packet);
  return packet_block_size(packet.data.size(), false) + options.size() + kEndOfOptions;
}

size_t packet_block_size(const PacketView& packet) {
  return packet_block_size(packet.data.size(), flags_word(packet) != 0);
}

size_t packet_block_size(size_t captured_length, bool with_flags) {
  return kPacketHeader + padded(captured_length) + (with_flags ? kFlagsOption + kEndOfOptions : 0) +
         kTrailer;
}

void append_process(Buffer& out, const PcapngProcess& process) {
  const size_t start = begin_block(out, kPcapngProcess);
  put(out, process.pid);
  put_text_option(out, kProcessName, process.name);
  put_end_of_options(out);
  end_block(out, start);
}

void append_statistics(Buffer& out, const PcapngStatistics& statistics) {
  const size_t start = begin_block(out, kPcapngStatistics);
  const uint64_t time = unsigned_time(statistics.time_ns);
  put(out, statistics.interface);
  put(out, static_cast<uint32_t>(time >> 32));
  put(out, static_cast<uint32_t>(time));
  put_text_option(out, kOptComment, statistics.comment);
  if (statistics.start_ns != 0) put_time_option(out, kIsbStart, statistics.start_ns);
  if (statistics.end_ns != 0) put_time_option(out, kIsbEnd, statistics.end_ns);
  if (statistics.received) put_count_option(out, kIsbReceived, *statistics.received);
  if (statistics.dropped) put_count_option(out, kIsbDropped, *statistics.dropped);
  put_end_of_options(out);
  end_block(out, start);
}

void append_decryption_secrets(Buffer& out, uint32_t secrets_type, std::string_view secrets) {
  const size_t start = begin_block(out, kPcapngDecryptionSecrets);
  put(out, secrets_type);
  put(out, static_cast<uint32_t>(secrets.size()));
  put_bytes(out, secrets.data(), secrets.size());
  put_padding(out, secrets.size());
  end_block(out, start);
}

}  // namespace lookback::packet
