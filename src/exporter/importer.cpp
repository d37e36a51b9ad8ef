#include "lookback/exporter/importer.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "exporter/import_nodes.hpp"
#include "exporter/input_file.hpp"
#include "exporter/input_set.hpp"
#include "lookback/archive/archive.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/names.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

namespace {

/// How often a long import looks up.
constexpr uint64_t kPacketsBetweenLooks = 4096;

/// A warning that each of many files may give is one line.
class Notes {
 public:
  void add(const std::filesystem::path& file, const std::string& what, uint64_t count) {
    if (count == 0) return;
    Note& note = notes_[what];
    if (note.files++ == 0) note.first_file = file.string();
    note.count += count;
  }
  /// "web.pcapng and 3 more: left out: 12 comments".
  void report(std::vector<std::string>& warnings) const {
    for (const auto& [what, note] : notes_) {
      const std::string more = note.files == 1 ? "" : fmt::format(" and {} more", note.files - 1);
      warnings.push_back(fmt::format("{}{}: {}", note.first_file, more, fmt::format(fmt::runtime(what), note.count)));
    }
  }

 private:
  struct Note {
    std::string first_file;
    uint64_t files = 0, count = 0;
  };
  std::map<std::string, Note> notes_;  ///< by a text with {} where the count goes
};

/// Gives each packet of a file a stamp that an archive can hold.
class Stamps {
 public:
  /// The stamp; where the file's own cannot be kept, `comment` tells it.
  int64_t keep(const packet::ReadPacket& packet, std::string& comment) {
    comment.clear();
    switch (packet.stamp_state) {
      case packet::StampState::exact:
        break;
      case packet::StampState::finer:
        ++finer_;
        break;
      case packet::StampState::absent:
        // Where it stands is the best that is known.
        ++absent_;
        return last_;
      case packet::StampState::outside: {
        const std::string own = packet.stamp.text();
        if (outside_++ == 0) first_outside_ = own;
        comment = fmt::format("lookback: the stamp of this packet is {} s since 1970, which an archive cannot hold", own);
        last_ = first_ ? 0 : std::min(last_ + 1, packet::kLatestStampNs);
        first_ = false;
        return last_;
      }
    }
    first_ = false;
    return last_ = packet.view.time_ns;
  }
  [[nodiscard]] bool all_kept() const { return finer_ == 0 && outside_ == 0; }
  void report(const std::filesystem::path& file, std::vector<std::string>& warnings, Notes& notes) const {
    if (outside_ > 0) {
      warnings.push_back(fmt::format("{}: the stamps of {} packets cannot be kept, the first is {} s since 1970: an archive holds {} to {}. They "
                                     "stand a nanosecond behind the packet before, and a comment on each tells its own",
                                     file.string(), outside_, first_outside_, format_time(packet::kEarliestStampNs), format_time(packet::kLatestStampNs)));
    }
    notes.add(file, "the stamps of {} packets are finer than a nanosecond, and are cut there", finer_);
    notes.add(file, "{} packets have no stamp: they bear that of the packet before", absent_);
  }

 private:
  int64_t last_ = 0;
  bool first_ = true;
  uint64_t finer_ = 0, absent_ = 0, outside_ = 0;
  std::string first_outside_;
};

class Import {
 public:
  Import(archive::ArchiveWriter& writer, const ImportOptions& options, ImportReport& report)
      : options_(options), report_(report), nodes_(writer, options.created_by) {}

  /// An error ends the import; what is wrong with the file is only noted, and returned.
  Result<std::optional<Error>> take_file(const InputSource& source, bool many_groups) {
    auto file = InputFile::open(source.path);
    if (!file) return std::optional(bad_file(source, file.error()));
    auto opened = packet::CaptureReader::open([&](std::span<std::byte> out) { return (*file)->read(out); });
    if (!opened) return std::optional(bad_file(source, opened.error()));
    packet::CaptureReader& reader = *opened;
    ImportNodes::File about;
    about.node = source.node;
    about.group = source.group;
    about.shared_node = !options_.node.empty();
    if (about.shared_node && many_groups) about.unnamed = ring_name_of(source.path.filename().string()).stem;
    TRY(nodes_.start_file(about));

    uint64_t packets = 0;
    std::optional<Error> damage;
    Stamps stamps;
    std::string comment;
    packet::Buffer commented;
    for (;;) {
      auto next = reader.next();
      if (!next) {
        // Damage ends a file, it does not undo it.
        damage = next.error();
        break;
      }
      if (!*next) break;
      const packet::ReadPacket& read = **next;
      ImportedPacket packet;
      packet.view = read.view;
      packet.view.time_ns = stamps.keep(read, comment);
      packet.options = read.options;
      if (!comment.empty()) {
        commented.assign(read.options.begin(), read.options.end());
        packet::append_packet_comment(commented, read.view, comment);
        packet.options = commented;
      }
      if (read.process != packet::ReadPacket::kNoProcess) packet.process = &reader.processes()[read.process];
      packet.drop_count = read.drop_count;
      TRY(nodes_.add(packet, reader.interfaces()));
      if (++packets % kPacketsBetweenLooks == 0) TRY(look_up(**file));
    }
    TRY(nodes_.end_file(reader.interfaces(), reader.statistics(), reader.origins()));
    for (const auto& [what, count] : reader.left_out()) notes_.add(source.path, "left out: {} " + what, count);
    stamps.report(source.path, report_.warnings, notes_);
    report_.complete = report_.complete && stamps.all_kept();
    report_.packets += packets;
    if (damage && packets == 0) return std::optional(bad_file(source, *damage));
    if (damage) {
      report_.warnings.push_back(fmt::format("{}: {}; the {} packets before it are taken", source.path.string(), damage->message, packets));
      nodes_.mark_partial(damage->message);
    }
    if (packets == 0) report_.warnings.push_back(fmt::format("{}: no packets in it", source.path.string()));
    TRY(look_up(**file));
    done_ += (*file)->position();
    return std::optional<Error>();
  }

  void set_total(uint64_t bytes) { total_ = bytes; }
  ImportNodes& nodes() { return nodes_; }
  [[nodiscard]] const Notes& notes() const { return notes_; }

 private:
  Error bad_file(const InputSource& source, Error error) {
    // The path is in the message once.
    if (!error.message.starts_with(source.path.string())) error = error.in(source.path.string());
    report_.complete = false;
    std::error_code unknown;
    const uint64_t bytes = std::filesystem::file_size(source.path, unknown);
    if (!unknown) done_ += bytes;
    return error;
  }

  Result<> look_up(const InputFile& file) {
    if (options_.cancelled != nullptr && *options_.cancelled) return fail(ErrorKind::cancelled, "the import was cancelled");
    if (options_.progress) options_.progress(std::min(total_, done_ + file.position()), total_);
    return {};
  }

  const ImportOptions& options_;
  ImportReport& report_;
  ImportNodes nodes_;
  Notes notes_;
  uint64_t done_ = 0, total_ = 0;
};

Result<ImportReport> import_into(archive::ArchiveWriter& writer, const InputSet& inputs, const std::string& name,
                                 const std::filesystem::path& out_path, const ImportOptions& options) {
  ImportReport report;
  Import import(writer, options, report);
  uint64_t total = 0;
  bool many_groups = false;
  for (const InputSource& source : inputs.sources) {
    std::error_code unknown;  // a pipe has no size
    const uint64_t bytes = std::filesystem::file_size(source.path, unknown);
    if (!unknown) total += bytes;
    many_groups = many_groups || source.group != inputs.sources.front().group;
  }
  import.set_total(total);
  std::optional<Error> first_bad;
  for (const InputSource& source : inputs.sources) {
    TRY_ASSIGN(std::optional<Error> bad, import.take_file(source, many_groups));
    if (!bad) continue;
    report.warnings.push_back(bad->message);
    if (!first_bad) first_bad = std::move(bad);
  }
  if (report.packets == 0 && first_bad) return tl::make_unexpected(std::move(*first_bad));
  if (report.packets == 0) return fail(ErrorKind::invalid, "no packets to import");
  TRY(import.nodes().finish());
  import.notes().report(report.warnings);
  if (const size_t others = inputs.passed_over.size(); others > 0) {
    report.warnings.push_back(fmt::format("{} is not a capture and is passed over{}", inputs.passed_over.front(),
                                          others == 1 ? "" : fmt::format(", and so are {} other files", others - 1)));
  }

  archive::Manifest manifest;
  manifest.name = name;
  manifest.id = options.id.empty() ? random_hex(8) : options.id;
  manifest.created_by = options.created_by;
  manifest.created_ns = options.created_ns;
  manifest.tags = options.tags;
  manifest.nodes = import.nodes().entries();
  manifest.window = import.nodes().window();
  manifest.complete = std::all_of(manifest.nodes.begin(), manifest.nodes.end(), [](const auto& node) { return node.status == "complete"; });
  for (const archive::NodeEntry& node : manifest.nodes) {
    uint64_t lost = 0;
    for (const Gap& gap : node.gaps) lost += std::min(gap.packets, UINT64_MAX - lost);
    if (lost > 0) report.warnings.push_back(fmt::format("node {}: its captures count {} lost packets", node.name, lost));
  }
  for (const auto& [what, count] : import.nodes().left_out()) report.warnings.push_back(fmt::format("left out: {} {}", count, what));
  if (const uint64_t cut = import.nodes().cut_packets(); cut > 0)
    report.warnings.push_back(fmt::format("{} packets were longer than {} bytes and are cut there", cut, kMaxPacketBytes));

  report.complete = report.complete && manifest.complete;
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
  if (!options.node.empty()) TRY(check_node_name(options.node));
  TRY_ASSIGN(const InputSet inputs, list_inputs(files, options.node));
  if (inputs.sources.empty()) return fail(ErrorKind::invalid, "no capture files in {}", files.front().string());
  for (const InputSource& source : inputs.sources) {
    const auto archive = is_archive_file(source.path);  // an error is told when the file is taken
    if (archive && *archive)
      return fail(ErrorKind::invalid, "{} is a Lookback archive and no capture file: import it by itself", source.path.string());
  }
  // Beside the outcome, so that the rename stays on one file system; the name is nobody else's.
  const std::filesystem::path working = out_path.parent_path() / fmt::format(".{}.{}", out_path.filename().string(), random_hex(6));
  auto writer = archive::ArchiveWriter::create(working, options.created_ns);
  if (!writer) return tl::make_unexpected(writer.error());
  auto report = import_into(*writer, inputs, name, out_path, options);
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
