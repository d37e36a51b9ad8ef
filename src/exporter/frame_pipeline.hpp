#pragma once
// Reads, decodes and scans the plan's frames on worker threads, a bounded number ahead of the
// merger.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "exporter/frame_batch.hpp"
#include "exporter/frame_scanner.hpp"
#include "exporter/plan.hpp"

namespace lookback::exporter {

/// take() and give_back() belong to one thread; everything else happens inside. At most
/// `look_ahead` frames wait to be taken.
class FramePipeline {
 public:
  FramePipeline(const Plan& plan, const archive::ArchiveReader& archive, unsigned threads);
  ~FramePipeline();
  FramePipeline(const FramePipeline&) = delete;
  FramePipeline& operator=(const FramePipeline&) = delete;

  /// The batch of the next unit of the plan, in the plan's order; waits for it.
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> take();
  /// Its memory is used again.
  void give_back(std::unique_ptr<FrameBatch> batch);

  [[nodiscard]] uint64_t frames_read() const { return frames_read_; }
  /// Of all frames read so far.
  [[nodiscard]] packet::UnreadCounts unread() const;
  [[nodiscard]] uint64_t cut_packets() const;

 private:
  enum class State : uint8_t { absent, loading, ready };
  using Interfaces = std::shared_ptr<const MemberInterfaces>;

  /// The interface table of a member, kept while units of it are left.
  struct Member {
    State state = State::absent;
    uint32_t units_left = 0;
    Result<Interfaces> interfaces;
  };
  struct Slot {
    bool ready = false;
    Result<std::unique_ptr<FrameBatch>> batch;
  };
  class Worker;

  void run();
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> read(const FrameUnit& unit, Worker& worker);
  [[nodiscard]] Result<Interfaces> interfaces_of(const FrameUnit& unit,
                                                 std::span<const std::byte> content,
                                                 Worker& worker);
  [[nodiscard]] Result<> read_head(const archive::MemberEntry& member, Worker& worker);
  [[nodiscard]] std::unique_ptr<FrameBatch> empty_batch();
  void publish(uint32_t member, Result<Interfaces> interfaces);

  const Plan& plan_;
  const archive::ArchiveReader& archive_;
  const KeyedHash hash_;
  std::atomic<uint64_t> frames_read_ = 0;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable room_, batch_ready_, member_ready_;
  bool stopping_ = false;
  size_t next_to_read_ = 0, next_to_take_ = 0;
  std::vector<Slot> slots_;  ///< of units [next_to_take_, next_to_take_ + size)
  std::vector<Member> members_;
  std::vector<std::unique_ptr<FrameBatch>> spare_;
  packet::UnreadCounts unread_{};
  uint64_t cut_packets_ = 0;

  std::vector<std::thread> threads_;
};

}  // namespace lookback::exporter
