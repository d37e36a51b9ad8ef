// lookback snapshot pcap

#include <unistd.h>

#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/output_file.hpp"
#include "cli/packet_choice.hpp"
#include "cli/progress.hpp"
#include "cli/snapshot_view.hpp"
#include "cli/split_output.hpp"
#include "cli/terminal.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/size.hpp"
#include "lookback/exporter/exporter.hpp"

namespace lookback::cli {

namespace {

struct SnapshotPcapOptions {
  HubSettings hub;
  std::string snapshot;
  std::optional<std::string> output;
  PacketChoice choice;
  std::string format = "pcapng";
  uint32_t snaplen = 0;
  std::optional<uint64_t> split_bytes;
  bool dedup = false, align_clocks = false;
};

/// On a terminal a file beside the user, elsewhere standard output, so that a pipe needs no -o.
std::string output_of(const SnapshotPcapOptions& options) {
  if (options.output) return *options.output;
  if (!is_terminal(STDOUT_FILENO) && !options.split_bytes) return "-";
  std::string name = std::filesystem::path(options.snapshot).filename().string();
  for (const std::string_view end : {".tar.zst", ".zst"}) {
    if (name.ends_with(end)) {
      name.resize(name.size() - end.size());
      break;
    }
  }
  return name + (options.format == "pcapng" ? ".pcapng" : ".pcap");
}

/// One file, or several where --split-size asks for them.
class Output {
 public:
  [[nodiscard]] static Result<Output> open(const SnapshotPcapOptions& options) {
    Output out;
    const std::string path = output_of(options);
    if (options.split_bytes) {
      TRY_ASSIGN(SplitOutput split, SplitOutput::open(path, *options.split_bytes));
      out.split_.emplace(std::move(split));
    } else {
      TRY_ASSIGN(OutputFile file, OutputFile::open(path));
      out.file_.emplace(std::move(file));
    }
    return out;
  }
  [[nodiscard]] Result<> write(std::span<const std::byte> data) {
    return split_ ? split_->write(data) : file_->write(data);
  }
  [[nodiscard]] Result<> finish() {
    if (!split_) return file_->commit(/*durable=*/false);
    TRY(split_->finish());
    if (const auto old = split_->left_over())
      report_note(fmt::format("{} is there as well: it is of an earlier export", old->string()));
    return {};
  }
  [[nodiscard]] uint64_t bytes() const { return split_ ? split_->bytes() : file_->bytes(); }
  [[nodiscard]] std::string name() const { return split_ ? split_->name() : file_->name(); }
  [[nodiscard]] bool reader_gone() const { return !split_ && file_->reader_gone(); }
  [[nodiscard]] bool is_file() const { return split_ || file_->is_file(); }
  /// What Ctrl-C leaves behind.
  [[nodiscard]] std::string_view left() const {
    return split_ && split_->files() > 1 ? "the files before the last are whole and stay"
                                         : "no file was left";
  }

 private:
  std::optional<OutputFile> file_;
  std::optional<SplitOutput> split_;
};

void report_stats(const exporter::ExportStats& stats, const Output& file) {
  std::string line = fmt::format("{}, {} to {}", counted(stats.packets_written, "packet"),
                                 format_size(file.bytes()), file.name());
  if (stats.packets_read > stats.packets_written)
    line += fmt::format("; {} read", counted(stats.packets_read, "packet"));
  if (stats.duplicates_dropped != 0)
    line += fmt::format("; {} left out", counted(stats.duplicates_dropped, "duplicate"));
  if (stats.dedup_evictions != 0) {
    line += fmt::format("; {} sightings forgotten too early to be paired",
                        grouped(stats.dedup_evictions));
  }
  report_note(line);
  for (const std::string& warning : stats.warnings) report_note(warning);
}

/// An export that ended early: the reader of a pipe had enough, Ctrl-C, or an error.
Result<int> ended_early(const Error& error, const Output& file, const Interrupt& interrupt) {
  if (file.reader_gone()) return kExitDone;
  if (interrupt.requested()) {
    if (file.is_file()) report_note(fmt::format("interrupted; {}", file.left()));
    return interrupt.exit_status();
  }
  return tl::make_unexpected(error);
}

Result<int> finish(const SnapshotPcapOptions& options, bool complete) {
  if (complete) return kExitDone;
  report_note(fmt::format(
      "the window is not wholly covered: 'lookback snapshot show {}' tells what is missing",
      options.snapshot));
  return kExitIncomplete;
}

Result<int> export_file(const SnapshotPcapOptions& options) {
  TRY_ASSIGN(exporter::ExportOptions wanted, options_of(options.choice));
  wanted.format = options.format == "pcapng" ? exporter::Format::pcapng : exporter::Format::pcap;
  wanted.microseconds = options.format == "pcap-us";
  wanted.snaplen = options.snaplen;
  wanted.dedup = options.dedup;
  wanted.align_clocks = options.align_clocks;
  TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(options.snapshot));
  TRY_ASSIGN(Output file, Output::open(options));

  const Interrupt interrupt;
  Progress progress(STDERR_FILENO, file.is_file());
  const auto stats = exporter::export_capture(
      reader, wanted,
      [&](std::span<const std::byte> data) -> Result<> {
        TRY(file.write(data));
        progress.update(file.bytes(), 0);
        return {};
      },
      &interrupt.flag());
  progress.clear();
  if (!stats) return ended_early(stats.error(), file, interrupt);
  TRY(file.finish());
  report_stats(*stats, file);
  return finish(options, stats->complete);
}

Result<std::string> request_path(const SnapshotPcapOptions& options, const std::string& summary_id) {
  TRY_ASSIGN(const std::string query, query_of(options.choice));
  TRY_ASSIGN(std::string path, snapshot_path(options.snapshot, "/pcap"));
  path += "?format=" + options.format + "&summary_id=" + summary_id + query;
  if (options.snaplen != 0) path += fmt::format("&snaplen={}", options.snaplen);
  if (options.dedup) path += "&dedup=1";
  if (options.align_clocks) path += "&align_clocks=1";
  return path;
}

exporter::ExportStats stats_of(const Json& document) {
  const auto number = [&](const char* key) {
    return static_cast<uint64_t>(number_of(document, key));
  };
  exporter::ExportStats stats;
  stats.packets_read = number("packets_read");
  stats.packets_written = number("packets_written");
  stats.duplicates_dropped = number("duplicates_dropped");
  stats.dedup_evictions = number("dedup_evictions");
  stats.complete = truth_of(document, "complete", true);
  for (const Json& one : list_of(document, "warnings")) {
    if (one.is_string()) stats.warnings.push_back(one.get<std::string>());
  }
  return stats;
}

Result<int> export_from_hub(const SnapshotPcapOptions& options) {
  const std::string summary_id = random_hex(16);
  TRY_ASSIGN(const std::string path, request_path(options, summary_id));
  HubClient::Options streaming;
  streaming.total_timeout_ms = 0;
  // A filter that matches hardly anything lets the hub read for long before it has a byte to send.
  streaming.stall_timeout_ms = 600'000;
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub, streaming));
  TRY_ASSIGN(Output file, Output::open(options));

  const Interrupt interrupt;
  Progress progress(STDERR_FILENO, file.is_file());
  const auto response = hub.download(
      path,
      [&](std::span<const std::byte> data) -> Result<> {
        TRY(file.write(data));
        progress.update(file.bytes(), 0);
        return {};
      },
      &interrupt.flag());
  progress.clear();
  if (!response) return ended_early(response.error(), file, interrupt);
  TRY(file.finish());

  const auto header = response->headers.find("x-lookback-complete");
  bool complete = header == response->headers.end() || header->second != "false";
  const auto summary = hub.get("/api/v1/exports/" + summary_id);
  if (summary) {
    const exporter::ExportStats stats = stats_of(*summary);
    report_stats(stats, file);
    complete = complete && stats.complete;
  } else {
    // The capture itself is whole; only the figures about it are lost.
    report_note(fmt::format("{} to {}; the hub has no figures about it: {}",
                            format_size(file.bytes()), file.name(), summary.error().message));
  }
  return finish(options, complete);
}

}  // namespace

Command snapshot_pcap_command() {
  Command command("pcap", "export packets as a capture file for Wireshark and tcpdump");
  auto options = std::make_shared<SnapshotPcapOptions>();
  command.description =
      "Writes the packets of all nodes in the order of time. A snapshot's name is exported by the "
      "hub and streamed; an archive "
      "file (an argument with a '/' in it, or that ends in .zst and exists) is exported here, "
      "without any hub. Times are RFC 3339, "
      "\"2026-03-01 12:00\", 12:00, now, or relative such as -30m; the window is [from, to) in the "
      "hub's time.\n"
      "\n"
      "The file appears complete or not at all. A new file is its owner's alone; an existing one keeps "
      "its owner and mode. Figures about the export go to standard error. The "
      "exit status is 3 where the "
      "exported window has gaps or lacks a node, and 0 where the reader of a pipe ends early.";
  command.argument("SNAPSHOT|FILE", options->snapshot, "A snapshot's name, or an archive file");
  command.text("-o,--output", "FILE|-", options->output,
               "Where to; - is standard output. By default NAME.pcapng on a terminal, standard "
               "output elsewhere");
  add_choice_options(command, options->choice);
  command.choice("--format", "pcapng|pcap|pcap-us", options->format,
                 "The file's format; by default pcapng. pcap has nanoseconds, pcap-us microseconds "
                 "for readers that know no others");
  command.number("--snaplen", options->snaplen,
                 "Write at most this many bytes of each packet; 0, the default, is all that were "
                 "recorded", 0);
  command.size("--split-size", options->split_bytes,
               "Begin a new file before one grows larger; each is a complete capture file, "
               "NAME_00001.pcapng and so on");
  command.flag("--dedup", options->dedup,
               "Leave out copies of a packet that other interfaces or nodes saw as well");
  command.flag("--align-clocks", options->align_clocks,
               "Correct time stamps by the measured offset of each node's clock");
  add_hub_options(command, options->hub);
  command.examples = {
      {"lookback snapshot pcap incident-1 -o - | wireshark -k -i -",
       "Opens it in Wireshark while it streams."},
      {"lookback snapshot pcap incident-1 -o web.pcapng --node 'web-*' --filter 'tcp port 443'",
       "One service's packets of some nodes."},
      {"lookback snapshot pcap incident-1 -o part.pcapng --snaplen 128 --split-size 100MiB",
       "Headers only, in files that a small machine can open."},
      {"lookback snapshot pcap ./incident-1.tar.zst -o - --ip 10.1.2.3 | tcpdump -nr -",
       "The packets of one host, from an archive file."}};
  command.action = [options] {
    return means_file(options->snapshot) ? export_file(*options) : export_from_hub(*options);
  };
  return command;
}

}  // namespace lookback::cli
