#include "unit/packet/support/capture_files.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lookback::packet::testing {

CaptureReader::Source source_of(std::span<const std::byte> bytes, size_t chunk) {
  return [bytes, chunk](std::span<std::byte> out) mutable -> Result<size_t> {
    const size_t n = std::min({out.size(), bytes.size(), chunk});
    if (n != 0) std::memcpy(out.data(), bytes.data(), n);
    bytes = bytes.subspan(n);
    return n;
  };
}

Outcome read_all(std::span<const std::byte> bytes, size_t chunk) {
  Outcome outcome;
  auto reader = CaptureReader::open(source_of(bytes, chunk));
  if (!reader) {
    outcome.error = reader.error().message;
    return outcome;
  }
  for (;;) {
    const auto packet = reader->next();
    if (!packet) outcome.error = packet.error().message;
    if (!packet || !*packet) break;
    const ReadPacket& read = **packet;
    outcome.packets.push_back(
        {read.view,
         std::string(reinterpret_cast<const char*>(read.view.data.data()), read.view.data.size()),
         std::string(read.first_comment), read.drop_count});
  }
  outcome.interfaces = reader->interfaces();
  return outcome;
}

BlockWriter& BlockWriter::u16(uint16_t value) {
  if (big_endian_) value = __builtin_bswap16(value);
  out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}
BlockWriter& BlockWriter::u32(uint32_t value) {
  if (big_endian_) value = __builtin_bswap32(value);
  out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}
BlockWriter& BlockWriter::u64(uint64_t value) {
  if (big_endian_) value = __builtin_bswap64(value);
  out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}
BlockWriter& BlockWriter::unpadded(std::string_view bytes) {
  out_ += bytes;
  return *this;
}
BlockWriter& BlockWriter::raw(std::string_view bytes) {
  out_ += bytes;
  while ((out_.size() - start_) % 4 != 0) out_ += '\0';
  return *this;
}
BlockWriter& BlockWriter::begin(uint32_t type) {
  start_ = out_.size();
  return u32(type).u32(0);
}
BlockWriter& BlockWriter::end() {
  const auto length = static_cast<uint32_t>(out_.size() + 4 - start_);
  const uint32_t stored = big_endian_ ? __builtin_bswap32(length) : length;
  std::memcpy(out_.data() + start_ + 4, &stored, sizeof stored);
  return u32(length);
}
BlockWriter& BlockWriter::option(uint16_t code, std::string_view value) {
  return u16(code).u16(static_cast<uint16_t>(value.size())).raw(value);
}
BlockWriter& BlockWriter::section() {
  return begin(kPcapngSectionHeader).u32(0x1A2B3C4D).u16(1).u16(0).u64(~uint64_t{0}).end();
}
BlockWriter& BlockWriter::interface(uint16_t link_type, uint32_t snaplen) {
  return begin(kPcapngInterface).u16(link_type).u16(0).u32(snaplen).end();
}

std::optional<std::string> output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  std::string output;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
  const int status = pclose(pipe);
  constexpr int kNotInstalled = 127 << 8;
  if (status == kNotInstalled) return std::nullopt;
  return output;
}

}  // namespace lookback::packet::testing
