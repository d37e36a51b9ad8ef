#pragma once
// The snapshot object of the API, from whatever knows about a snapshot.

#include <map>
#include <string>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/json.hpp"

namespace lookback::hub {

struct SnapshotFacts {
  std::string name, id, state, reason;
  bool complete = false;
  TimeWindow window;
  int64_t created_ns = 0, finished_ns = 0;  ///< 0: not yet, not known
  uint64_t size_bytes = 0, content_bytes = 0, packets = 0;
  std::map<std::string, std::string> tags;
  std::vector<std::string> networks;
};

struct SnapshotProgress {
  uint64_t members_total = 0, members_done = 0, bytes_total = 0, bytes_done = 0;
  double bytes_per_second = 0;
};

/// `full`: with gaps and clock samples, which lists leave out.
[[nodiscard]] Json node_object(const archive::NodeEntry& node, uint64_t members_total,
                               uint64_t members_done, bool full);
[[nodiscard]] Json snapshot_object(const SnapshotFacts& facts, Json nodes,
                                   const SnapshotProgress& progress);
/// Of a published archive, for lists. Its members are counted and not shown.
[[nodiscard]] Json published_object(const archive::Manifest& manifest, const std::string& name,
                                    uint64_t size_bytes, int64_t finished_ns);
/// The same in full, as text: a node at a time becomes JSON, for the values of all would take many
/// times the memory.
[[nodiscard]] std::string published_text(const archive::Manifest& manifest, const std::string& name,
                                         uint64_t size_bytes, int64_t finished_ns);

}  // namespace lookback::hub
