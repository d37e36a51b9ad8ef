#pragma once
// The tree behind a Prefilter.

#include <memory>
#include <vector>

#include "lookback/packet/summary.hpp"

namespace lookback::packet {

/// Null pointers stand for "anything" everywhere.
using PrefilterNode = std::shared_ptr<const Prefilter::Node>;

struct Prefilter::Node {
  enum class Kind { network, ports, all_of, any_of };
  Kind kind;
  Cidr network;
  uint16_t first_port = 0, last_port = 0;
  std::vector<PrefilterNode> children;  ///< of all_of and any_of: two or more, none null
};

[[nodiscard]] PrefilterNode network_node(const Cidr& network);
[[nodiscard]] PrefilterNode port_node(uint16_t first, uint16_t last);
/// "Anything" is neutral in the first and swallows the second.
[[nodiscard]] PrefilterNode both(PrefilterNode left, PrefilterNode right);
[[nodiscard]] PrefilterNode either(PrefilterNode left, PrefilterNode right);

/// The part of pcap-filter(7) whose needs are certain; see Prefilter::of_expression.
[[nodiscard]] PrefilterNode parse_prefilter(std::string_view expression);

}  // namespace lookback::packet
