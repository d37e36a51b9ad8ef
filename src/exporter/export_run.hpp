#pragma once
// Reads a plan's frames and merges them into a sink.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "exporter/memory_budget.hpp"
#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"

namespace lookback::exporter {

struct RunStats {
  uint64_t packets_read = 0, duplicates_dropped = 0;
  uint64_t frames_read = 0, dedup_evictions = 0, most_frames_open = 0, frames_read_again = 0;
  std::vector<std::string> warnings;  ///< what was found on the way
};

/// The memory that a run of this plan begins with: for open frames, and for tables of fixed bounds.
/// Waits until other exports of the process leave it.
[[nodiscard]] Result<MemoryBudget::Share> reserve_memory(const Plan& plan, bool flows,
                                                         const std::atomic<bool>* cancelled);

[[nodiscard]] Result<RunStats> run_plan(const Plan& plan, const archive::ArchiveReader& archive,
                                        const ExportOptions& options, MergeSink& sink,
                                        MemoryBudget::Share& memory,
                                        const std::atomic<bool>* cancelled);

}  // namespace lookback::exporter
