#pragma once
// IPv4 and IPv6 addresses and prefixes. IPv4 is held as an IPv4-mapped IPv6 address (RFC
// 4291 2.5.5.2), so that one comparison serves both. Plain values; parse() and to_string() may be
// called from any thread.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::packet {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};  ///< network byte order

  [[nodiscard]] static IpAddress v4(const std::byte* four) {
    IpAddress address;
    address.bytes[10] = address.bytes[11] = 0xff;
    std::memcpy(address.bytes.data() + 12, four, 4);
    return address;
  }
  [[nodiscard]] static IpAddress v6(const std::byte* sixteen) {
    IpAddress address;
    std::memcpy(address.bytes.data(), sixteen, 16);
    return address;
  }
  /// Dotted IPv4 or RFC 4291 text; no names, no zones, no surrounding space. Kind invalid.
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);
  [[nodiscard]] bool is_v4() const {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes.data(), kMapped, sizeof kMapped) == 0;
  }
  /// Dotted for IPv4, RFC 5952 for IPv6.
  [[nodiscard]] std::string to_string() const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

/// "10.0.0.0/8", "fd00::/64", or a lone address (then a full-length prefix). Host bits must be
/// zero. An IPv6 prefix never contains an IPv4 address: "::/0" is all of IPv6 and "0.0.0.0/0" all
/// of IPv4.
struct Cidr {
  IpAddress network;
  uint8_t prefix_bits = 128;  ///< counted in the 128-bit form: an IPv4 /8 is 104

  /// Kind invalid; the message says what is wrong and, for host bits, what was probably meant.
  [[nodiscard]] static Result<Cidr> parse(std::string_view text);
  [[nodiscard]] bool contains(const IpAddress& address) const {
    const unsigned whole = prefix_bits / 8;
    if (std::memcmp(network.bytes.data(), address.bytes.data(), whole) != 0) return false;
    if (const unsigned rest = prefix_bits % 8; rest != 0) {
      if ((network.bytes[whole] ^ address.bytes[whole]) >> (8 - rest) != 0) return false;
    }
    return prefix_bits >= 96 || !address.is_v4();
  }
  [[nodiscard]] bool is_v4() const { return prefix_bits >= 96 && network.is_v4(); }
  [[nodiscard]] bool is_host() const { return prefix_bits == 128; }
  /// As parse() takes it; a lone address without "/128" or "/32".
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const Cidr&, const Cidr&) = default;
};

}  // namespace lookback::packet
