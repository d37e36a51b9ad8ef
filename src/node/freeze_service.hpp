#pragma once
// Frozen windows: made, described, and turned into archive members. Thread-safe.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lookback/archive/member.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/observe/observer.hpp"
#include "lookback/packet/network_filter.hpp"
#include "lookback/store/store.hpp"
#include "node/freeze_admission.hpp"

namespace lookback::node {

struct FreezeOrder {
  std::string id, owner;
  std::string hub;        ///< the id of the hub that orders it; empty: somebody else
  TimeWindow window;      ///< hub time
  int64_t time_to_live_ns = store::kMostFreezeLife;
  std::vector<std::string> networks;
};

/// What a sample of a freeze's packets says about the rest.
struct FreezeEstimate {
  uint64_t content_bytes = 0;     ///< pcapng bytes, an upper bound
  uint64_t compressed_bytes = 0;  ///< by the sample's ratio
  std::vector<packet::Interface> interfaces;
};

struct FrozenWindow {
  store::Freeze freeze;
  std::string hub;  ///< that ordered it; may be empty
  FreezeEstimate estimate;
  bool complete = false;
  std::string reason;             ///< why not complete, one line
  std::vector<observe::FrozenSegment> events;
  /// What was recorded beside packets, and how well: state and reason.
  std::string events_state, events_reason;
};

class FreezeService {
 public:
  struct Parts {
    store::Store* store = nullptr;
    const Clock* clock = nullptr;
    observe::Observer* observer = nullptr;  ///< may be missing
    std::string node_name;
    /// Makes everything recorded by now immutable (Recorder::barrier).
    std::function<Result<>()> seal;
    /// How long the ring may hold a packet back.
    int64_t ring_delay_ns = 0;
    /// What is known of the clock's error: because of it, a window may end a little in the future.
    std::function<int64_t()> clock_error_ns;
  };
  explicit FreezeService(Parts parts) : parts_(std::move(parts)) {}

  struct Created {
    FrozenWindow window;
    bool existed = false;
  };
  /// Translates the window by what was known of the clock at each time, waits until packets up to its end are out of the
  /// ring, seals and pins. The same id again gives the same freeze.
  /// invalid: an empty window, one that ends in the future, a bad id or network, a life of more than kMostFreezeLife;
  /// conflict: the owner's share is taken, or the freeze was released while it was made.
  [[nodiscard]] Result<Created> create(const FreezeOrder& order);
  [[nodiscard]] Result<FrozenWindow> find(const std::string& id);
  [[nodiscard]] std::vector<FrozenWindow> list();
  [[nodiscard]] Result<> renew(const std::string& id, int64_t time_to_live_ns);
  [[nodiscard]] Result<> release(const std::string& id);

  /// Without those that are being made.
  [[nodiscard]] std::vector<HeldFreeze> held();
  /// What the node's hub says of its own freezes: those that were `held` before it was asked, are its own, and are not
  /// among the `live` ones of its answer, belong to snapshots that have ended, and are released. A freeze that is ordered
  /// while the answer is on its way is not among `held`, so it is safe.
  void settle(const std::vector<HeldFreeze>& held, const std::string& hub_id,
              const std::vector<std::string>& live);

  /// By its index in the freeze's document: packets or events.
  [[nodiscard]] Result<std::optional<archive::MemberContent>> any_member(const std::string& id,
                                                                         size_t index);
  /// The memory that any_member() takes while it works, by what is known beforehand. not_found as there; kind failed where the
  /// member of an existing freeze is gone.
  [[nodiscard]] Result<uint64_t> member_memory(const std::string& id, size_t index);
  /// One run of the freeze as an archive member: packets inside the window and the networks only. Nothing where there is none.
  /// not_found: no such freeze or run, or given up. The same bytes at every call. Takes processor time: see MemberPool.
  [[nodiscard]] Result<std::optional<archive::MemberContent>> member(const std::string& id,
                                                                     size_t run);

 private:
  [[nodiscard]] FrozenWindow describe(store::Freeze freeze);
  [[nodiscard]] FreezeEstimate estimate(const store::Freeze& freeze, const packet::NetworkFilter& filter);
  void note_damage(const std::string& id, const std::vector<Gap>& damage);
  void forget(const std::string& id);

  /// An empty builder; the memory of one that made a member before, where there is one.
  class BorrowedBuilder {
   public:
    explicit BorrowedBuilder(FreezeService& service);
    ~BorrowedBuilder();
    BorrowedBuilder(const BorrowedBuilder&) = delete;
    BorrowedBuilder& operator=(const BorrowedBuilder&) = delete;
    exporter::MemberBuilder* operator->() const { return builder_.get(); }

   private:
    FreezeService& service_;
    std::unique_ptr<exporter::MemberBuilder> builder_;
  };

  const Parts parts_;
  FreezeAdmission admission_;
  std::mutex estimate_mutex_;  ///< one estimate at a time: each takes a few MiB
  std::mutex mutex_;
  std::map<std::string, std::string> hubs_;  ///< by freeze id, those of held()
  /// By freeze id; made once, forgotten with the freeze.
  std::map<std::string, FreezeEstimate> estimates_;
  std::vector<std::unique_ptr<exporter::MemberBuilder>> builders_;  ///< to be borrowed, at most kKeptBuilders
  size_t builders_in_use_ = 0;
};

/// The most content that a run's packets can make as pcapng.
[[nodiscard]] uint64_t content_bound(const store::FrozenRun& run);

}  // namespace lookback::node
