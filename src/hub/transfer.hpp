#pragma once
// The members of one node on their way into an archive. A few threads work on a node;
// NodeTransfer tells them which member comes next and what has become of the others.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "journal.hpp"
#include "losses.hpp"
#include "lookback/archive/member.hpp"
#include "node_calls.hpp"
#include "node_client.hpp"
#include "snapshot_record.hpp"
#include "transfer_slots.hpp"

namespace lookback::hub {

/// What a node's transfer has come to.
struct TransferTotals {
  uint64_t members_total = 0, members_done = 0;
  uint64_t stored = 0, given_up = 0, dropped = 0;
  uint64_t packets = 0, content_bytes = 0;      ///< stored ones
  uint64_t bound_total = 0, bound_done = 0;     ///< content bytes as announced: for progress
  std::string first_drop;                       ///< "member 3: …"
  std::optional<std::string> given_up_because;  ///< the node as a whole was given up
  bool started = false, ended = false;
};

/// Where members go. Every function may be called by several threads.
class MemberSink : public CallContext {
 public:
  /// Appends a checked member. corrupt or invalid: this member cannot be taken; anything else ends
  /// the snapshot.
  [[nodiscard]] virtual Result<> store(const NodeRecord& node, uint32_t index,
                                       const archive::MemberContent& member) = 0;
  /// Remembers that a member will not be there.
  virtual void note(const NodeRecord& node, uint32_t index, MemberOutcome outcome,
                    const std::string& reason) = 0;
};

class NodeTransfer {
 public:
  NodeTransfer(const NodeRecord& node, std::string freeze_id, int64_t deadline_ns);

  /// A member that the journal knows. False: the node never offered it.
  [[nodiscard]] bool restore(const JournalLine& line);
  /// Fetches members until none is left, the node is given up, or the sink has ended.
  void run(MemberSink& sink, TransferSlots& slots, const NodeAccess& access);

  [[nodiscard]] TransferTotals totals() const;
  /// Members that are not in the archive, and those that have not come yet.
  [[nodiscard]] std::vector<LostMember> lost() const;
  [[nodiscard]] const NodeRecord& record() const { return node_; }

 private:
  enum class State : uint8_t { waiting, fetching, done };

  [[nodiscard]] std::optional<size_t> take();
  void put_back(size_t position);
  void finish(size_t position, MemberOutcome outcome, const std::string& reason, uint64_t packets,
              uint64_t content_bytes);
  void give_up(const std::string& reason);
  [[nodiscard]] bool past_deadline() const;
  /// False: stop with this node.
  [[nodiscard]] bool transfer_member(size_t position, MemberSink& sink, TransferSlots& slots,
                                     const NodeAccess& access, std::optional<NodeClient>& client,
                                     archive::MemberChecker& checker);
  [[nodiscard]] Result<FetchedMember> fetch(size_t position, MemberSink& sink,
                                            const NodeAccess& access,
                                            std::optional<NodeClient>& client);

  const NodeRecord& node_;
  const std::string freeze_id_;
  const std::chrono::nanoseconds deadline_;
  mutable std::mutex mutex_;
  std::vector<State> states_;
  std::vector<std::optional<GapReason>> lost_;  ///< by position, once done
  size_t cursor_ = 0;
  TransferTotals totals_;
  std::chrono::steady_clock::time_point last_progress_;
};

}  // namespace lookback::hub
