#pragma once
// Merges the batches of the pipeline into one stream in exact order. A batch is opened when the
// output reaches the earliest stamp it may hold. What overlaps in time is in memory up to a bound:
// beyond it, frames whose turn is furthest away are put aside but for their next packets, and are
// read again when it comes.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "exporter/deduplicator.hpp"
#include "exporter/fragment_table.hpp"
#include "exporter/frame_pipeline.hpp"
#include "exporter/memory_budget.hpp"
#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"

namespace lookback::exporter {

/// The order of the output: by written stamp, then interface (they are numbered by node), then
/// stored order.
struct OrderKey {
  int64_t time_ns;
  uint32_t interface;
  uint32_t stored_order;
  friend auto operator<=>(const OrderKey&, const OrderKey&) = default;
};

/// One thread.
class Merger {
 public:
  /// Open frames have this much memory at first. Where that makes frames be read again and again it
  /// doubles, as far as `share` can grow.
  static constexpr uint64_t kFirstBytes = 32 << 20, kMostBytes = 512 << 20;

  Merger(const Plan& plan, FramePipeline& pipeline, MergeSink& output, MemoryBudget::Share& share,
         const std::atomic<bool>* cancelled, uint64_t first_bytes = kFirstBytes);
  [[nodiscard]] Result<> run();

  [[nodiscard]] uint64_t packets_read() const { return packets_read_; }
  [[nodiscard]] uint64_t copies() const { return copies_; }
  [[nodiscard]] uint64_t evictions() const { return dedup_ ? dedup_->evictions() : 0; }
  [[nodiscard]] size_t most_open() const { return most_open_; }
  [[nodiscard]] uint64_t frames_read_again() const { return read_again_; }
  /// Fragments whose datagram's first one is not there, or was forgotten.
  [[nodiscard]] uint64_t fragments_alone() const { return fragments_alone_; }
  [[nodiscard]] uint64_t fragment_evictions() const { return fragments_.evictions(); }
  /// Nodes whose frames hold packets outside the times that the manifest declares.
  [[nodiscard]] const std::vector<bool>& nodes_outside_bounds() const { return outside_bounds_; }

 private:
  struct Open {
    OrderKey key;          ///< of the next packet
    uint32_t unit;         ///< its frame in the plan
    uint32_t first = 0;    ///< the batch's first packet (without a batch: the next one) counted in the frame
    size_t next = 0;       ///< its place in the batch
    bool more = false;     ///< the batch is a part, and `after` is the key of what follows in the frame
    OrderKey after{};
    size_t memory = 0;     ///< of the batch
    std::unique_ptr<FrameBatch> batch;  ///< null: to be read again
  };

  [[nodiscard]] OrderKey lower_key(size_t unit) const;
  [[nodiscard]] Result<std::unique_ptr<FrameBatch>> take_next();
  [[nodiscard]] Result<> open_next();
  [[nodiscard]] Result<> open_again(Open& open);
  [[nodiscard]] Result<> advance();
  [[nodiscard]] Result<> write(Open& open, size_t last);
  [[nodiscard]] Result<> settle_fragments(Open& open, size_t last);
  void learn_fragments(const FrameBatch& batch);
  [[nodiscard]] bool is_copy(const Open& open, size_t packet);
  [[nodiscard]] uint32_t node_of(const Open& open) const { return plan_.units[open.unit].node; }
  void make_room();
  void keep_part(Open& open, size_t bytes);
  void put_aside(Open& open);
  void sift_down();

  const Plan& plan_;
  FramePipeline& pipeline_;
  MergeSink& output_;
  MemoryBudget::Share& share_;
  const std::atomic<bool>* cancelled_;
  std::unique_ptr<Deduplicator> dedup_;
  int64_t forget_behind_ns_ =
      0;  ///< how far behind the output's stamps a sighting on the hub's clock can still matter
  FragmentTable fragments_;
  size_t next_unit_ = 0;
  std::deque<std::unique_ptr<FrameBatch>> ahead_;  ///< taken before their turn, from next_unit_ on
  std::vector<Open> open_;  ///< a heap, the smallest key first
  uint64_t allowed_bytes_, open_bytes_ = 0;
  size_t most_open_ = 0;
  uint64_t packets_read_ = 0, copies_ = 0, read_again_ = 0, read_again_unpaid_ = 0;
  uint64_t fragments_alone_ = 0;
  std::vector<bool> outside_bounds_;
};

}  // namespace lookback::exporter
