#pragma once
// Where merged packets go: the written side of an export, or what only counts them.

#include <cstddef>
#include <cstdint>

#include "exporter/frame_batch.hpp"
#include "lookback/base/result.hpp"

namespace lookback::exporter {

/// One thread. An error ends everything.
class MergeSink {
 public:
  MergeSink() = default;
  virtual ~MergeSink() = default;
  MergeSink(const MergeSink&) = delete;
  MergeSink& operator=(const MergeSink&) = delete;

  /// Before the first packet of a batch.
  [[nodiscard]] virtual Result<> admit(const FrameBatch& batch) = 0;
  /// Packets [first, last) of the batch; all that is written comes in the order of the output.
  [[nodiscard]] virtual Result<> write(const FrameBatch& batch, uint32_t node, size_t first,
                                       size_t last) = 0;
  /// A packet of this interface was left out as a copy.
  virtual void count_copy(uint32_t interface) = 0;
};

}  // namespace lookback::exporter
