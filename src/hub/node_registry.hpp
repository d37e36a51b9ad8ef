#pragma once
// The nodes that the hub knows, by their heartbeats. A heartbeat costs the same however many nodes
// there are; the file is written at most every kSaveInterval. Thread-safe.

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "clock.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/result.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

inline constexpr int64_t kHeartbeatInterval = 5 * kNsPerSecond;
inline constexpr int64_t kLateAfter = 3 * kHeartbeatInterval;
inline constexpr int64_t kLostAfter = 12 * kHeartbeatInterval;
inline constexpr int64_t kSaveInterval = 30 * kNsPerSecond;
inline constexpr size_t kMaxKnownNodes = 10'000;

enum class NodeState { up, late, lost };
[[nodiscard]] std::string_view to_string(NodeState state);

struct NodeStatus {
  std::optional<int64_t> oldest_ns, newest_ns;  ///< node time
  uint64_t packets = 0, dropped = 0, used_bytes = 0, quota_bytes = 0;
  double packets_per_second = 0, bytes_per_second = 0;
  int64_t retention_ns = 0;
};

struct NodeInfo {
  std::string name;
  NodePlace place;
  std::string version, incarnation;
  int64_t last_seen_ns = 0;  ///< hub time
  NodeState state = NodeState::lost;
  NodeStatus status;
  std::optional<ClockReport> clock;
};

/// Where nodes may be. The hub calls them with its token, and what it finds there can be told from outside: so a node does
/// not choose freely.
struct PlacePolicy {
  bool tls_only = false;  ///< no http
  /// A node may name another address than the one it calls from, behind a proxy or an address translation.
  bool any_address = false;
};

/// What POST /nodes/{name}/heartbeat says.
struct Heartbeat {
  std::string name;
  NodePlace place;
  std::string version, incarnation;
  NodeStatus status;
  std::optional<ClockReport> clock;

  /// kind invalid names what is wrong. An empty url becomes the address that the heartbeat came
  /// from.
  [[nodiscard]] static Result<Heartbeat> parse(const std::string& name, std::string_view body,
                                               const std::string& peer_address,
                                               const PlacePolicy& policy);
};

class NodeRegistry {
 public:
  /// Reads `file` where it exists; a damaged one is put aside with a warning, since heartbeats
  /// bring it all back.
  NodeRegistry(std::filesystem::path file, const Clock& clock, PlacePolicy policy = {});

  /// conflict: another daemon elsewhere uses the name and is alive; no_space: more nodes than a hub
  /// takes.
  [[nodiscard]] Result<> take(Heartbeat heartbeat);
  [[nodiscard]] std::vector<NodeInfo> nodes() const;  ///< by name
  [[nodiscard]] std::optional<NodeInfo> find(const std::string& name) const;
  [[nodiscard]] bool forget(const std::string& name);
  [[nodiscard]] uint64_t heartbeats() const;
  [[nodiscard]] const PlacePolicy& policy() const { return policy_; }

  /// Writes the file when something changed and the last time is long enough ago, or `now_at_once`.
  void save_if_due(bool now_at_once = false);

 private:
  struct Entry {
    NodeInfo info;
    int64_t seen_mono_ns = 0;
  };
  [[nodiscard]] NodeState state_of(const Entry& entry) const;
  [[nodiscard]] Result<> load();

  const std::filesystem::path file_;
  const Clock& clock_;
  const PlacePolicy policy_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  uint64_t heartbeats_ = 0;
  bool dirty_ = false;
  int64_t saved_mono_ns_ = 0;
  std::mutex save_mutex_;
};

[[nodiscard]] Json node_json(const NodeInfo& node);

}  // namespace lookback::hub
