#pragma once
// The file of an unfinished archive: frames put one behind the other, each remembered for the seek table.

#include <cstdint>
#include <span>
#include <vector>

#include "archive/append_file.hpp"
#include "archive/seek_table.hpp"
#include "lookback/archive/frame.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

class WorkingFile {
 public:
  WorkingFile() = default;
  explicit WorkingFile(Fd fd) : file_(std::move(fd)) {}

  [[nodiscard]] int fd() const { return file_.fd(); }
  /// The end of what was put: of the file, and of the tar stream in it.
  [[nodiscard]] uint64_t offset() const { return offset_; }
  [[nodiscard]] uint64_t content_offset() const { return content_offset_; }
  [[nodiscard]] FrameEncoder& encoder() { return encoder_; }

  /// Compresses a small content of ours and puts its frame.
  [[nodiscard]] Result<> put(std::span<const std::byte> content);
  /// Puts finished frames as they are; invalid when `compressed` is not as long as they say.
  [[nodiscard]] Result<> put_frames(std::span<const FrameEntry> frames, std::span<const std::byte> compressed);
  [[nodiscard]] Result<> put_seek_table();

  /// Takes a member that stands at offset() already as put: header and padding are decoded and compared, the content's frames held
  /// against the entry by their headers. Kind corrupt: it is not there.
  [[nodiscard]] Result<> find_member(const MemberEntry& member, int64_t mtime_seconds);
  /// Hands what was put to the kernel. The file may be longer than offset() then, by zeros.
  [[nodiscard]] Result<> flush();
  /// Ends the file at offset().
  [[nodiscard]] Result<> cut();

  struct Mark {
    uint64_t offset, content_offset;
    size_t frames;
  };
  [[nodiscard]] Mark mark() const { return {offset_, content_offset_, frames_.size()}; }
  /// Forgets what was put since; its bytes are overwritten next.
  void back_to(const Mark& mark);

 private:
  [[nodiscard]] Result<> find_own_frame(std::span<const std::byte> content);
  [[nodiscard]] Result<> check_room(size_t frames) const;

  AppendFile file_;
  uint64_t offset_ = 0, content_offset_ = 0;
  std::vector<FrameSizes> frames_;
  FrameEncoder encoder_;
  FrameDecoder decoder_;
};

}  // namespace lookback::archive
