#pragma once
// Chooses packets by address: with an end in one of the networks on any nesting level, quoted by an ICMP error, or in ARP. What could
// not be looked into may have such an address: the answer says so, and the caller keeps it and tells. Immutable; any thread.

#include <array>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/decode.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::packet {

class NetworkFilter {
 public:
  /// No networks: everything matches.
  NetworkFilter() = default;
  explicit NetworkFilter(std::vector<Cidr> networks) : networks_(std::move(networks)) {}
  /// Kind invalid, as Cidr::parse().
  [[nodiscard]] static Result<NetworkFilter> parse(const std::vector<std::string>& networks);

  struct Answer {
    bool keep = true;
    Unread unread = Unread::nothing;  ///< why it is kept although no address of it is known to match
  };
  [[nodiscard]] Answer ask(uint16_t link_type, std::span<const std::byte> data) const {
    return networks_.empty() ? Answer{} : look(link_type, data);
  }
  [[nodiscard]] bool keeps_all() const { return networks_.empty(); }
  [[nodiscard]] const std::vector<Cidr>& networks() const { return networks_; }

 private:
  [[nodiscard]] Answer look(uint16_t link_type, std::span<const std::byte> data) const;
  [[nodiscard]] bool contains(const IpAddress& address) const;

  std::vector<Cidr> networks_;
};

/// How many packets were kept for each reason.
using UnreadCounts = std::array<uint64_t, kUnreadReasons>;

/// "12 packets were kept because they could not be looked into: 10 encrypted or compressed, 2 cut short"; empty where there are none.
[[nodiscard]] std::string describe(const UnreadCounts& counts);

}  // namespace lookback::packet
