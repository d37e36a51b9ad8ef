#pragma once
// Long work of any kind, off the threads of the API: started with a kind and a subject, followed, cancelled, listed. Each kind
// has a limit of its own. The record of a kind that is kept survives a restart of the hub: what had not ended begins again.
// Thread-safe.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "event_feed.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/hub/job.hpp"

namespace lookback::hub {

/// What a job under way sees of the service. Its own thread, and those that it starts.
class JobControl {
 public:
  JobControl(const std::atomic<bool>& cancelled, std::function<void(uint64_t, uint64_t)> on_progress)
      : cancelled_(cancelled), on_progress_(std::move(on_progress)) {}
  /// Set when the work is to end as soon as it can, with an error of kind cancelled.
  [[nodiscard]] const std::atomic<bool>& cancelled() const { return cancelled_; }
  void progress(uint64_t done, uint64_t total) const { on_progress_(done, total); }

 private:
  const std::atomic<bool>& cancelled_;
  std::function<void(uint64_t, uint64_t)> on_progress_;
};

/// A row of the table of kinds.
struct JobKind {
  std::string name;
  unsigned at_a_time = 1;    ///< how many run
  size_t most_waiting = 64;  ///< beyond them a start is refused
  bool is_kept = false;      ///< its record survives a restart
  /// Does the work; the result is JSON. Any thread.
  std::function<Result<std::string>(const Job& job, const JobControl& control)> run;
};

class Jobs {
 public:
  /// `folder`: where records are kept.
  Jobs(std::filesystem::path folder, std::vector<JobKind> kinds, const Clock& clock, EventFeed& events);
  ~Jobs();
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  /// Reads the records and begins what had not ended. Once, before anything else.
  [[nodiscard]] Result<> open();
  /// conflict: too many of the kind wait already. `parameters`: JSON.
  [[nodiscard]] Result<Job> start(const std::string& kind, const std::string& subject, const std::string& parameters = "{}");
  /// The last kMostEnded that ended are remembered.
  [[nodiscard]] Result<Job> find(const std::string& id) const;
  [[nodiscard]] std::vector<Job> list() const;  ///< the newest first
  /// Returns at once; a job that runs ends when it notices. conflict: it is over.
  [[nodiscard]] Result<> cancel(const std::string& id);
  /// Ends what runs and waits for it. What is kept begins again with the next hub.
  void stop();

 private:
  static constexpr size_t kMostEnded = 256;
  /// A job that ended the hub this often does not get another try.
  static constexpr uint32_t kMostStarts = 3;

  struct Entry {
    Job job;
    size_t kind = 0;  ///< index in kinds_
    std::atomic<bool> cancelled{false};
    bool is_cancelled_by_user = false;
    int64_t told_ns = 0;  ///< when its progress was published, monotonic
  };
  struct Queue {
    std::deque<std::shared_ptr<Entry>> waiting;
    std::vector<std::thread> threads;
    unsigned starting = 0, idle = 0, running = 0;
  };

  using Paths = std::vector<std::filesystem::path>;
  [[nodiscard]] std::filesystem::path record_of(const Job& job) const;
  [[nodiscard]] Result<> read_record(const std::filesystem::path& path);
  // Under mutex_:
  [[nodiscard]] Result<> enqueue(const std::shared_ptr<Entry>& entry);
  /// Returns the records of those that are forgotten for it.
  [[nodiscard]] Paths settle(Entry& entry, JobState state);
  [[nodiscard]] Paths forget_oldest();
  void publish(const Entry& entry, const char* type) const;
  // Not under mutex_, since they wait for the disk:
  [[nodiscard]] Result<> keep(const Entry& entry);
  void keep_end(const Entry& entry, const Paths& forgotten);

  void loop(size_t kind);
  void run(const std::shared_ptr<Entry>& entry);
  void note_progress(Entry& entry, uint64_t done, uint64_t total);

  const std::filesystem::path folder_;
  const std::vector<JobKind> kinds_;
  const Clock& clock_;
  EventFeed& events_;
  std::mutex records_mutex_;  // taken before mutex_: the files
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::vector<Queue> queues_;  // one for each kind
  std::map<std::string, std::shared_ptr<Entry>> entries_;
  std::deque<std::string> ended_;  // ids, the oldest first
  bool stopping_ = false;
};

}  // namespace lookback::hub
