#pragma once
// Reads a plan's frames and merges them into a sink.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"

namespace lookback::exporter {

struct RunStats {
  uint64_t packets_read = 0, duplicates_dropped = 0;
  uint64_t frames_read = 0, dedup_evictions = 0, most_frames_open = 0;
  std::vector<std::string> warnings;  ///< what was found on the way
};

[[nodiscard]] Result<RunStats> run_plan(const Plan& plan, const archive::ArchiveReader& archive,
                                        const ExportOptions& options, MergeSink& sink,
                                        const std::atomic<bool>* cancelled);

}  // namespace lookback::exporter
