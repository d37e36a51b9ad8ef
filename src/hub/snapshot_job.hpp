#pragma once
// One snapshot from the order to the published archive.
//
//   pending ──freezes made──► in_progress ──commit──► completed (the library's from then on)
//      │                          │   └──disk full, I/O error──► failed (job.json stays)
//      └──nothing froze, no room──┴──cancel──► cancelled
//
// suspend() ends the threads and keeps everything for the next start of the hub. This is the state machine; the frozen windows
// on the nodes are NodeFreezes', what the archive says in the end is snapshot_outcome.hpp's, what lists show is snapshot_view.hpp's.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "job_environment.hpp"
#include "lookback/archive/snapshot.hpp"
#include "member_store.hpp"
#include "node_freezes.hpp"
#include "snapshot_record.hpp"
#include "transfer.hpp"

namespace lookback::hub {

class SnapshotJob final : public MemberSink {
 public:
  using State = archive::SnapshotState;

  SnapshotJob(JobEnvironment& environment, SnapshotRecord record);
  ~SnapshotJob() override;

  /// Freezes on all nodes and checks the room; on failure nothing is left anywhere but on nodes that
  /// could not be reached, which the message names. unavailable: no node froze anything.
  [[nodiscard]] Result<> prepare();
  /// Transfers and publishes, on threads of its own. After prepare(), or for a record in_progress
  /// from an earlier run.
  [[nodiscard]] Result<> start();
  /// For a pending record of a killed hub: nobody got an answer about it.
  void forget_freezes();
  /// conflict: it has ended already.
  [[nodiscard]] Result<> cancel();
  void suspend();
  void wait();  ///< until its threads have ended
  [[nodiscard]] bool running() const;

  [[nodiscard]] State state() const;
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& id() const { return id_; }
  /// Once it has ended.
  [[nodiscard]] std::vector<Unreleased> unreleased() const;
  [[nodiscard]] uint64_t bytes_reserved() const;
  [[nodiscard]] archive::Snapshot snapshot() const;

  // MemberSink
  Result<> store(const NodeRecord& node, uint32_t index,
                 const archive::MemberContent& member) override;
  void note(const NodeRecord& node, uint32_t index, MemberOutcome outcome,
            const std::string& reason) override;
  const std::atomic<bool>& ended() const override { return ended_; }
  void pause(std::chrono::milliseconds time) override;
  NodePlace place_of(const NodeRecord& node) const override;

 private:
  [[nodiscard]] Result<> save();
  void run();
  [[nodiscard]] Result<> transfer();
  void sync_until_done(const std::atomic<size_t>& working);
  /// Asks the nodes what turned out to be missing from their freezes while members were read.
  void confirm_members();
  void renew_freezes();
  void release_freezes();
  [[nodiscard]] Result<> publish();
  void fail_with(const Error& error);
  void end_with(const Error& error);  ///< ended_ is set; the first error is the one
  void remove_files();
  void close_store();
  void set_state(State state);
  [[nodiscard]] archive::NodeEntry final_entry(size_t node) const;

  JobEnvironment& env_;
  const std::string name_, id_;
  const NodeFreezes freezes_;
  SnapshotRecord record_;  // nodes: fixed once in_progress; the rest under mutex_
  std::vector<std::unique_ptr<NodeTransfer>> transfers_;
  /// By node, once it was asked after its last member: what it said, or that it did not.
  std::vector<std::optional<Result<NodeRecord>>> confirmed_;  // under mutex_
  std::shared_ptr<MemberStore>
      store_;  // set and reset under mutex_; the threads of transfer() use it as it is
  std::thread thread_;

  std::atomic<bool> ended_{false}, cancelled_{false}, suspended_{false}, running_{false};
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_ = State::pending;
  std::optional<Error> error_;
  uint64_t size_bytes_ = 0;
  int64_t transfer_started_ns_ = 0;  // CLOCK_MONOTONIC
  std::vector<Unreleased> unreleased_;
  bool committing_ = false;
};

}  // namespace lookback::hub
