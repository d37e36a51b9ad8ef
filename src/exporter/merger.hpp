#pragma once
// Merges the batches of the pipeline into one stream in exact order. A batch is open from the
// moment that the output reaches the earliest stamp it may hold until its last packet is written,
// so memory is what overlaps in time.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "exporter/deduplicator.hpp"
#include "exporter/frame_pipeline.hpp"
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
  Merger(const Plan& plan, FramePipeline& pipeline, MergeSink& output,
         const std::atomic<bool>* cancelled);
  [[nodiscard]] Result<> run();

  [[nodiscard]] uint64_t packets_read() const { return packets_read_; }
  [[nodiscard]] uint64_t copies() const { return copies_; }
  [[nodiscard]] uint64_t evictions() const { return dedup_ ? dedup_->evictions() : 0; }
  [[nodiscard]] size_t most_open() const { return most_open_; }
  /// Nodes whose frames hold packets outside the times that the manifest declares.
  [[nodiscard]] const std::vector<bool>& nodes_outside_bounds() const { return outside_bounds_; }

 private:
  struct Open {
    OrderKey key;  ///< of the next packet
    uint32_t node;
    size_t next;  ///< its place in the batch
    std::unique_ptr<FrameBatch> batch;
  };

  [[nodiscard]] Result<> open_next();
  [[nodiscard]] Result<> advance();
  [[nodiscard]] Result<> write(Open& open, size_t last);
  [[nodiscard]] bool is_copy(const Open& open, size_t packet);
  void sift_down();

  const Plan& plan_;
  FramePipeline& pipeline_;
  MergeSink& output_;
  const std::atomic<bool>* cancelled_;
  std::unique_ptr<Deduplicator> dedup_;
  int64_t forget_behind_ns_ =
      0;  ///< how far behind the output's stamps a sighting on the hub's clock can still matter
  size_t next_unit_ = 0;
  std::vector<Open> open_;  ///< a heap, the smallest key first
  size_t most_open_ = 0;
  uint64_t packets_read_ = 0, copies_ = 0;
  std::vector<bool> outside_bounds_;
};

}  // namespace lookback::exporter
