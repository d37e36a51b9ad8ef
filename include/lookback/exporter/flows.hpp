#pragma once
// The flows in an archive: who talked to whom, how much, how well, and which processes did.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/archive/archive.hpp"
#include "lookback/base/result.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::exporter {

/// One end of a flow, and what it sent.
struct FlowEnd {
  packet::IpAddress address;
  uint16_t port = 0;  ///< 0 where the protocol has none
  uint64_t packets = 0;
  uint64_t bytes = 0;        ///< whole packets as they were on the wire
  uint64_t retransmits = 0;  ///< TCP segments sent again, as far as this node saw
  /// Who had the socket at this end on the node that saw the flow; where it is not known, pid is 0
  /// and the others are empty.
  uint32_t pid = 0;
  std::string process;
  std::string container, container_id, pod_uid;
};

enum class FlowState : uint8_t {
  none,        ///< not TCP
  connecting,  ///< a SYN and no answer
  open,
  closed,  ///< FIN of both ends
  reset,
};

/// Packets of one protocol between two ends in one network (VLAN, tunnel) as one node saw them; a
/// TCP connection that reuses the ports of an earlier one is a flow of its own. Where several
/// interfaces of a node saw the same flow, or one saw it twice, the figures are those of the
/// sighting with most of it.
struct Flow {
  std::string node, interface;
  uint32_t ifindex = 0;  ///< of the node's interface, where a capture of all of them tells it; else 0
  std::vector<uint16_t> vlans;        ///< ids of its tags, the outermost first, at most two
  std::optional<uint32_t> tunnel_id;  ///< VNI of VXLAN or Geneve, key of GRE
  uint8_t protocol = 0;  ///< an IP protocol number
  FlowState state = FlowState::none;
  /// The client is who opened the connection. Where that is not in the capture, the server is who
  /// listened by the node's OS events, or who has the likelier port of a service: a known one, one
  /// that hosts do not choose for clients, the lower one of a connection. Else the client is who
  /// sent first.
  FlowEnd client, server;
  int64_t first_ns = 0, last_ns = 0;  ///< stamps as an export writes them
  /// Of the TCP handshake, else the shortest that data and their acknowledgments tell.
  std::optional<int64_t> rtt_ns;

  [[nodiscard]] uint64_t packets() const { return client.packets + server.packets; }
  [[nodiscard]] uint64_t bytes() const { return client.bytes + server.bytes; }
  [[nodiscard]] uint64_t retransmits() const { return client.retransmits + server.retransmits; }
};

struct FlowReport {
  std::vector<Flow> flows;  ///< by first_ns
  uint64_t packets_read = 0;
  uint64_t packets_of_no_flow = 0;  ///< not IP
  uint64_t packets_untold = 0;      ///< of flows beyond kMostFlows
  bool complete = true;             ///< as in ExportStats
  std::vector<std::string> warnings;
};

/// Flows told at most in one report, each counted on each interface that saw it.
inline constexpr size_t kMostFlows = 400'000;

/// `options` choose the packets as for an export; format and dedup do not matter.
[[nodiscard]] Result<FlowReport> report_flows(
    const std::shared_ptr<archive::ArchiveReader>& archive, const ExportOptions& options,
    const std::atomic<bool>* cancelled = nullptr);

enum class FlowOrder { start, bytes, packets, retransmits, rtt };
/// "start", "bytes", "packets", "retransmits", "rtt"; invalid for others.
[[nodiscard]] Result<FlowOrder> parse_flow_order(std::string_view text);
/// Sorts (largest first, start: earliest first) and keeps the first `limit`; 0 keeps all.
void arrange_flows(FlowReport& report, FlowOrder order, size_t limit);

/// "tcp", "udp", "icmp" …, or the number.
[[nodiscard]] std::string protocol_name(uint8_t protocol);
/// The JSON object of one flow, on one line.
[[nodiscard]] std::string to_json(const Flow& flow);
/// The report as one JSON object; "flows" come last in it, one a line.
[[nodiscard]] Result<> write_json(const FlowReport& report, const Sink& sink);

}  // namespace lookback::exporter
