#pragma once
// A conservative summary of the addresses and ports in a run of packets (one zstd frame of a member): what it
// says is absent is absent; what it says may be there may not be. Lets an export skip frames.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/decode.hpp"

namespace lookback::packet {

/// Text form (in manifest.json) is compact base64 with a version byte; grammar in summary.cpp's header comment and
/// lookback-archive(5). An empty text means "anything may be in there".
class Summary {
 public:
  /// Anything may be in it.
  Summary() = default;
  [[nodiscard]] static Result<Summary> parse(std::string_view text);
  [[nodiscard]] std::string to_text() const;

  /// False only when no packet has this address as IP source or destination (any nesting level) or in ARP.
  [[nodiscard]] bool may_have_address(const IpAddress& address) const;
  [[nodiscard]] bool may_have_network(const Cidr& network) const;
  /// False only when no packet has this TCP, UDP or SCTP port on any level and no later fragment is in it.
  [[nodiscard]] bool may_have_port(uint16_t port) const;

 private:
  friend class SummaryBuilder;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

class SummaryBuilder {
 public:
  SummaryBuilder();
  ~SummaryBuilder();
  void add(const Headers& headers);
  /// The summary of all added since the last take(); starts afresh.
  [[nodiscard]] Summary take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a pcap-filter expression needs a packet to have, as far as that can be told safely from its text: an
/// and/or tree of addresses, networks and ports. Negations, offsets, tunnels (vlan, mpls, geneve …), names to resolve and
/// everything unknown count as "may match anything".
class Prefilter {
 public:
  [[nodiscard]] static Prefilter of_expression(std::string_view pcap_filter);
  [[nodiscard]] static Prefilter of_networks(std::span<const Cidr> any_of);
  [[nodiscard]] bool may_match(const Summary& summary) const;
  [[nodiscard]] bool matches_anything() const;  ///< true when nothing can ever be skipped

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
};

}  // namespace lookback::packet
