// lookback snapshot import

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/snapshot_view.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/names.hpp"
#include "lookback/base/size.hpp"
#include "lookback/base/version.hpp"
#include "lookback/exporter/importer.hpp"

namespace lookback::cli {

namespace {

namespace fs = std::filesystem;

struct SnapshotImportOptions {
  HubSettings hub;
  std::vector<std::string> files;
  std::optional<std::string> name, output, node;
};

/// A folder of our own for an archive on its way to the hub. It can be large, hence not /tmp, which
/// may be memory.
class WorkFolder {
 public:
  [[nodiscard]] static Result<WorkFolder> create() {
    const char* chosen = std::getenv("TMPDIR");
    std::string path = fs::path(chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp") /
                       "lookback-import.XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return fail_errno(errno,
                        fmt::format("cannot make a folder {}: set TMPDIR to another place", path));
    }
    return WorkFolder(path);
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    std::error_code ec;
    if (!path_.empty()) fs::remove_all(path_, ec);
  }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  explicit WorkFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

/// What ended with Ctrl-C, or an error.
Result<int> ended_early(const Error& error, const Interrupt& interrupt) {
  if (!interrupt.requested()) return tl::make_unexpected(error);
  report_note("interrupted; nothing was imported");
  return interrupt.exit_status();
}

/// Where a name is taken, that is better known before the work than after it.
Result<> check_free(HubClient& hub, const std::string& name) {
  TRY_ASSIGN(const std::string path, snapshot_path(name));
  const auto found = hub.get(path);
  if (found)
    return fail(ErrorKind::conflict, "the hub has a snapshot {} already: give another --name",
                name);
  if (found.error().kind == ErrorKind::not_found) return {};
  return tl::make_unexpected(found.error());
}

Result<archive::Snapshot> upload(HubClient& hub, const fs::path& archive, const std::string& name,
                                 const Interrupt& interrupt) {
  TRY_ASSIGN(const std::string path, snapshot_path(name, "/import"));
  TRY_ASSIGN(const Fd fd, open_file(archive, O_RDONLY));
  TRY_ASSIGN(const uint64_t size, file_size(fd.get()));
  uint64_t done = 0;
  Progress progress;
  auto answer = hub.upload(
      fmt::format("{}?file={}", path, http::url_encode(archive.filename().string())),
      [&](std::span<std::byte> buffer) -> Result<size_t> {
        TRY_ASSIGN(const size_t read, pread_some(fd.get(), buffer, done));
        done += read;
        progress.update(done, size, done == size ? "the hub verifies it" : "to the hub");
        return read;
      },
      &interrupt.flag());
  if (!answer) return tl::make_unexpected(answer.error());
  return archive::snapshot_from_json(*answer);
}

Result<exporter::ImportReport> convert(const SnapshotImportOptions& options, const fs::path& archive,
                                       const Interrupt& interrupt) {
  Progress progress;
  exporter::ImportOptions import;
  import.created_by = fmt::format("lookback {}", version());
  import.created_ns = Clock::system().realtime_ns();
  import.progress = [&](uint64_t done, uint64_t total) { progress.update(done, total, "read"); };
  import.cancelled = &interrupt.flag();
  import.node = options.node.value_or("");
  const std::vector<fs::path> files(options.files.begin(), options.files.end());
  auto report = exporter::import_captures(files, *options.name, archive, import);
  // The command line is right (the name was checked): what a file holds is not, and that is not
  // wrong usage.
  if (!report && report.error().kind == ErrorKind::invalid) {
    return fail(ErrorKind::corrupt, "{}", report.error().message);
  }
  return report;
}

Result<int> finish(const std::string& name, const exporter::ImportReport& report,
                   const std::string& where) {
  for (const std::string& warning : report.warnings) report_note(warning);
  TRY(print_line(fmt::format("snapshot {}: {} of {}, {}{}", name,
                        counted(report.packets, "packet"), counted(report.nodes, "node"),
                        format_size(report.archive_bytes), where)));
  if (report.complete) return kExitDone;
  report_note(fmt::format("snapshot {} is not complete, as told above", name));
  return kExitIncomplete;
}

Result<HubClient> connect(const SnapshotImportOptions& options) {
  HubClient::Options client;
  client.total_timeout_ms = 0;
  // The hub reads every byte of an archive before it answers.
  client.stall_timeout_ms = 3'600'000;
  return HubClient::create(options.hub, client);
}

Result<int> import_archive(const SnapshotImportOptions& options) {
  if (options.node) {
    return fail(ErrorKind::invalid, "{} is an archive, whose nodes have names: leave --node away",
                options.files.front());
  }
  if (options.output) {
    return fail(ErrorKind::invalid,
                "{} is an archive already: copy it, or leave --output away to give it to the hub",
                options.files.front());
  }
  std::string name;
  if (options.name) {
    name = *options.name;
  } else {
    TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(options.files.front()));
    name = reader->manifest().name;
  }
  TRY_ASSIGN(HubClient hub, connect(options));
  TRY(check_free(hub, name));
  const Interrupt interrupt;
  const auto snapshot = upload(hub, options.files.front(), name, interrupt);
  if (!snapshot) return ended_early(snapshot.error(), interrupt);
  TRY(print_line(fmt::format("snapshot {}: {} of {}, {}", snapshot->name, counted(snapshot->packets, "packet"),
                             counted(snapshot->nodes.size(), "node"), format_size(snapshot->size_bytes))));
  return kExitDone;
}

Result<int> import_files(const SnapshotImportOptions& options) {
  if (!options.name)
    return fail(ErrorKind::invalid, "captures have no name of their own: give --name NAME");
  const std::string& name = *options.name;
  TRY(check_snapshot_name(name));
  if (options.node) TRY(check_node_name(*options.node));
  if (options.output) {
    const Interrupt interrupt;
    const auto report = convert(options, *options.output, interrupt);
    if (!report) return ended_early(report.error(), interrupt);
    return finish(name, *report, " in " + *options.output);
  }
  TRY_ASSIGN(HubClient hub, connect(options));
  TRY(check_free(hub, name));
  const Interrupt interrupt;
  TRY_ASSIGN(const WorkFolder work, WorkFolder::create());
  const fs::path archive = work.path() / (name + ".tar.zst");
  const auto report = convert(options, archive, interrupt);
  if (!report) return ended_early(report.error(), interrupt);
  const auto snapshot = upload(hub, archive, name, interrupt);
  if (!snapshot) return ended_early(snapshot.error(), interrupt);
  return finish(name, *report, "");
}

Result<int> run_snapshot_import(const SnapshotImportOptions& options) {
  if (options.files.size() == 1) {
    TRY_ASSIGN(const bool is_archive, exporter::is_archive_file(options.files.front()));
    if (is_archive) return import_archive(options);
  }
  return import_files(options);
}

}  // namespace lookback::cli

Command snapshot_import_command() {
  Command command("import", "make a snapshot of captures or of an archive made elsewhere");
  auto options = std::make_shared<SnapshotImportOptions>();
  command.description =
      "Captures are pcap or pcapng files, plain or in gzip or zstd, or folders of them. Each becomes a "
      "node named after its file; files of one ring, whose names differ only in a time or in the number "
      "that tcpdump -C or dumpcap -b gave them, become one node. What an export of Lookback says of its "
      "nodes is kept, and so are the options of packets and interfaces, processes among them. What is "
      "left out is told with its count. An archive file is verified by the hub and taken as it is. The "
      "exit status is 3 where a capture ends in the middle (what it has is imported), where one of "
      "several cannot be read, where one counts lost packets, and where a time stamp cannot be kept: an "
      "archive holds nanoseconds from 1970 to 2261.";
  command.arguments("FILE", options->files, "Captures or folders, or one archive");
  command.text("--name", "NAME", options->name,
               "What to call the snapshot; an archive may keep its own name");
  command.text("--node", "NAME", options->node,
               "Put the captures into one node of this name; nodes that an export names stay");
  command.text("-o,--output", "FILE", options->output,
               "Write an archive file in place of giving it to the hub; no hub is needed then");
  add_hub_options(command, options->hub);
  command.examples = {
      {"lookback snapshot import web-1.pcap db-1.pcapng.gz --name incident-0",
       "Two captures as one snapshot of two nodes."},
      {"lookback snapshot import /var/ring --node web-1 --name yesterday",
       "All files of a ring buffer, as one node."},
      {"lookback snapshot import incident-1.tar.zst --name again", "An archive, back to a hub."},
      {"lookback snapshot import *.pcap --name old -o old.tar.zst",
       "An archive file, without a hub."}};
  command.action = [options] { return run_snapshot_import(*options); };
  return command;
}

}  // namespace lookback::cli
