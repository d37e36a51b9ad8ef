#pragma once
// NAME.tar.zst: a tar stream (POSIX ustar, pax where needed) in independent zstd frames — headers and padding in small frames of
// our own, contents in the frames they came in — closed by a seek table (zstd contrib/seekable_format). See lookback-archive(5).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/frame.hpp"
#include "lookback/archive/manifest.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/archive/tar.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Writes an archive under a working path; append after append; then finish() and publish. A killed writer goes on
/// behind the last member that the caller remembered. One thread.
class ArchiveWriter {
 public:
  [[nodiscard]] static Result<ArchiveWriter> create(const std::filesystem::path& working_path, int64_t mtime_ns);
  /// Cuts the file back to the end of `members` (the entries of append() that the caller remembered) and goes on from there.
  [[nodiscard]] static Result<ArchiveWriter> resume(const std::filesystem::path& working_path, int64_t mtime_ns,
                                                    std::vector<MemberEntry> members);
  /// Appends header frame, content frames and padding frame; returns the manifest's entry for it. The caller has checked it.
  [[nodiscard]] Result<MemberEntry> append(const std::string& path, const std::string& node, const MemberContent& member);
  /// The same for content that is not compressed yet.
  [[nodiscard]] Result<MemberEntry> append_plain(const std::string& path, const std::string& node, std::span<const std::byte> content);
  [[nodiscard]] Result<> sync();
  [[nodiscard]] uint64_t bytes_written() const;
  [[nodiscard]] const std::vector<MemberEntry>& members() const;
  /// Adds manifest.json (its members are taken from this writer), the tar end and the seek table, makes it durable and read-only, and
  /// renames it to `final_path`, refusing to overwrite (kind conflict). Returns the archive's size.
  [[nodiscard]] Result<uint64_t> commit(Manifest manifest, const std::filesystem::path& final_path);

  ArchiveWriter(ArchiveWriter&&) noexcept;
  ArchiveWriter& operator=(ArchiveWriter&&) noexcept;
  ~ArchiveWriter();

 private:
  ArchiveWriter();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads a published archive by its seek table and manifest. Thread-safe after open (pread only).
class ArchiveReader {
 public:
  /// corrupt: no seek table, a truncated file, no manifest — the message says which and what to do (verify, download again).
  [[nodiscard]] static Result<std::shared_ptr<ArchiveReader>> open(const std::filesystem::path& path);
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] uint64_t file_bytes() const { return file_bytes_; }
  /// Decodes frame `index` of a member into `out` (resized).
  [[nodiscard]] Result<> read_frame(const MemberEntry& member, size_t index, FrameDecoder& decoder, std::vector<std::byte>& compressed,
                                    std::vector<std::byte>& out) const;
  /// A whole small member's content (kubernetes/…, tests).
  [[nodiscard]] Result<std::vector<std::byte>> read_member(const MemberEntry& member) const;

 private:
  ArchiveReader() = default;
  Fd fd_;
  Manifest manifest_;
  uint64_t file_bytes_ = 0;
};

struct VerifyReport {
  uint64_t members = 0, content_bytes = 0, file_bytes = 0;
};
/// Reads every byte of the file: frames, tar headers, padding, members against their SHA-256, seek table, and that nothing stands in the
/// stream that the manifest does not name. The first bad member is named in the error (kind corrupt). `progress` gets file bytes done.
[[nodiscard]] Result<VerifyReport> verify_archive(const std::filesystem::path& path, const std::function<void(uint64_t, uint64_t)>& progress = {});

}  // namespace lookback::archive
