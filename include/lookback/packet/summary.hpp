#pragma once
// A conservative summary of the addresses and ports in a run of packets (one zstd frame of a
// member): what it says is absent is absent; what it says may be there may not. Lets an export skip
// frames.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"
#include "lookback/packet/decode.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::packet {

/// Text form (in manifest.json) is base64 of a small binary form whose first byte is the version;
/// the grammar stands in src/packet/summary_format.hpp and lookback-archive(5). An empty text means
/// "anything may be in there". Ports are always exact. Addresses are exact where few or close to
/// each other, otherwise in a Bloom filter (one in a hundred absent addresses then seems present);
/// beyond kMaxKeys either side becomes "anything". Immutable; copies share the contents; any
/// thread.
class Summary {
 public:
  static constexpr size_t kMaxKeys = 4096;

  /// Anything may be in it.
  Summary() = default;
  /// Kind corrupt for a damaged text; a version that is not known yet counts as "anything".
  [[nodiscard]] static Result<Summary> parse(std::string_view text);
  [[nodiscard]] std::string to_text() const;

  /// False only when every packet's addresses were read on all levels: see Headers::unread.
  [[nodiscard]] bool has_unread() const;
  /// False only when no packet is known to have this address as IP source or destination (any nesting level, quoted ones too) or
  /// in ARP.
  [[nodiscard]] bool may_have_address(const IpAddress& address) const;
  /// False only when no packet has an address that the network contains. Bloom filters answer for
  /// single addresses only.
  [[nodiscard]] bool may_have_network(const Cidr& network) const;
  /// False only when no packet has this port on any level, as source or destination of TCP, UDP,
  /// SCTP, DCCP or UDP-Lite. Later fragments have no ports (nor has pcap-filter's "port" any for
  /// them).
  [[nodiscard]] bool may_have_port(uint16_t port) const { return may_have_port_in(port, port); }
  /// The same for any port from `first` to `last`, both included.
  [[nodiscard]] bool may_have_port_in(uint16_t first, uint16_t last) const;

  struct Impl;

 private:
  friend class SummaryBuilder;
  explicit Summary(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// Collects a summary. About 10 ns a packet, no allocation once the tables have grown. One thread.
class SummaryBuilder {
 public:
  SummaryBuilder();
  ~SummaryBuilder();
  SummaryBuilder(SummaryBuilder&&) noexcept;
  SummaryBuilder& operator=(SummaryBuilder&&) noexcept;

  /// A packet whose headers are opaque makes the summary "anything": it may have addresses that
  /// nobody saw.
  void add(const Headers& headers);
  /// The same as add(decode(link_type, data)), with a short way for the packets that most are.
  void add(uint16_t link_type, std::span<const std::byte> data);
  /// The summary of all added since the last take(); starts afresh.
  [[nodiscard]] Summary take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a pcap-filter expression needs a packet to have, as far as that can be told safely from its
/// text: an and/or tree of addresses, networks and ports. Negations, offsets, names to resolve and
/// everything unknown count as "may match anything"; tunnel keywords (vlan, mpls, pppoes, geneve …)
/// make that of the whole expression, because they move where the rest of it looks. Immutable; any
/// thread.
class Prefilter {
 public:
  /// Rules nothing out.
  Prefilter() = default;
  /// Any text at all; one that libpcap would refuse gives some prefilter or other.
  [[nodiscard]] static Prefilter of_expression(std::string_view pcap_filter);
  /// For packets with an address in any of these networks, and those whose addresses could not be read; none given rules nothing
  /// out.
  [[nodiscard]] static Prefilter of_networks(std::span<const Cidr> any_of);

  /// False only when no packet that went into the summary can match.
  [[nodiscard]] bool may_match(const Summary& summary) const;
  [[nodiscard]] bool matches_anything() const {
    return root_ == nullptr;
  }  ///< true when nothing can ever be skipped
  /// The tree, for messages and tests: "(host 10.0.0.1 and port 80)", "anything".
  [[nodiscard]] std::string to_string() const;

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
  bool keeps_unread_ = false;
};

}  // namespace lookback::packet
