#pragma once
// The address filter of a freeze: packets with an end in one of the networks, on any nesting level, or ARP about one.
// Immutable; any thread.

#include <span>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/decode.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::node {

class AddressFilter {
 public:
  /// No networks: everything matches.
  [[nodiscard]] static Result<AddressFilter> parse(const std::vector<std::string>& networks) {
    AddressFilter filter;
    for (const auto& text : networks) {
      TRY_ASSIGN(auto network, packet::Cidr::parse(text));
      filter.networks_.push_back(network);
    }
    return filter;
  }

  [[nodiscard]] bool matches(uint16_t link_type, std::span<const std::byte> data) const {
    if (networks_.empty()) return true;
    const auto headers = packet::decode(link_type, data);
    for (uint8_t i = 0; i < headers.ip_count; ++i)
      if (contains(headers.ip[i].source) || contains(headers.ip[i].destination)) return true;
    return headers.arp && (contains(headers.arp_sender) || contains(headers.arp_target));
  }
  [[nodiscard]] const std::vector<packet::Cidr>& networks() const { return networks_; }

 private:
  [[nodiscard]] bool contains(const packet::IpAddress& address) const {
    for (const auto& network : networks_)
      if (network.contains(address)) return true;
    return false;
  }

  std::vector<packet::Cidr> networks_;
};

}  // namespace lookback::node
