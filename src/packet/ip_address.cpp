#include "lookback/packet/ip_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace lookback::packet {

namespace {
constexpr uint8_t kMappedBits = 96;

/// Clears every bit behind the prefix.
IpAddress masked(IpAddress address, unsigned prefix_bits) {
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned bits = prefix_bits > 8 * i ? prefix_bits - 8 * i : 0;
    if (bits < 8) address.bytes[i] &= static_cast<uint8_t>(0xff00u >> bits);
  }
  return address;
}
}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  std::array<std::byte, 16> raw{};
  if (terminated.size() == text.size() && text.find('\0') == std::string_view::npos) {
    if (inet_pton(AF_INET, terminated.c_str(), raw.data()) == 1) return v4(raw.data());
    if (inet_pton(AF_INET6, terminated.c_str(), raw.data()) == 1) return v6(raw.data());
  }
  return fail(ErrorKind::invalid, "'{}' is not an IP address", text);
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_v4()) {
    inet_ntop(AF_INET, bytes.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  }
  return text;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view address_text = text.substr(0, slash);
  auto address = IpAddress::parse(address_text);
  if (!address)
    return fail(ErrorKind::invalid, "'{}' is neither an IP address nor a network like 10.0.0.0/8",
                text);
  Cidr cidr{*address, 128};
  if (slash == std::string_view::npos) return cidr;
  // "::ffff:10.0.0.0/104" is written in the 128-bit form already.
  const bool dotted = address_text.find(':') == std::string_view::npos;
  const std::string_view bits_text = text.substr(slash + 1);
  unsigned bits = 0;
  const char* end = bits_text.data() + bits_text.size();
  const auto parsed = std::from_chars(bits_text.data(), end, bits);
  if (parsed.ec != std::errc() || parsed.ptr != end || bits > (dotted ? 32u : 128u))
    return fail(ErrorKind::invalid, "'{}': the prefix length must be 0 to {}", text,
                dotted ? 32 : 128);
  cidr.prefix_bits = static_cast<uint8_t>(dotted ? bits + kMappedBits : bits);
  cidr.network = masked(*address, cidr.prefix_bits);
  if (cidr.network != *address)
    return fail(ErrorKind::invalid, "'{}' has host bits set; write {}", text, cidr.to_string());
  return cidr;
}

std::string Cidr::to_string() const {
  if (is_host()) return network.to_string();
  if (is_v4()) return fmt::format("{}/{}", network.to_string(), prefix_bits - kMappedBits);
  return fmt::format("{}/{}", network.to_string(), prefix_bits);
}

}  // namespace lookback::packet
