#pragma once
// manifest.json of a snapshot archive: the last tar member. Grammar in lookback-archive(5). Written once, never changed.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/coverage.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"

namespace lookback::archive {

inline constexpr int kManifestVersion = 1;

using lookback::ClockSample;
using lookback::Gap;

struct InterfaceEntry {
  std::string name;
  uint16_t link_type = 1;
  std::string mac;
  /// How many interfaces of the same name and link type stand before this one, where a capture file had several.
  uint32_t same_name = 0;
  /// What a capture file said of it: its description, its capture filter, its system, and in hex further pcapng options
  /// (little-endian, without an end marker).
  std::string description{}, filter{}, os{}, options{};
  /// Packets that the recorder of a capture file lost on it; absent: the file does not say. Nodes' own losses are gaps alone.
  std::optional<uint64_t> dropped{};
  friend bool operator==(const InterfaceEntry&, const InterfaceEntry&) = default;
};

/// What a node recorded beside packets ("os_events"), and how well.
struct LayerEntry {
  std::string name;
  std::string state;                  ///< "recording", "degraded", "off"
  std::string reason;                 ///< why not "recording"
  friend bool operator==(const LayerEntry&, const LayerEntry&) = default;
};

/// Connections of the recorder itself that it left out, from when to when (node time).
struct ExcludedEntry {
  std::string connection;             ///< "tcp 10.0.0.7:7401 10.0.0.1:*"
  int64_t from_ns = 0, to_ns = 0;
  friend bool operator==(const ExcludedEntry&, const ExcludedEntry&) = default;
};

struct NodeEntry {
  std::string name;
  std::string version;                ///< of the capture daemon
  /// "complete", "partial" (a part of the window is missing), "failed" (nothing or not all could be transferred)
  std::string status;
  std::string reason;                 ///< why not complete, one line; empty otherwise
  std::optional<TimeWindow> coverage; ///< what the node had of the window, node time
  uint64_t packets = 0, bytes = 0;    ///< content bytes of its members
  std::vector<Gap> gaps;
  std::vector<ClockSample> clock;
  std::vector<InterfaceEntry> interfaces;
  std::vector<LayerEntry> layers;     ///< by name
  std::string origin;                 ///< what captured an imported file, as it says itself: hardware, system, application, comment
  bool losses_counted = true;         ///< false: packets may be missing that no gap tells, as in captures that do not count them
  std::vector<ExcludedEntry> excluded;
  friend bool operator==(const NodeEntry&, const NodeEntry&) = default;
};

/// One zstd frame of a member's content.
struct FrameEntry {
  uint64_t compressed_bytes = 0, content_bytes = 0;
  int64_t first_ns = 0, last_ns = 0;  ///< lowest and highest packet time, node time; 0,0 where there is none
  uint64_t packets = 0;
  std::string summary;                ///< packet::Summary text; empty: anything
  friend bool operator==(const FrameEntry&, const FrameEntry&) = default;
};

struct MemberEntry {
  std::string name;                   ///< path inside the tar
  std::string node;                   ///< empty for members that belong to no node
  uint64_t archive_offset = 0;        ///< of the member's first content frame in the .tar.zst
  uint64_t content_offset = 0;        ///< of the content in the decompressed tar stream
  uint64_t size = 0;                  ///< content bytes
  std::string sha256;                 ///< hex, of the content
  uint64_t packets = 0;
  std::vector<FrameEntry> frames;
  friend bool operator==(const MemberEntry&, const MemberEntry&) = default;
};

struct Manifest {
  int version = kManifestVersion;
  std::string name;
  std::string id;                     ///< random, tells two snapshots of one name apart
  std::string created_by;             ///< "lookback 0.1.0"
  int64_t created_ns = 0;             ///< hub time
  TimeWindow window;                  ///< hub time, [from, to)
  std::vector<std::string> ip_filter;
  std::map<std::string, std::string> tags;
  bool complete = true;               ///< every selected node has the whole window and was transferred whole
  std::vector<NodeEntry> nodes;
  std::vector<MemberEntry> members;   ///< in archive order, manifest.json itself left out

  [[nodiscard]] std::string to_json() const;
  /// Anything wrong (missing fields, absurd sizes, names that leave the archive or stand there twice, overlapping members) is kind
  /// corrupt; fields it does not know are passed over; another version than kManifestVersion is kind failed and says so. Memory:
  /// the manifest itself and one element of its arrays.
  [[nodiscard]] static Result<Manifest> from_json(std::string_view text);
  [[nodiscard]] const NodeEntry* find_node(std::string_view node_name) const;
};

/// A member's entry as one line of JSON, the same as in the manifest: what a journal of an unfinished archive keeps.
[[nodiscard]] std::string member_to_json(const MemberEntry& member);
/// Checks the entry by itself: names, sizes, sums (kind corrupt).
[[nodiscard]] Result<MemberEntry> member_from_json(std::string_view text);

/// The effective correction for a node-time stamp: hub time = node time − offset. The sample valid at that moment decides;
/// an offset within its own error counts as none. That is the last sample at or before it (after a step back the newer
/// one), before all samples the first. No samples: 0. Costs a walk over the samples.
[[nodiscard]] int64_t clock_offset_at(const std::vector<ClockSample>& samples, int64_t node_time_ns);
/// Its error bound at that moment; 0 where nothing was measured.
[[nodiscard]] int64_t clock_error_at(const std::vector<ClockSample>& samples, int64_t node_time_ns);

}  // namespace lookback::archive
