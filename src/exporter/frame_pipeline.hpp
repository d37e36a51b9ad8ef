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

/// take(), read_again() and give_back() belong to one thread; everything else happens inside. The
/// frames that wait to be taken are bounded in number and bytes.
class FramePipeline {
 public:
  FramePipeline(const Plan& plan, const archive::ArchiveReader& archive, unsigned threads);
  ~FramePipeline();
  FramePipeline(const FramePipeline&) = delete;
  FramePipeline& operator=(const FramePipeline&) = delete;

  /// The batch of the next unit of the plan, in the plan's order; waits for it.
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> take();
  /// The batch of a unit that was taken before, the same as then; read by the caller's thread.
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> read_again(const FrameUnit& unit);
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
  /// With the mutex held: the next unit has room.
  [[nodiscard]] bool may_read_next() const;
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> read(const FrameUnit& unit, Worker& worker);
  [[nodiscard]] Result<Interfaces> interfaces_of(const FrameUnit& unit,
                                                 std::span<const std::byte> content,
                                                 Worker& worker);
  [[nodiscard]] Result<> read_head(const archive::MemberEntry& member, Worker& worker);
  [[nodiscard]] Result<Interfaces> parse_interfaces(const FrameUnit& unit,
                                                    std::span<const std::byte> first_frames);
  /// Of the content in the worker's batch.
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> scan(const FrameUnit& unit,
                                                         const MemberInterfaces& interfaces,
                                                         Worker& worker);
  [[nodiscard]] std::unique_ptr<FrameBatch> empty_batch();
  void publish(uint32_t member, Result<Interfaces> interfaces);

  const Plan& plan_;
  const archive::ArchiveReader& archive_;
  const KeyedHash hash_;
  std::atomic<uint64_t> frames_read_ = 0;
  std::unique_ptr<Worker> again_;  ///< of the thread that takes

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable room_, batch_ready_, member_ready_;
  bool stopping_ = false;
  size_t next_to_read_ = 0, next_to_take_ = 0;
  std::vector<Slot> slots_;  ///< of units [next_to_take_, next_to_take_ + size)
  std::vector<Member> members_;
  uint64_t ahead_bytes_ = 0;  ///< of units [next_to_take_, next_to_read_)
  std::vector<std::unique_ptr<FrameBatch>> spare_;
  packet::UnreadCounts unread_{};
  uint64_t cut_packets_ = 0;
  size_t spare_bytes_ = 0;

  std::vector<std::thread> threads_;
};

}  // namespace lookback::exporter
