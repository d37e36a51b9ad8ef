#pragma once
// The unfinished archive of a snapshot and the journal beside it. Members are appended by any
// thread; one thread flushes: first the archive's bytes are made durable, then the journal says so,
// so that what the journal knows need never be fetched again.

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "disk_budget.hpp"
#include "journal.hpp"
#include "lookback/archive/writer.hpp"
#include "snapshot_record.hpp"

namespace lookback::hub {

class MemberStore {
 public:
  /// Goes on with what `folder` holds; `restored` are the journal's lines, none where it has to
  /// start afresh.
  [[nodiscard]] static Result<std::unique_ptr<MemberStore>> open(
      const std::filesystem::path& folder, int64_t mtime_ns, DiskBudget& budget,
      std::string budget_id, std::vector<JournalLine>& restored);

  /// corrupt: the member cannot be taken, the archive is as before. Waits while too much is not
  /// flushed yet.
  [[nodiscard]] Result<> append(const NodeRecord& node, uint32_t index,
                                const archive::MemberContent& member);
  void note(JournalLine line);
  /// Waits until there is much to flush, `time` has passed, or wake().
  void wait_for_work(std::chrono::milliseconds time);
  void wake();
  /// One thread at a time.
  [[nodiscard]] Result<> flush();
  /// Everybody who waits in append() gets an error.
  void abandon(const Error& error);
  [[nodiscard]] Result<uint64_t> commit(archive::Manifest manifest,
                                        const std::filesystem::path& final_path);
  [[nodiscard]] uint64_t bytes_written() const;

  /// "nodes/web-1/packets/00000007.pcapng", "nodes/web-1/os-events/00000000.ndjson" (these counted from 0 in the order that
  /// the node named them in). corrupt: the content is not of the kind that was announced.
  [[nodiscard]] static Result<std::string> member_name(const NodeRecord& node, uint32_t index,
                                                       const archive::MemberContent& member);

 private:
  MemberStore(archive::ArchiveWriter writer, Journal journal, Fd sync_fd, DiskBudget& budget,
              std::string budget_id);

  archive::ArchiveWriter writer_;  // guarded by mutex_
  Journal journal_;                // the flushing thread's
  const Fd sync_fd_;               // the archive once more: fdatasync without the writer's lock
  DiskBudget& budget_;
  const std::string budget_id_;
  mutable std::mutex mutex_;
  std::condition_variable work_, flushed_;
  std::vector<JournalLine> pending_;
  uint64_t pending_bytes_ = 0, manifest_bytes_ = 0;
  bool woken_ = false;
  std::optional<Error> abandoned_;
};

}  // namespace lookback::hub
