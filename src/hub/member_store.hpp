#pragma once
// The unfinished archive of a snapshot and the journal beside it. Members are appended by any
// thread: the bytes and the line about them go to the kernel at once, so that a hub which is killed
// fetches no stored member again. One thread makes both durable now and then; what a power cut
// took of the rest is found by its hashes.

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
  /// durable yet.
  [[nodiscard]] Result<> append(const NodeRecord& node, uint32_t index,
                                const archive::MemberContent& member);
  [[nodiscard]] Result<> note(const JournalLine& line);
  /// Waits until there is much to make durable, `time` has passed, or wake().
  void wait_for_work(std::chrono::milliseconds time);
  void wake();
  /// Makes durable what was appended and noted. One thread at a time.
  [[nodiscard]] Result<> sync();
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
  Journal journal_;                // guarded by mutex_, but for its sync()
  const Fd sync_fd_;               // the archive once more: fdatasync without the writer's lock
  DiskBudget& budget_;
  const std::string budget_id_;
  mutable std::mutex mutex_;
  std::condition_variable work_, synced_;
  size_t lines_ = 0, durable_lines_ = 0;
  uint64_t volatile_bytes_ = 0, manifest_bytes_ = 0;
  bool woken_ = false;
  std::optional<Error> abandoned_;
};

}  // namespace lookback::hub
