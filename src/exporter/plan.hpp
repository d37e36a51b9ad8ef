#pragma once
// What an export will read and write, settled before the first byte: nodes, interfaces, filters,
// frames.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "exporter/clock_map.hpp"
#include "exporter/process_table.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/packet/filter.hpp"
#include "lookback/packet/network_filter.hpp"

namespace lookback::exporter {

/// A time in which a node lost packets, inside the exported window.
struct PlannedGap {
  Gap gap;        ///< as the manifest has it, node time
  int64_t written_end_ns;  ///< its end in the stamps that are written
};

struct PlannedNode {
  PlannedNode(const archive::NodeEntry& node, TimeWindow hub_window)
      : entry(&node), clock(node.clock), accepted(clock.to_node(hub_window)) {}

  const archive::NodeEntry* entry;
  ClockMap clock;
  std::vector<TimeWindow> accepted;  ///< node times that are exported
  std::vector<PlannedGap> gaps;      ///< sorted by written_end_ns
  uint32_t first_interface = 0;      ///< of the output; none of its interfaces has a lower number
};

/// An interface of the output; its number there is its place in the table.
struct OutputInterface {
  uint32_t node = 0;       ///< index into Plan::nodes
  std::string name;        ///< as recorded
  std::string shown_name;  ///< if_name of the output
  uint16_t link_type = 1;
  uint32_t same_name = 0;  ///< as archive::InterfaceEntry has it
  const archive::InterfaceEntry* entry = nullptr;  ///< null: the manifest does not name it
  /// Null: no packet of this link type can match, or the filter has no meaning on it; its packets
  /// are left out.
  std::shared_ptr<const packet::Filter> filter;
};

/// The output's interfaces. Filled from the manifest; a member that has an interface the manifest
/// does not name adds it. Thread-safe; entries never change and never move.
class InterfaceTable {
 public:
  static constexpr uint32_t kNotExported = UINT32_MAX;

  /// Which interfaces of which node, by name or glob; empty: all. `filter` is pcap-filter text.
  InterfaceTable(std::vector<std::string> patterns, std::string filter, bool several_nodes)
      : patterns_(std::move(patterns)), filter_(std::move(filter)), several_nodes_(several_nodes) {}

  /// The number of this interface, or kNotExported where the options leave it out.
  [[nodiscard]] uint32_t resolve(uint32_t node, const std::string& node_name,
                                 const std::string& name, uint16_t link_type,
                                 uint32_t same_name = 0,
                                 const archive::InterfaceEntry* entry = nullptr);
  [[nodiscard]] size_t size() const;
  [[nodiscard]] const OutputInterface& at(uint32_t number) const;
  [[nodiscard]] size_t link_types() const;
  /// What libpcap said against the filter, by link type.
  [[nodiscard]] std::map<uint16_t, Error> filter_errors() const;
  [[nodiscard]] const std::string& filter() const { return filter_; }

 private:
  [[nodiscard]] std::shared_ptr<const packet::Filter> filter_of(uint16_t link_type);

  const std::vector<std::string> patterns_;
  const std::string filter_;
  const bool several_nodes_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<const OutputInterface>> interfaces_;
  std::map<std::tuple<uint32_t, std::string, uint16_t, uint32_t>, uint32_t> numbers_;
  std::map<uint16_t, std::shared_ptr<const packet::Filter>> filters_;
  std::map<uint16_t, Error> filter_errors_;
};

/// One frame of a member to be read.
struct FrameUnit {
  const archive::MemberEntry* member = nullptr;
  uint32_t member_number = 0;  ///< counts the members that have any unit
  uint32_t frame = 0;
  uint32_t node = 0;
  uint32_t stored_order = 0;  ///< of the frame among all of the archive
  int64_t lower_ns = 0;       ///< no packet in it is written with an earlier stamp
  uint32_t lower_interface = 0;  ///< nor on an interface of a lower number
};

struct Plan {
  TimeWindow window;               ///< hub time, cut to the snapshot's
  std::vector<PlannedNode> nodes;  ///< in manifest order
  std::unique_ptr<InterfaceTable> interfaces;
  std::unique_ptr<ProcessTable> process_blocks = std::make_unique<ProcessTable>();
  std::vector<FrameUnit> units;  ///< by lower_ns, lower_interface, stored_order
  uint32_t members = 0;
  uint64_t frames_skipped = 0;
  packet::NetworkFilter networks;
  /// The networks that the snapshot was made with. An export without networks of its own counts the packets that nodes kept unread.
  packet::NetworkFilter recorded_networks;
  Format format = Format::pcapng;
  bool microseconds = false;
  uint32_t snaplen = 0;
  bool dedup = false, align_clocks = false;
  bool digests = false;  ///< batches bear a digest of each packet
  std::string processes;  ///< which were chosen, in words; empty: all
  bool complete = true;
  std::vector<std::string> warnings;

  /// The stamp that a packet of this node is written with.
  [[nodiscard]] int64_t written_time(const PlannedNode& node, int64_t node_ns) const {
    return align_clocks ? node.clock.to_hub(node_ns) : node_ns;
  }
};

/// Errors: not_found for a node or interface that is not there, invalid for a window, a filter, or
/// a classic pcap of several link types; cancelled where `cancelled`, which may be null, was set.
[[nodiscard]] Result<Plan> make_plan(const archive::Manifest& manifest,
                                     const ExportOptions& options,
                                     const std::atomic<bool>* cancelled = nullptr);

/// "Ethernet", "raw IP", "link type 42".
[[nodiscard]] std::string link_type_name(uint16_t link_type);
/// "lost 12 packets between T and T: reason", stamps as they are written.
[[nodiscard]] std::string describe_gap(const Plan& plan, const PlannedNode& node,
                                       const Gap& gap);

}  // namespace lookback::exporter
