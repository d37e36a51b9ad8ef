#pragma once
// From the ring into the store, with two threads:
//
//   drainer  takes blocks from the ring. A block that is a quarter full or more, of large packets, goes on as it is; others are
//            repacked into a buffer. Never waits for the disk as long as a buffer is free: the kernel hands a block over after
//            20 to 40 ms however little is in it, and goes through them in turn, so one that waits for the disk ends the ring's
//            round within half a second. Beside the buffers of every day there are spare ones, which take memory only while the
//            disk stalls.
//   writer   the store's recorder thread: appends blocks, interface tables, gaps and clock samples in the order they come.
//
// Every packet that is lost is counted in a gap: by the kernel ("kernel ring full"), or by the disk ("disk full").

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/queue.hpp"
#include "lookback/base/result.hpp"
#include "lookback/capture/capture.hpp"
#include "lookback/store/compact.hpp"
#include "lookback/store/store.hpp"
#include "node/clock_watch.hpp"
#include "node/interface_positions.hpp"
#include "node/page_memory.hpp"
#include "node/rate_meter.hpp"

namespace lookback::node {

struct RecorderOptions {
  uint32_t buffer_bytes = 2 << 20;  ///< of one compact block
  uint32_t buffers = 5;
  uint32_t spare_buffers = 0;  ///< for when the disk stalls
  /// When the ring was about to be opened: what it dropped until start() came after that. 0: now.
  int64_t ring_opened_ns = 0;
};

/// Sums since the start.
struct RecorderTotals {
  uint64_t packets = 0;             ///< handed over by the kernel
  uint64_t bytes = 0;               ///< captured; where blocks go to disk whole, to within 16 a packet
  uint64_t dropped = 0, stalls = 0; ///< by the kernel, the ring being full
  uint64_t disk_full_packets = 0, disk_error_packets = 0;
  uint64_t whole_blocks = 0, compact_blocks = 0;
  uint64_t disk_bytes = 0;          ///< written for packets
};

class Recorder {
 public:
  /// `ring`, `store` and `clock` outlive the recorder. Recording has begun when it returns.
  [[nodiscard]] static Result<std::unique_ptr<Recorder>> start(capture::Ring& ring,
                                                               store::Store& store,
                                                               const Clock& clock,
                                                               RecorderOptions options = {});
  /// Stops as stop() does.
  ~Recorder();

  // All from any thread.

  /// Waits until everything that the kernel had handed over when it was called is in sealed segments.
  [[nodiscard]] Result<> barrier();
  void add_clock_sample(const ClockSample& sample);
  [[nodiscard]] RecorderTotals totals() const;
  [[nodiscard]] Rates rates() const { return meter_.rates(); }
  /// True while the disk does not take what comes.
  [[nodiscard]] bool disk_failing() const { return disk_failing_.load(std::memory_order_relaxed); }
  /// Why recording ended by itself; nothing while it goes on.
  [[nodiscard]] std::optional<Error> failure() const;
  /// Called once from a recorder thread when recording ends by itself. Set before there is traffic.
  void on_failure(std::function<void()> callback);
  /// Takes what the kernel still holds, writes and seals it, and ends the threads.
  void stop();

 private:
  struct Buffer {
    Buffer(std::span<std::byte> bytes, bool is_spare)
        : memory(bytes), block(bytes), spare(is_spare) {}
    std::span<std::byte> memory;
    store::CompactBlock block;
    bool spare;
    int64_t begun_ns = 0;  ///< monotonic, of the first packet
  };
  using Promises = std::vector<std::shared_ptr<std::promise<Result<>>>>;
  struct WriteCompact {
    Buffer* buffer;
  };
  struct WriteWhole {
    capture::Block block;
    uint32_t skipped;  ///< bytes at its front that stay out
    store::BlockInfo info;
  };
  struct Seal {
    Promises promises;
    std::optional<int64_t> complete_ns;  ///< every packet stamped before was pushed
  };
  struct Tick {
    std::optional<int64_t> complete_ns;
  };
  using Job = std::variant<WriteCompact, WriteWhole, std::vector<packet::Interface>, Gap,
                           ClockSample, Seal, Tick>;

  Recorder(capture::Ring& ring, store::Store& store, const Clock& clock, RecorderOptions options,
           PageMemory memory, PageMemory spare_memory);

  // drainer
  void drain();
  [[nodiscard]] Result<capture::Block> next_block(int timeout_ms);
  [[nodiscard]] Result<> drain_step(int timeout_ms);
  void take_block(capture::Block block);
  void repack(const capture::Block& block);
  bool hand_over_whole(capture::Block& block);
  uint32_t position_of(uint32_t index, uint16_t hardware_type);
  void follow_interfaces();
  /// Puts every interface there is into the table, for blocks whose packets nobody looks at.
  void name_all_interfaces();
  void flush();
  void flush_if_due();
  void check_drops();
  void close_drop_gap();
  void every_second();
  void serve_barriers();
  /// Takes what the kernel has handed over. Returns the time before which every packet that was stamped is taken then; nothing
  /// where the ring broke.
  std::optional<int64_t> drain_what_is_ready();
  /// What was stamped before is in blocks that the kernel has handed over by `now_ns`.
  [[nodiscard]] int64_t handed_over_at(int64_t now_ns) const;
  Buffer* wait_for_buffer();
  bool push(Job job);

  // writer
  void write();
  void append(std::span<std::byte> block, const store::BlockInfo& info);
  void close_disk_gap();
  void give_back(Buffer* buffer);

  void fail_with(Error error);

  capture::Ring& ring_;
  store::Store& store_;
  const Clock& clock_;
  const RecorderOptions options_;
  const uint32_t whole_min_bytes_;  ///< of a block that goes on as it is
  PageMemory memory_, spare_memory_;
  std::vector<Buffer> buffers_;
  BoundedQueue<Job> jobs_;

  // drainer only
  Buffer* current_ = nullptr;
  InterfacePositions positions_;
  bool all_named_ = false;
  std::optional<Gap> drop_gap_;
  std::optional<int64_t> all_taken_ns_;  ///< as by handed_over_at(), when the ring was last found empty
  int64_t drops_checked_ns_ = 0, drops_checked_monotonic_ns_ = 0, last_drop_monotonic_ns_ = 0;
  int64_t next_second_ns_ = 0, next_tick_ns_ = 0;
  std::optional<Error> ring_error_;

  // writer only
  std::optional<Gap> disk_gap_;

  std::mutex free_mutex_;
  std::condition_variable free_ready_;
  std::vector<Buffer*> free_, free_spare_;

  void note_clock_step();  // with clock_mutex_ held
  std::mutex clock_mutex_;
  ClockWatch clock_watch_;
  std::optional<ClockSample> last_clock_;

  mutable std::mutex barrier_mutex_;
  Promises barriers_;
  bool refuses_barriers_ = false;
  std::optional<Error> failure_;
  std::function<void()> failure_callback_;

  std::atomic<bool> stopping_{false}, tick_waits_{false}, disk_failing_{false};
  std::atomic<uint64_t> packets_{0}, bytes_{0}, dropped_{0}, stalls_{0}, disk_full_packets_{0},
      disk_error_packets_{0}, whole_blocks_{0}, compact_blocks_{0}, disk_bytes_{0};
  RateMeter meter_;
  std::thread drainer_, writer_;
};

}  // namespace lookback::node
