#include "lookback/packet/network_filter.hpp"

#include <algorithm>
#include <numeric>

namespace lookback::packet {

Result<NetworkFilter> NetworkFilter::parse(const std::vector<std::string>& networks) {
  NetworkFilter filter;
  for (const std::string& text : networks) {
    TRY_ASSIGN(const Cidr network, Cidr::parse(text));
    filter.networks_.push_back(network);
  }
  return filter;
}

bool NetworkFilter::contains(const IpAddress& address) const {
  return std::any_of(networks_.begin(), networks_.end(), [&](const Cidr& network) { return network.contains(address); });
}

NetworkFilter::Answer NetworkFilter::look(uint16_t link_type, std::span<const std::byte> data) const {
  const Headers headers = decode(link_type, data);
  for (size_t i = 0; i < headers.ip_count; ++i)
    if (contains(headers.ip[i].source) || contains(headers.ip[i].destination)) return {};
  for (size_t i = 0; i < headers.mentioned_count; ++i)
    if (contains(headers.mentioned[i].source) || contains(headers.mentioned[i].destination)) return {};
  if (headers.arp && (contains(headers.arp_sender) || contains(headers.arp_target))) return {};
  return {headers.unread != Unread::nothing, headers.unread};
}

std::string describe(const UnreadCounts& counts) {
  const uint64_t sum = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (sum == 0) return {};
  std::string text = fmt::format("{} {} kept although {} addresses could not all be read: ", sum,
                                 sum == 1 ? "packet was" : "packets were", sum == 1 ? "its" : "their");
  bool first = true;
  for (size_t reason = 0; reason < counts.size(); ++reason) {
    if (counts[reason] == 0) continue;
    text += fmt::format("{}{} {}", first ? "" : ", ", counts[reason], describe(static_cast<Unread>(reason)));
    first = false;
  }
  return text;
}

}  // namespace lookback::packet
