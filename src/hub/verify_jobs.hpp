#pragma once
// Long jobs on published archives that are asked after by id: verification. One runs at a time; the
// disk is the limit. Thread-safe.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "lookback/base/json.hpp"
#include "lookback/base/result.hpp"

namespace lookback::hub {

class VerifyJobs {
 public:
  VerifyJobs() = default;
  ~VerifyJobs() { stop(); }
  VerifyJobs(const VerifyJobs&) = delete;
  VerifyJobs& operator=(const VerifyJobs&) = delete;

  /// Returns the job's id. conflict: too many wait already.
  [[nodiscard]] Result<std::string> start(const std::string& snapshot,
                                          const std::filesystem::path& archive);
  /// The object of GET /jobs/{id}. The last kKept finished ones are remembered.
  [[nodiscard]] Result<Json> find(const std::string& id) const;
  void stop();

 private:
  static constexpr size_t kMostWaiting = 64, kKept = 256;
  struct Job {
    std::string id, snapshot;
    std::filesystem::path archive;
    std::string state = "running";
    uint64_t done = 0, total = 0;
    std::string error;
    Json result;
  };
  void loop();
  void run(const std::shared_ptr<Job>& job);

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::deque<std::string> finished_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
};

}  // namespace lookback::hub
