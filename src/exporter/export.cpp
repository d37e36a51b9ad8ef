#include <algorithm>
#include <thread>

#include "exporter/attribution.hpp"
#include "exporter/capture_output.hpp"
#include "exporter/coverage.hpp"
#include "exporter/export_run.hpp"
#include "exporter/frame_pipeline.hpp"
#include "exporter/merger.hpp"
#include "exporter/plan.hpp"
#include "exporter/process_filter.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/packet/limits.hpp"

namespace lookback::exporter {

namespace {

constexpr unsigned kMostThreads = 8;
/// What an export takes: open frames at first and those ahead of them, the tables of --dedup, of
/// flows, and of processes and sockets. The tables are bounded, and small where there is little.
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kFramesBytes = Merger::kFirstBytes + 32 * kMiB, kDedupBytes = 128 * kMiB,
                   kFlowsBytes = 96 * kMiB, kOwnersBytes = 64 * kMiB;

unsigned thread_count(const ExportOptions& options, size_t units) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const unsigned wanted = options.threads != 0 ? options.threads : std::min(cores, kMostThreads);
  return static_cast<unsigned>(std::clamp<size_t>(units, 1, wanted));
}

}  // namespace

Result<ExportOutlook> export_outlook(const archive::Manifest& manifest,
                                     const ExportOptions& options) {
  TRY_ASSIGN(Plan plan, make_plan(manifest, options));
  ExportOutlook outlook;
  outlook.complete = plan.complete;
  outlook.warnings = std::move(plan.warnings);
  for (const FrameUnit& unit : plan.units) {
    outlook.content_bytes += unit.member->frames[unit.frame].content_bytes;
  }
  return outlook;
}

Result<MemoryBudget::Share> reserve_memory(const Plan& plan, bool flows,
                                           const std::atomic<bool>* cancelled) {
  uint64_t bytes = kFramesBytes;
  if (plan.dedup) bytes += kDedupBytes;
  if (flows) bytes += kFlowsBytes;
  if (plan.digests) bytes += kOwnersBytes;
  return MemoryBudget::of_process().take(bytes, cancelled);
}

Result<RunStats> run_plan(const Plan& plan, const archive::ArchiveReader& archive,
                          const ExportOptions& options, MergeSink& sink,
                          MemoryBudget::Share& memory, const std::atomic<bool>* cancelled) {
  FramePipeline pipeline(plan, archive, thread_count(options, plan.units.size()));
  Merger merger(plan, pipeline, sink, memory, cancelled);
  TRY(merger.run());
  RunStats stats;
  stats.packets_read = merger.packets_read();
  stats.duplicates_dropped = merger.copies();
  stats.frames_read = pipeline.frames_read();
  stats.dedup_evictions = merger.evictions();
  stats.most_frames_open = merger.most_open();
  if (std::string kept = packet::describe(pipeline.unread()); !kept.empty())
    stats.warnings.push_back(std::move(kept));
  if (const uint64_t cut = pipeline.cut_packets(); cut != 0)
    stats.warnings.push_back(fmt::format("{} packets were longer than {} bytes and are cut there, as libpcap reads no more", cut,
                                         packet::kMaxCapturedBytes));
  stats.frames_read_again = merger.frames_read_again();
  if (merger.fragment_evictions() > 0) {
    stats.warnings.push_back(
        fmt::format("{} fragmented datagrams were too many to be followed: some of their fragments "
                    "may be in no flow and have no process",
                    merger.fragment_evictions()));
  }
  for (size_t node = 0; node < plan.nodes.size(); ++node) {
    if (!merger.nodes_outside_bounds()[node]) continue;
    stats.warnings.push_back(
        fmt::format("node {}: packets stand outside the times that the manifest declares for their "
                    "frames, and may be out of order",
                    plan.nodes[node].entry->name));
  }
  return stats;
}

Result<ExportStats> export_capture(const std::shared_ptr<archive::ArchiveReader>& archive,
                                   const ExportOptions& options, const Sink& sink,
                                   const std::atomic<bool>* cancelled) {
  TRY_ASSIGN(Plan plan, make_plan(archive->manifest(), options, cancelled));
  Attribution attribution(plan, *archive, cancelled);
  const bool annotate = plan.format == Format::pcapng && attribution.any();
  plan.digests = plan.digests || annotate;
  TRY_ASSIGN(MemoryBudget::Share memory, reserve_memory(plan, false, cancelled));
  CaptureOutput output(plan, archive->manifest(), sink, annotate ? &attribution : nullptr);
  ProcessFilter chosen(options, attribution, output);
  MergeSink& first = ProcessFilter::wanted(options) ? static_cast<MergeSink&>(chosen) : output;
  TRY(output.begin());
  TRY_ASSIGN(const RunStats run, run_plan(plan, *archive, options, first, memory, cancelled));
  TRY(output.finish());

  ExportStats stats;
  stats.packets_read = run.packets_read;
  stats.packets_written = output.packets();
  stats.bytes_written = output.bytes();
  stats.duplicates_dropped = run.duplicates_dropped;
  stats.frames_read = run.frames_read;
  stats.frames_skipped = plan.frames_skipped;
  stats.dedup_evictions = run.dedup_evictions;
  stats.most_frames_open = run.most_frames_open;
  stats.frames_read_again = run.frames_read_again;
  stats.complete = plan.complete;
  stats.warnings = plan.warnings;
  stats.warnings.insert(stats.warnings.end(), run.warnings.begin(), run.warnings.end());
  for (std::string& line : attribution.warnings()) stats.warnings.push_back(std::move(line));
  for (std::string& line : chosen.warnings()) stats.warnings.push_back(std::move(line));
  if (stats.dedup_evictions > 0) {
    stats.warnings.push_back(
        fmt::format("looking for copies, {} comparisons were not made because too much lay between "
                    "the sightings{}: some copies may be left",
                    stats.dedup_evictions,
                    options.align_clocks ? "" : " (--align-clocks brings them together)"));
  }
  return stats;
}

}  // namespace lookback::exporter
