// lookback snapshot download

#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/exit_status.hpp"
#include "cli/hub_client.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/output_file.hpp"
#include "cli/progress.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/size.hpp"

namespace lookback::cli {

namespace {

struct SnapshotDownloadOptions {
  HubSettings hub;
  std::string name;
  std::optional<std::string> output;
  bool damaged = false;
};

/// What arrived is the archive that was asked for, and opens: its index and manifest are at its
/// very end.
Result<> check(const OutputFile& file, const std::string& id) {
  TRY_ASSIGN(const auto reader, archive::ArchiveReader::open(file.content_path()));
  if (!id.empty() && reader->manifest().id != id) {
    return fail(ErrorKind::corrupt,
                "the hub sent the archive of another snapshot (id {} in place of {}): try again",
                reader->manifest().id, id);
  }
  return {};
}

Result<int> run_snapshot_download(const SnapshotDownloadOptions& options) {
  TRY_ASSIGN(const std::string path, snapshot_path(options.name));
  HubClient::Options streaming;
  streaming.total_timeout_ms = 0;
  TRY_ASSIGN(HubClient hub, HubClient::create(options.hub, streaming));
  TRY_ASSIGN(const Json snapshot, hub.get(path));
  if (text_of(snapshot, "state") != "completed" && !options.damaged) {
    const std::string reason = text_of(snapshot, "reason");
    return fail(ErrorKind::conflict, "snapshot {} is {}{}: it can be downloaded once it is completed",
                options.name, text_of(snapshot, "state"), reason.empty() ? "" : " (" + reason + ")");
  }
  const auto size = static_cast<uint64_t>(number_of(snapshot, "size_bytes"));
  TRY_ASSIGN(OutputFile file,
             OutputFile::open(options.output.value_or(options.name + ".tar.zst")));

  const Interrupt interrupt;
  Progress progress;
  const auto sink = [&](std::span<const std::byte> data) -> Result<> {
    TRY(file.write(data));
    progress.update(file.bytes(), size);
    return {};
  };
  TRY_ASSIGN(const std::string archive_path, snapshot_path(options.name, options.damaged ? "/archive?damaged=1" : "/archive"));
  const auto response = hub.download(archive_path, sink, &interrupt.flag());
  progress.clear();
  if (!response) {
    if (file.reader_gone()) return kExitDone;
    if (interrupt.requested()) {
      report_note("interrupted; no file was left");
      return interrupt.exit_status();
    }
    return tl::make_unexpected(response.error());
  }
  if (size != 0 && file.bytes() != size) {
    return fail(ErrorKind::corrupt, "{} bytes of snapshot {} arrived in place of {}: try again",
                file.bytes(), options.name, size);
  }
  if (file.is_file() && !options.damaged) TRY(check(file, text_of(snapshot, "id")));
  TRY(file.commit(/*durable=*/true));
  report_note(
      fmt::format("{} of snapshot {} in {}", format_size(file.bytes()), options.name, file.name()));
  return kExitDone;
}

}  // namespace

Command snapshot_download_command() {
  Command command("download", "copy a snapshot's archive from the hub");
  auto options = std::make_shared<SnapshotDownloadOptions>();
  command.description =
      "The file appears complete or not at all. Everything that a snapshot on the hub can do, the "
      "file can do without a hub; it is "
      "plain tar and zstd besides.";
  command.argument("SNAPSHOT", options->name, "The snapshot's name");
  command.text("-o,--output", "FILE|-", options->output,
               "Where to; by default NAME.tar.zst here; - is standard output");
  command.flag("--damaged", options->damaged,
               "Copy what there is of an archive that the hub calls damaged, unchecked");
  add_hub_options(command, options->hub);
  command.examples = {
      {"lookback snapshot download incident-1", "Writes incident-1.tar.zst."},
      {"lookback snapshot download incident-1 -o - | tar --zstd -tvf -", "Lists what is in it."}};
  command.action = [options] { return run_snapshot_download(*options); };
  return command;
}

}  // namespace lookback::cli
