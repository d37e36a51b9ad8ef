#pragma once
// The nodes that come out of capture files: whose interface is whose, and a member in the making for each.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lookback/archive/writer.hpp"
#include "lookback/base/result.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// The nearest valid node name: other characters become '-', "node" where nothing is left.
[[nodiscard]] std::string valid_node_name(std::string_view text);

/// A packet on its way into a node.
struct ImportedPacket {
  packet::PacketView view;  ///< `interface` indexes the reader's interfaces; a stamp that can be kept
  std::span<const std::byte> options;                ///< as packet::write_packet() takes them
  const packet::PcapngProcess* process = nullptr;
  uint64_t drop_count = 0;
};

/// Writes members as they fill up. One thread.
class ImportNodes {
 public:
  ImportNodes(archive::ArchiveWriter& writer, std::string application) : writer_(writer), application_(std::move(application)) {}

  struct File {
    /// What has no node of its own belongs to this one. Where another group has the name, it becomes unique.
    std::string node;
    std::string group;          ///< files of one ring; its interfaces go on
    std::string unnamed;        ///< the name of an interface that has none; empty: "if0"
    bool shared_node = false;   ///< the name was asked for: groups share the node
  };
  [[nodiscard]] Result<> start_file(const File& file);
  /// `interfaces` is the reader's table so far.
  [[nodiscard]] Result<> add(const ImportedPacket& packet, const std::vector<packet::PcapngInterface>& interfaces);
  /// What the file's end tells: losses by the reader's interface, and who wrote it.
  [[nodiscard]] Result<> end_file(const std::vector<packet::PcapngInterface>& interfaces,
                                  const std::vector<std::optional<packet::ReadStatistics>>& statistics,
                                  const std::vector<std::string>& origins);
  /// The nodes of this file lack something.
  void mark_partial(const std::string& reason);
  /// Writes what is left.
  [[nodiscard]] Result<> finish();

  /// After finish().
  [[nodiscard]] std::vector<archive::NodeEntry> entries() const;
  [[nodiscard]] TimeWindow window() const;
  [[nodiscard]] uint64_t cut_packets() const { return cut_packets_; }
  [[nodiscard]] const packet::LeftOut& left_out() const { return left_out_; }

 private:
  /// What the statistics of one recording say of an interface; files of a ring count on from each other.
  struct Losses {
    uint64_t lost = 0;
    std::optional<int64_t> start_ns, end_ns;
  };
  struct NodeInterface {
    packet::Interface described;
    uint32_t same_name = 0;
    uint64_t dropped_by_packets = 0;          ///< by drop counts of packets, which are gaps already
    std::map<std::string, Losses> by_group;
  };
  struct Node {
    archive::NodeEntry entry;
    std::vector<NodeInterface> interfaces;
    std::unordered_map<std::string, uint32_t> numbers;  ///< by identity: see learn_interface()
    std::unique_ptr<MemberBuilder> builder;  ///< of the interfaces so far
    uint64_t members = 0;
    int64_t first_ns = 0, last_ns = 0;
    uint64_t packets = 0;
    int64_t previous_ns = 0;  ///< time of the packet before
  };
  /// Where an interface of the file belongs.
  struct Place {
    Node* node = nullptr;
    uint32_t interface = 0;
  };

  Node& node(const std::string& name);
  std::string file_node();
  Result<> learn_interface(const packet::PcapngInterface& described, size_t index);
  void keep_texts(const packet::PcapngInterface& described, std::string_view description, archive::InterfaceEntry& entry);
  Result<> open_builder(Node& node);
  Result<> close_builders();
  Result<> write_member(Node& node);
  static void add_gap(Node& node, Gap gap);
  void add_statistics(Node& node);
  [[nodiscard]] uint64_t member_bytes() const;

  archive::ArchiveWriter& writer_;
  std::string application_;
  std::map<std::string, Node> nodes_;             ///< by name; addresses stay
  std::map<std::string, std::string> group_nodes_;  ///< the node of each group that needed one
  File file_;
  std::vector<Place> places_;                     ///< by the reader's interface index, of this file
  std::unordered_map<std::string, uint32_t> same_in_file_;  ///< interfaces of this file by node, link type and name
  size_t open_builders_ = 0;
  uint64_t text_bytes_ = 0;  ///< kept of interfaces
  uint64_t cut_packets_ = 0;
  packet::LeftOut left_out_;
};

}  // namespace lookback::exporter
