#pragma once
// A snapshot under way, as job.json keeps it: what was asked for, and what each node froze. Members
// that were dealt with since are in the journal.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lookback/archive/limits.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/archive/member_kind.hpp"
#include "lookback/archive/snapshot.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"

namespace lookback::hub {

/// No node tells of more gaps: a part of what a manifest takes, since the hub has gaps of its own to add.
inline constexpr size_t kMaxGaps = archive::kMaxNodeGaps / 10;

/// A member that a node offers; the figures are upper bounds.
struct FrozenMember {
  uint32_t index = 0;
  uint64_t packets = 0, content_bytes = 0;
  bool given_up = false;
  archive::MemberKind kind = archive::MemberKind::packets;
  std::optional<TimeWindow> stamps;  ///< what they lie in, node time; nothing: anywhere in the window
};

/// Where a node is called.
struct NodePlace {
  std::string url;
  /// A number. It is connected to whatever the URL's host is, so that a name in the URL leads nowhere else; empty: the
  /// URL is followed.
  std::string address{};
  friend bool operator==(const NodePlace&, const NodePlace&) = default;
};

struct NodeRecord {
  archive::NodeEntry entry;  ///< status "" until the node is dealt with; packets and bytes stay 0
  NodePlace place;
  bool frozen = false;
  bool unasked = false;  ///< nobody took the order there: it cannot have frozen anything; not written down
  bool covers_window = false;                        ///< the node had all of the window
  TimeWindow window;                                 ///< node time, once frozen
  uint64_t content_bytes = 0, compressed_bytes = 0;  ///< estimates
  std::vector<FrozenMember> members;
};

struct SnapshotRecord {
  std::string name, id;
  archive::SnapshotState state = archive::SnapshotState::pending;  ///< pending, in_progress or failed
  std::string reason;  ///< why failed
  TimeWindow window;   ///< hub time
  int64_t created_ns = 0, finished_ns = 0;
  int64_t deadline_ns = 0;
  std::vector<std::string> networks;
  std::map<std::string, std::string> tags;
  std::vector<NodeRecord> nodes;

  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] static Result<SnapshotRecord> from_json(std::string_view text);
};

/// What a node or job.json says of these; kind corrupt for anything that a manifest could not hold.
[[nodiscard]] Result<std::vector<FrozenMember>> members_from_json(const Json& object);
/// One of them, behind the others.
[[nodiscard]] Result<> add_member(const Json& json, std::vector<FrozenMember>& members);
/// A manifest with this node alone can be written and read: nothing that the node said can spoil
/// the archive's own.
[[nodiscard]] Result<> check_node_entry(const archive::NodeEntry& entry);

}  // namespace lookback::hub
