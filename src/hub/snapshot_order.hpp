#pragma once
// What POST /snapshots asks for, checked against the time and the nodes there are.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "node_registry.hpp"

namespace lookback::hub {

struct SnapshotOrder {
  std::string name;  ///< may be a strftime pattern
  std::optional<int64_t> last_ns, from_ns, to_ns;
  std::vector<std::string> nodes, networks;
  std::map<std::string, std::string> tags;
  int64_t deadline_ns = 60 * kNsPerSecond;

  /// kind invalid names what is wrong.
  [[nodiscard]] static Result<SnapshotOrder> parse(std::string_view body);
  /// invalid: empty, or in the future of `now_ns` by more than a second.
  [[nodiscard]] Result<TimeWindow> window(int64_t now_ns) const;
  /// invalid: a glob that matches nothing; not_found: no such node; unreachable: no node at all.
  [[nodiscard]] Result<std::vector<NodeInfo>> select(const std::vector<NodeInfo>& known) const;
};

}  // namespace lookback::hub
