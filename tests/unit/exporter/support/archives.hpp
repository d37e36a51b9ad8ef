#pragma once
// Archives made of described packets, and what an export of them must be.

#include <memory>
#include <string>
#include <vector>

#include "lookback/archive/archive.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/exporter/support/packets.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::exporter::testing {

using test::TemporaryDirectory;

struct Recorded {
  uint32_t interface = 0;  ///< of the node
  int64_t time_ns = 0;     ///< node time
  Bytes data;
  uint32_t original_length = 0;  ///< 0: as captured
  packet::Direction direction = packet::Direction::unknown;
};

struct NodeSpec {
  archive::NodeEntry entry;  ///< name, interfaces, clock, gaps, status; the rest is filled in
  std::vector<Recorded> packets;
  size_t packets_per_frame = 20, frames_per_member = 4;
  bool with_summaries = true;
  std::vector<std::vector<std::string>> events;  ///< the lines of each member of OS events
  std::vector<archive::InterfaceEntry>
      described;                ///< what the members say; empty: what the manifest says
  int64_t bounds_shift_ns = 0;  ///< by which the declared bounds of frames are wrong

  [[nodiscard]] const std::vector<archive::InterfaceEntry>& interfaces() const {
    return described.empty() ? entry.interfaces : described;
  }
};

NodeSpec node_spec(std::string name, std::vector<std::string> interfaces, uint16_t link_type = 1);

std::shared_ptr<archive::ArchiveReader> make_archive(const TemporaryDirectory& folder,
                                                     const std::vector<NodeSpec>& nodes,
                                                     TimeWindow window,
                                                     const std::string& name = "test",
                                                     const std::vector<std::string>& ip_filter = {});

/// A packet as it stands in an export.
struct Exported {
  std::string node, interface;
  int64_t time_ns;
  Bytes data;
  uint32_t original_length;
  packet::Direction direction;
  friend bool operator==(const Exported&, const Exported&) = default;
};
std::ostream& operator<<(std::ostream& out, const Exported& packet);

struct Export {
  std::string file;
  ExportStats stats;
};
/// Runs an export into memory; fails the test where it fails.
Export run_export(const std::shared_ptr<archive::ArchiveReader>& archive,
                  const ExportOptions& options);

/// Reads an export back with the general reader. Nodes from the descriptions; classic pcap has
/// neither nodes nor interfaces.
std::vector<Exported> read_export(const std::string& file);
/// The comments on packets, "TIME: COMMENT"-like, in order.
std::vector<std::pair<int64_t, std::string>> read_comments(const std::string& file);

/// The reference: everything, sorted, cut, filtered one by one. Filters and networks as the options
/// say; no dedup.
std::vector<Exported> expected_export(const std::vector<NodeSpec>& nodes, TimeWindow window,
                                      const ExportOptions& options);

}  // namespace lookback::exporter::testing
