#include "lookback/archive/writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "archive/layout.hpp"
#include "archive/member_entry.hpp"
#include "archive/working_file.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::archive {

namespace {

constexpr size_t kPlainFrame = 1 << 20;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

struct ArchiveWriter::Impl {
  std::filesystem::path path;
  int64_t mtime_seconds = 0;
  WorkingFile file;
  std::vector<MemberEntry> members;
  std::set<std::string, std::less<>> names;
  bool directory_synced = false;
  bool published = false;

  /// Header, content frames, padding. `compressed` holds the frames of `sizes` back to back.
  Result<> put_member(const std::string& name, uint64_t size, std::span<const FrameEntry> frames, std::span<const std::byte> compressed,
                      uint64_t* archive_offset, uint64_t* content_offset) {
    TRY(file.put(encode_tar_header({name, size, mtime_seconds})));
    *archive_offset = file.offset();
    *content_offset = file.content_offset();
    TRY(file.put_frames(frames, compressed));
    const std::vector<std::byte> padding(tar_padding(size));
    if (!padding.empty()) TRY(file.put(padding));
    return {};
  }

  Result<> put_end(const Manifest& manifest) {
    const std::string text = manifest.to_json();
    if (text.size() > std::min(kMaxManifestBytes, (uint64_t{64} << 20) + 4 * file.offset()))
      return fail(ErrorKind::failed, "the manifest would have {} bytes, more than a reader takes", text.size());
    // An archive that its own reader refuses must not come into being.
    TRY(Manifest::from_json(text));
    std::vector<std::byte> compressed;
    std::vector<FrameEntry> frames;
    const auto bytes = as_bytes(text);
    for (size_t at = 0; at < bytes.size(); at += kManifestFrame) {
      const auto part = bytes.subspan(at, std::min<size_t>(kManifestFrame, bytes.size() - at));
      const size_t length = file.encoder().encode(part, compressed);
      frames.push_back({length, part.size(), 0, 0, 0, {}});
    }
    uint64_t ignored = 0;
    TRY(put_member(std::string(kManifestName), text.size(), frames, compressed, &ignored, &ignored));
    TRY(file.put(std::vector<std::byte>(kTarEndBytes)));
    return file.put_seek_table();
  }

  Result<> publish(const std::filesystem::path& final_path) {
    if (::fsync(file.fd()) != 0) return fail_errno(errno, "fsync");
    if (::fchmod(file.fd(), 0400) != 0) return fail_errno(errno, "chmod");
    return rename_exclusively(path, final_path);
  }
};

ArchiveWriter::ArchiveWriter() : impl_(std::make_unique<Impl>()) {}
ArchiveWriter::ArchiveWriter(ArchiveWriter&&) noexcept = default;
ArchiveWriter& ArchiveWriter::operator=(ArchiveWriter&&) noexcept = default;
ArchiveWriter::~ArchiveWriter() = default;

Result<ArchiveWriter> ArchiveWriter::create(const std::filesystem::path& working_path, int64_t mtime_ns) {
  ArchiveWriter writer;
  writer.impl_->path = working_path;
  writer.impl_->mtime_seconds = mtime_ns / kNsPerSecond;
  TRY_ASSIGN(Fd fd, open_file(working_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
  writer.impl_->file = WorkingFile(std::move(fd));
  return writer;
}

Result<ArchiveWriter> ArchiveWriter::resume(const std::filesystem::path& working_path, int64_t mtime_ns, std::vector<MemberEntry> members) {
  if (members.empty()) return create(working_path, mtime_ns);
  ArchiveWriter writer;
  Impl& impl = *writer.impl_;
  impl.path = working_path;
  impl.mtime_seconds = mtime_ns / kNsPerSecond;
  TRY_ASSIGN(Fd fd, open_file(working_path, O_RDWR));
  impl.file = WorkingFile(std::move(fd));
  for (const MemberEntry& member : members) {
    auto found = check_member_entry(member);
    if (found && !impl.names.insert(member.name).second) found = fail(ErrorKind::corrupt, "it stands there twice");
    if (found) found = impl.file.find_member(member, impl.mtime_seconds);
    if (!found)
      return tl::make_unexpected(found.error().in(fmt::format("{} cannot be gone on with at {}", working_path.string(), member.name)));
  }
  impl.members = std::move(members);
  TRY(impl.file.cut());
  return writer;
}

Result<MemberEntry> ArchiveWriter::append(const std::string& path, const std::string& node, const MemberContent& member) {
  Impl& impl = *impl_;
  MemberEntry entry{path, node, 0, 0, member.size, member.sha256, member.packets, member.frames};
  if (auto checked = check_member_entry(entry); !checked) return fail(ErrorKind::invalid, "{}", checked.error().message);
  if (impl.names.contains(path)) return fail(ErrorKind::invalid, "the archive has a member {} already", path);
  const WorkingFile::Mark mark = impl.file.mark();
  if (auto put = impl.put_member(path, member.size, member.frames, member.compressed, &entry.archive_offset, &entry.content_offset); !put) {
    impl.file.back_to(mark);
    return tl::make_unexpected(put.error().in(impl.path.string()));
  }
  impl.names.insert(path);
  impl.members.push_back(entry);
  return entry;
}

Result<MemberEntry> ArchiveWriter::append_plain(const std::string& path, const std::string& node, std::span<const std::byte> content) {
  MemberContent member;
  for (size_t at = 0; at < content.size(); at += kPlainFrame) {
    const auto part = content.subspan(at, std::min(kPlainFrame, content.size() - at));
    const size_t length = impl_->file.encoder().encode(part, member.compressed);
    member.frames.push_back({length, part.size(), 0, 0, 0, {}});
  }
  member.size = content.size();
  member.sha256 = sha256_hex(content);
  return append(path, node, member);
}

Result<> ArchiveWriter::flush() { return impl_->file.flush(); }

Result<> ArchiveWriter::sync() {
  TRY(flush());
  TRY(sync_data(impl_->file.fd()));
  if (!impl_->directory_synced) {
    TRY(sync_directory(folder_of(impl_->path)));
    impl_->directory_synced = true;
  }
  return {};
}

uint64_t ArchiveWriter::bytes_written() const { return impl_->file.offset(); }
const std::vector<MemberEntry>& ArchiveWriter::members() const { return impl_->members; }

Result<uint64_t> ArchiveWriter::commit(Manifest manifest, const std::filesystem::path& final_path) {
  Impl& impl = *impl_;
  if (!impl.published) {
    std::error_code ignored;
    if (std::filesystem::exists(std::filesystem::symlink_status(final_path, ignored)))
      return fail(ErrorKind::conflict, "{} exists already", final_path.string());
    manifest.members = impl.members;
    for (NodeEntry& node : manifest.nodes) {
      node.packets = node.bytes = 0;
      for (const MemberEntry& member : impl.members) {
        if (member.node != node.name) continue;
        node.packets += member.packets;
        node.bytes += member.size;
      }
    }
    const WorkingFile::Mark mark = impl.file.mark();
    auto done = impl.put_end(manifest);
    if (done) done = impl.file.cut();
    if (done) done = impl.publish(final_path);
    if (!done) {
      impl.file.back_to(mark);
      std::ignore = impl.file.cut();  // what is left over is overwritten or cut by the next try
      ::fchmod(impl.file.fd(), 0600);
      return tl::make_unexpected(done.error().in(fmt::format("cannot finish {}", final_path.string())));
    }
    impl.published = true;
  }
  // From here on the archive is there; a second commit only repeats these.
  TRY(sync_directory(folder_of(final_path)));
  if (folder_of(final_path) != folder_of(impl.path)) TRY(sync_directory(folder_of(impl.path)));
  return impl.file.offset();
}

}  // namespace lookback::archive
