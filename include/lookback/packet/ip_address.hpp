#pragma once
// IPv4 and IPv6 addresses and prefixes. IPv4 is held as an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2), so that one
// comparison serves both.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::packet {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  [[nodiscard]] static IpAddress v4(const std::byte* four);
  [[nodiscard]] static IpAddress v6(const std::byte* sixteen);
  [[nodiscard]] static Result<IpAddress> parse(std::string_view text);
  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] std::string to_string() const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

/// "10.0.0.0/8", "fd00::/64", or a lone address (then a full-length prefix). Host bits must be zero.
struct Cidr {
  IpAddress network;
  uint8_t prefix_bits = 128;  ///< counted in the 128-bit form: an IPv4 /8 is 104

  [[nodiscard]] static Result<Cidr> parse(std::string_view text);
  [[nodiscard]] bool contains(const IpAddress& address) const;
  [[nodiscard]] bool is_host() const { return prefix_bits == 128; }
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const Cidr&, const Cidr&) = default;
};

}  // namespace lookback::packet
