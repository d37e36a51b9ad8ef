#include "lookback/archive/reader.hpp"

#include "archive/layout.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::archive {

namespace {

constexpr uint64_t kMaxWholeMember = 256ULL << 20;

}  // namespace

Result<std::shared_ptr<ArchiveReader>> ArchiveReader::open(const std::filesystem::path& path) {
  TRY_ASSIGN(auto source, open_file_source(path));
  return open(std::move(source));
}

Result<std::shared_ptr<ArchiveReader>> ArchiveReader::open(std::shared_ptr<const ByteSource> source) {
  std::shared_ptr<ArchiveReader> reader(new ArchiveReader);
  reader->source_ = std::move(source);
  const auto read = [&]() -> Result<> {
    TRY_ASSIGN(const SeekTable table, SeekTable::open(*reader->source_));
    TRY_ASSIGN(const FoundManifest found, find_manifest(*reader->source_, table));
    TRY_ASSIGN(reader->manifest_, Manifest::from_json(found.text));
    return walk_layout(table, reader->manifest_, found.first_frame, found.text.size(),
                       [](const PlacedFrame&) -> Result<> { return {}; });
  }();
  if (!read) {
    Error error = read.error().in(reader->source_->name());
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
  auto read = source_->read_at(compressed, offset);
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
