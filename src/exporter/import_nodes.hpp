#pragma once
// The nodes that come out of capture files: whose interface is whose, and a member in the making for each.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/archive/writer.hpp"
#include "lookback/base/result.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// The nearest valid node name: other characters become '-', "node" where nothing is left.
[[nodiscard]] std::string valid_node_name(std::string_view text);

/// Writes members as they fill up. One thread.
class ImportNodes {
 public:
  ImportNodes(archive::ArchiveWriter& writer, std::string application) : writer_(writer), application_(std::move(application)) {}

  /// What has no node of its own belongs to one of this name, made unique among those of the files before.
  void start_file(const std::string& node_name);
  /// `interfaces` is the reader's table so far.
  [[nodiscard]] Result<> add(const packet::ReadPacket& packet, const std::vector<packet::PcapngInterface>& interfaces);
  /// The nodes of this file lack something.
  void mark_partial(const std::string& reason);
  /// Writes what is left.
  [[nodiscard]] Result<> finish();

  /// After finish().
  [[nodiscard]] std::vector<archive::NodeEntry> entries() const;
  [[nodiscard]] TimeWindow window() const;
  [[nodiscard]] uint64_t cut_packets() const { return cut_packets_; }

 private:
  struct Node {
    archive::NodeEntry entry;
    std::vector<packet::Interface> interfaces;
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
  Result<> learn_interface(const packet::PcapngInterface& described, size_t index);
  Result<> write_member(Node& node);
  static void add_gap(Node& node, int64_t until_ns, uint64_t packets);
  [[nodiscard]] uint64_t member_bytes() const;

  archive::ArchiveWriter& writer_;
  std::string application_;
  std::map<std::string, Node> nodes_;  ///< by name; addresses stay
  std::string file_node_;              ///< the name given with start_file(), made unique once it is needed
  bool file_node_used_ = false;
  std::vector<Place> places_;          ///< by the reader's interface index, of this file
  uint64_t cut_packets_ = 0;
};

}  // namespace lookback::exporter
