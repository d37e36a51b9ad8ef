#pragma once
// The hub's side of a capture daemon's API: freezes and their members. Nothing that comes back is
// believed beyond its limits. One thread.

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lookback/http/client.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

/// How the hub gets to its nodes.
struct NodeAccess {
  std::string token;  ///< the hub's. A node is shown its own only, which is made from it; empty: none
  std::string ca_file;
  bool tls_only = false;  ///< http nodes are not called: they would get the token in clear
};

struct FreezeOrder {
  std::string id, owner, hub_id;
  TimeWindow window;  ///< hub time
  std::vector<std::string> networks;
};

/// What GET …/members/{index} brings.
struct FetchedMember {
  enum class Kind { content, empty, given_up, freeze_gone };
  Kind kind = Kind::content;
  std::vector<std::byte> wire;
};

inline constexpr int64_t kFreezeTimeToLive = 24 * 3600 * kNsPerSecond;

class NodeClient {
 public:
  /// `patience_ns`: the time-outs of connecting and of silence stay well below it, and an exchange
  /// lasts at most ten times as long, however busily the node sends. unauthorized: an http node, where only
  /// TLS is allowed.
  [[nodiscard]] static Result<NodeClient> create(const NodeAccess& access, const std::string& node,
                                                 const NodePlace& place, int64_t patience_ns);

  /// The record's name, version and url are kept; the rest is filled in. invalid: the node refuses
  /// (its message); corrupt: its answer cannot be used; unreachable.
  [[nodiscard]] Result<> freeze(const FreezeOrder& order, NodeRecord& node,
                                const std::atomic<bool>& cancelled);
  /// The freeze as the node describes it now, with what it found missing since; fills in as freeze() does. not_found: it is gone.
  [[nodiscard]] Result<> describe(const std::string& freeze_id, NodeRecord& node,
                                  const std::atomic<bool>& cancelled);
  [[nodiscard]] Result<> renew(const std::string& freeze_id);
  [[nodiscard]] Result<> release(const std::string& freeze_id);
  /// corrupt: more bytes than `wire_limit`; unreachable: try again, also after a 5xx.
  [[nodiscard]] Result<FetchedMember> fetch(const std::string& freeze_id, uint32_t index,
                                            uint64_t wire_limit,
                                            const std::atomic<bool>& cancelled);
  /// The last call failed because nobody listens there.
  [[nodiscard]] bool was_refused() const { return client_.was_refused(); }

 private:
  explicit NodeClient(http::Client client) : client_(std::move(client)) {}
  http::Client client_;
};

}  // namespace lookback::hub
