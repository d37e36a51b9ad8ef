#include "lookback/exporter/importer.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "exporter/import_nodes.hpp"
#include "exporter/input_file.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/names.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

namespace {

/// How often a long import looks up.
constexpr uint64_t kPacketsBetweenLooks = 4096;

class Import {
 public:
  Import(archive::ArchiveWriter& writer, const ImportOptions& options, ImportReport& report)
      : options_(options), report_(report), nodes_(writer, options.created_by) {}

  Result<> take_file(const std::filesystem::path& path) {
    TRY_ASSIGN(const auto file, InputFile::open(path));
    auto opened = packet::CaptureReader::open([&](std::span<std::byte> out) { return file->read(out); });
    if (!opened) return tl::make_unexpected(opened.error());
    packet::CaptureReader& reader = *opened;
    nodes_.start_file(node_name_of_file(path));
    uint64_t packets = 0, comments = 0;
    int64_t last_time = 0;
    for (;;) {
      auto next = reader.next();
      if (!next) {
        // Damage ends a file, it does not undo it; anything else (a disk that fails to read) ends the import.
        if (next.error().kind != ErrorKind::corrupt || packets == 0) return tl::make_unexpected(next.error());
        report_.warnings.push_back(fmt::format("{}: {}; the {} packets before it are taken", path.string(), next.error().message, packets));
        nodes_.mark_partial(next.error().message);
        break;
      }
      if (!*next) break;
      packet::ReadPacket packet = **next;
      if (!packet.first_comment.empty()) ++comments;
      // Simple packet blocks have no time. Where they stand is the best that is known.
      if (packet.view.time_ns <= 0 && last_time > 0) packet.view.time_ns = last_time;
      last_time = packet.view.time_ns;
      TRY(nodes_.add(packet, reader.interfaces()));
      if (++packets % kPacketsBetweenLooks == 0) TRY(look_up(*file));
    }
    const auto not_kept = [&](uint64_t count, std::string_view one, std::string_view many) {
      if (count == 0) return;
      report_.warnings.push_back(fmt::format("{}: {} not kept", path.string(),
                                             count == 1 ? std::string(one) : fmt::format(fmt::runtime(many), count)));
    };
    not_kept(comments, "the comments on 1 packet are", "the comments on {} packets are");
    not_kept(reader.secrets_passed_over(), "1 block of decryption secrets (TLS keys) is",
             "{} blocks of decryption secrets (TLS keys) are");
    if (packets == 0) report_.warnings.push_back(fmt::format("{}: no packets in it", path.string()));
    TRY(look_up(*file));
    done_ += file->position();
    report_.packets += packets;
    return {};
  }

  void set_total(uint64_t bytes) { total_ = bytes; }
  ImportNodes& nodes() { return nodes_; }

 private:
  Result<> look_up(const InputFile& file) {
    if (options_.cancelled != nullptr && *options_.cancelled) return fail(ErrorKind::cancelled, "the import was cancelled");
    if (options_.progress) options_.progress(std::min(total_, done_ + file.position()), total_);
    return {};
  }

  const ImportOptions& options_;
  ImportReport& report_;
  ImportNodes nodes_;
  uint64_t done_ = 0, total_ = 0;
};

Result<ImportReport> import_into(archive::ArchiveWriter& writer, std::span<const std::filesystem::path> files, const std::string& name,
                                 const std::filesystem::path& out_path, const ImportOptions& options) {
  ImportReport report;
  Import import(writer, options, report);
  uint64_t total = 0;
  for (const auto& file : files) {
    std::error_code unknown;  // a pipe has no size
    const uint64_t bytes = std::filesystem::file_size(file, unknown);
    if (!unknown) total += bytes;
  }
  import.set_total(total);
  for (const auto& file : files) {
    auto taken = import.take_file(file);
    if (!taken) {
      Error error = taken.error();
      // The path is in the message once.
      if (!error.message.starts_with(file.string())) error = error.in(file.string());
      if (error.kind == ErrorKind::cancelled) error.message = "the import was cancelled";
      return tl::make_unexpected(std::move(error));
    }
  }
  if (report.packets == 0) return fail(ErrorKind::invalid, "no packets to import");
  TRY(import.nodes().finish());

  archive::Manifest manifest;
  manifest.name = name;
  manifest.id = options.id.empty() ? random_hex(8) : options.id;
  manifest.created_by = options.created_by;
  manifest.created_ns = options.created_ns;
  manifest.tags = options.tags;
  manifest.nodes = import.nodes().entries();
  manifest.window = import.nodes().window();
  manifest.complete = std::all_of(manifest.nodes.begin(), manifest.nodes.end(), [](const auto& node) { return node.status == "complete"; });
  if (const uint64_t cut = import.nodes().cut_packets(); cut > 0)
    report.warnings.push_back(fmt::format("{} packets were longer than {} bytes and are cut there", cut, kMaxPacketBytes));

  report.complete = manifest.complete;
  report.nodes = manifest.nodes.size();
  report.members = writer.members().size();
  for (const archive::MemberEntry& member : writer.members()) report.content_bytes += member.size;
  TRY_ASSIGN(report.archive_bytes, writer.commit(std::move(manifest), out_path));
  return report;
}

}  // namespace

Result<ImportReport> import_captures(std::span<const std::filesystem::path> files, const std::string& name,
                                     const std::filesystem::path& out_path, const ImportOptions& options) {
  TRY(check_snapshot_name(name));
  if (files.empty()) return fail(ErrorKind::invalid, "no files to import");
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(out_path, ignored)))
    return fail(ErrorKind::conflict, "{} exists already", out_path.string());
  for (const auto& file : files) {
    TRY_ASSIGN(const bool archive, is_archive_file(file));
    if (archive)
      return fail(ErrorKind::invalid, "{} is a Lookback archive and no capture file: import it by itself", file.string());
  }
  // Beside the outcome, so that the rename stays on one file system; the name is nobody else's.
  const std::filesystem::path working = out_path.parent_path() / fmt::format(".{}.{}", out_path.filename().string(), random_hex(6));
  auto writer = archive::ArchiveWriter::create(working, options.created_ns);
  if (!writer) return tl::make_unexpected(writer.error());
  auto report = import_into(*writer, files, name, out_path, options);
  if (!report) ::unlink(working.c_str());
  return report;
}

Result<bool> is_archive_file(const std::filesystem::path& path) {
  constexpr size_t kMagicAt = 257;
  // Of a pipe nothing can be read twice, and an archive cannot come through one.
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) && !error) return false;
  TRY_ASSIGN(const auto file, InputFile::open(path));
  std::vector<std::byte> start(512);
  size_t got = 0;
  while (got < start.size()) {
    const auto more = file->read(std::span(start).subspan(got));
    if (!more || *more == 0) return false;
    got += *more;
  }
  return as_text(std::span(start).subspan(kMagicAt, 5)) == "ustar";
}

std::string node_name_of_file(const std::filesystem::path& path) {
  std::string name = path.filename().string();
  for (const char* extension : {".gz", ".zst", ".zstd", ".pcapng", ".pcap", ".cap", ".ntar", ".dmp"}) {
    if (name.size() > std::string_view(extension).size() && name.ends_with(extension))
      name.resize(name.size() - std::string_view(extension).size());
  }
  return valid_node_name(name);
}

}  // namespace lookback::exporter
