#pragma once
// All snapshots of the hub: those under way, and through the library those that are published.
// Keeps names unique. Thread-safe.

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "event_feed.hpp"
#include "library.hpp"
#include "snapshot_job.hpp"
#include "snapshot_order.hpp"

namespace lookback::hub {

class SnapshotService {
 public:
  SnapshotService(HubPaths paths, std::string hub_id, NodeAccess access, const Clock& clock,
                  NodeRegistry& nodes, Library& library, DiskBudget& budget, EventFeed& events,
                  HubCounters& counters);
  ~SnapshotService();

  /// Goes on with what an earlier run left.
  void resume();
  /// Returns when all freezes are made. `now_ns`: hub time when the order came in.
  [[nodiscard]] Result<archive::Snapshot> create(const SnapshotOrder& order, int64_t now_ns);
  [[nodiscard]] Result<archive::Snapshot> show(const std::string& name) const;
  struct Page {
    std::vector<archive::Snapshot> snapshots;  ///< by name
    std::optional<std::string> next;           ///< the name to go on behind; nothing at the end
  };
  /// Those behind the name `after`: at most `limit`, and about 10,000 nodes.
  [[nodiscard]] Page list(const std::string& after, size_t limit) const;
  /// Ends a snapshot under way and returns when nothing is left of it but what it says.
  [[nodiscard]] Result<std::vector<Unreleased>> cancel(const std::string& name);
  /// conflict while it is under way.
  [[nodiscard]] Result<std::vector<Unreleased>> remove(const std::string& name);
  /// The freezes that snapshots under way need: of all that this hub ever ordered, no others may stay on a node.
  [[nodiscard]] std::vector<std::string> live_freezes() const;
  /// Snapshots by state: in_progress (pending ones included), completed, failed.
  [[nodiscard]] std::map<std::string, size_t> counts() const;

  /// Keeps a name for an archive on its way in.
  class NameClaim {
   public:
    NameClaim(SnapshotService& service, std::string name)
        : service_(&service), name_(std::move(name)) {}
    NameClaim(NameClaim&& other) noexcept
        : service_(std::exchange(other.service_, nullptr)), name_(std::move(other.name_)) {}
    NameClaim& operator=(NameClaim&&) = delete;
    ~NameClaim() {
      if (service_ != nullptr) service_->give_back(name_);
    }

   private:
    SnapshotService* service_;
    std::string name_;
  };
  [[nodiscard]] Result<NameClaim> claim(const std::string& name);
  void announce(const std::string& type, const std::string& name, const std::string& state);

  /// Forgets jobs that have ended; called every second.
  void reap();
  /// Jobs end as soon as they can; wait() until they have.
  void suspend();
  void wait();

 private:
  using Jobs = std::map<std::string, std::shared_ptr<SnapshotJob>>;
  [[nodiscard]] Result<> check_free(const std::string& name) const;  // under mutex_
  [[nodiscard]] std::shared_ptr<SnapshotJob> find_job(const std::string& name) const;
  void forget(const std::shared_ptr<SnapshotJob>& job);
  void give_back(const std::string& name);
  void on_changed(const SnapshotJob& job);
  void resume_one(const std::string& folder, std::vector<std::shared_ptr<SnapshotJob>>& leftovers);

  const HubPaths paths_;
  NodeRegistry& nodes_;
  Library& library_;
  EventFeed& events_;
  TransferSlots slots_;
  JobEnvironment env_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Jobs jobs_;
  std::set<std::string> claims_;
  bool stopping_ = false;
  std::thread janitor_;
  std::mutex told_mutex_;
  struct Told {
    SnapshotJob::State state;
    int64_t at_ns;
  };
  std::map<std::string, Told> told_;
};

}  // namespace lookback::hub
