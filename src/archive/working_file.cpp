#include "archive/working_file.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "archive/frame_entry.hpp"
#include "lookback/archive/tar.hpp"

namespace lookback::archive {

Result<> WorkingFile::check_room(size_t frames) const {
  if (frames_.size() + frames > kMaxSeekEntries)
    return fail(ErrorKind::failed, "the archive has more frames than its seek table can name");
  return {};
}

Result<> WorkingFile::put(std::span<const std::byte> content) {
  TRY(check_room(1));
  std::vector<std::byte> frame;
  encoder_.encode(content, frame);
  TRY(file_.put(frame, offset_));
  frames_.push_back({static_cast<uint32_t>(frame.size()), static_cast<uint32_t>(content.size())});
  offset_ += frame.size();
  content_offset_ += content.size();
  return {};
}

Result<> WorkingFile::put_frames(std::span<const FrameEntry> frames, std::span<const std::byte> compressed) {
  TRY(check_room(frames.size()));
  const FrameTotals totals = total_of(frames);
  if (totals.compressed_bytes != compressed.size())
    return fail(ErrorKind::invalid, "frames of {} bytes, {} are there", totals.compressed_bytes, compressed.size());
  TRY(file_.put(compressed, offset_));
  for (const FrameEntry& frame : frames)
    frames_.push_back({static_cast<uint32_t>(frame.compressed_bytes), static_cast<uint32_t>(frame.content_bytes)});
  offset_ += totals.compressed_bytes;
  content_offset_ += totals.content_bytes;
  return {};
}

Result<> WorkingFile::put_seek_table() {
  const std::vector<std::byte> table = encode_seek_table(frames_);
  TRY(file_.put(table, offset_));
  offset_ += table.size();
  return {};
}

// The frame's length is looked up and not computed: another version of zstd may have compressed it otherwise.
Result<> WorkingFile::find_own_frame(std::span<const std::byte> content) {
  std::vector<std::byte> bytes(max_compressed_bytes(content.size())), found(content.size());
  TRY_ASSIGN(const size_t there, pread_some(fd(), bytes, offset_));
  bytes.resize(there);
  TRY_ASSIGN(const size_t length, frame_length(bytes));
  TRY(decoder_.decode(std::span(bytes).first(length), found));
  if (!std::ranges::equal(found, content)) return fail(ErrorKind::corrupt, "a header or padding is not what was written");
  frames_.push_back({static_cast<uint32_t>(length), static_cast<uint32_t>(content.size())});
  offset_ += length;
  content_offset_ += content.size();
  return {};
}

Result<> WorkingFile::find_member(const MemberEntry& member, int64_t mtime_seconds) {
  TRY(find_own_frame(encode_tar_header({member.name, member.size, mtime_seconds})));
  if (offset_ != member.archive_offset || content_offset_ != member.content_offset)
    return fail(ErrorKind::corrupt, "it stands elsewhere than it was remembered");
  TRY_ASSIGN(const uint64_t file_bytes, file_size(fd()));
  for (const FrameEntry& frame : member.frames) {
    std::vector<std::byte> start(18);
    TRY_ASSIGN(const size_t there, pread_some(fd(), start, offset_));
    TRY_ASSIGN(const FrameHeader header, read_frame_header(std::span(start).first(there)));
    if (header.content_bytes != frame.content_bytes || offset_ + frame.compressed_bytes > file_bytes)
      return fail(ErrorKind::corrupt, "its frames are not those that were remembered");
    frames_.push_back({static_cast<uint32_t>(frame.compressed_bytes), static_cast<uint32_t>(frame.content_bytes)});
    offset_ += frame.compressed_bytes;
    content_offset_ += frame.content_bytes;
  }
  const std::vector<std::byte> padding(tar_padding(member.size));
  if (!padding.empty()) TRY(find_own_frame(padding));
  return {};
}

Result<> WorkingFile::flush() { return file_.flush(offset_); }

Result<> WorkingFile::cut() {
  TRY(flush());
  if (::ftruncate(fd(), static_cast<off_t>(offset_)) != 0) return fail_errno(errno, "ftruncate");
  return {};
}

void WorkingFile::back_to(const Mark& mark) {
  offset_ = mark.offset;
  content_offset_ = mark.content_offset;
  frames_.resize(mark.frames);
}

}  // namespace lookback::archive
