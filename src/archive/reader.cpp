#include "lookback/archive/reader.hpp"

#include "archive/layout.hpp"
#include "lookback/archive/archive_file.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::archive {

namespace {

constexpr uint64_t kMaxWholeMember = 256ULL << 20;

}  // namespace

Result<std::shared_ptr<ArchiveReader>> ArchiveReader::open(const std::filesystem::path& path) {
  std::shared_ptr<ArchiveReader> reader(new ArchiveReader);
  TRY_ASSIGN(reader->fd_, open_archive_file(path));
  const int fd = reader->fd_.get();
  TRY_ASSIGN(reader->file_bytes_, file_size(fd));
  const auto read = [&]() -> Result<> {
    TRY_ASSIGN(const SeekTable table, SeekTable::open(fd, reader->file_bytes_));
    TRY_ASSIGN(const FoundManifest found, find_manifest(fd, reader->file_bytes_, table));
    TRY_ASSIGN(reader->manifest_, Manifest::from_json(found.text));
    return walk_layout(table, reader->manifest_, found.first_frame, found.text.size(),
                       [](const PlacedFrame&) -> Result<> { return {}; });
  }();
  if (!read) {
    Error error = read.error().in(path.string());
    if (error.kind == ErrorKind::corrupt) error.message += "; fetch it again from where it came";
    return tl::make_unexpected(std::move(error));
  }
  return reader;
}

Result<> ArchiveReader::read_frame(const MemberEntry& member, size_t index, FrameDecoder& decoder,
                                   std::vector<std::byte>& compressed, std::vector<std::byte>& out) const {
  LOOKBACK_CHECK(index < member.frames.size());
  uint64_t offset = member.archive_offset;
  for (size_t i = 0; i < index; ++i) offset += member.frames[i].compressed_bytes;
  // from_json has bounded both sizes.
  compressed.resize(member.frames[index].compressed_bytes);
  out.resize(member.frames[index].content_bytes);
  auto read = pread_exact(fd_.get(), compressed, offset);
  if (read) read = decoder.decode(compressed, out);
  if (!read) return tl::make_unexpected(read.error().in(fmt::format("{}, frame {}", member.name, index + 1)));
  return {};
}

Result<std::vector<std::byte>> ArchiveReader::read_member(const MemberEntry& member) const {
  if (member.size > kMaxWholeMember)
    return fail(ErrorKind::invalid, "{} is too large to be read at once ({} bytes)", member.name, member.size);
  FrameDecoder decoder;
  std::vector<std::byte> compressed, part, content;
  content.reserve(member.size);
  for (size_t i = 0; i < member.frames.size(); ++i) {
    TRY(read_frame(member, i, decoder, compressed, part));
    content.insert(content.end(), part.begin(), part.end());
  }
  if (sha256_hex(content) != member.sha256) return fail(ErrorKind::corrupt, "{}: its SHA-256 does not hold", member.name);
  return content;
}

}  // namespace lookback::archive
