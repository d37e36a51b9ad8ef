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

Result<RunStats> run_plan(const Plan& plan, const archive::ArchiveReader& archive,
                          const ExportOptions& options, MergeSink& sink,
                          const std::atomic<bool>* cancelled) {
  FramePipeline pipeline(plan, archive, thread_count(options, plan.units.size()));
  Merger merger(plan, pipeline, sink, cancelled);
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
  TRY_ASSIGN(Plan plan, make_plan(archive->manifest(), options));
  Attribution attribution(plan, *archive);
  const bool annotate = plan.format == Format::pcapng && attribution.any();
  plan.digests = plan.digests || annotate;
  CaptureOutput output(plan, archive->manifest(), sink, annotate ? &attribution : nullptr);
  ProcessFilter chosen(options, attribution, output);
  MergeSink& first = ProcessFilter::wanted(options) ? static_cast<MergeSink&>(chosen) : output;
  TRY(output.begin());
  TRY_ASSIGN(const RunStats run, run_plan(plan, *archive, options, first, cancelled));
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
  stats.complete = plan.complete;
  stats.warnings = plan.warnings;
  stats.warnings.insert(stats.warnings.end(), run.warnings.begin(), run.warnings.end());
  for (std::string& line : attribution.warnings()) stats.warnings.push_back(std::move(line));
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
