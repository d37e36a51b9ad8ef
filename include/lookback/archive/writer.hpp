#pragma once
// Writes an archive, member after member. What a killed writer leaves can be gone on with.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/archive/member.hpp"
#include "lookback/base/result.hpp"

namespace lookback::archive {

/// Writes an archive under a working path; append after append; then commit() publishes it. A killed writer goes on behind the
/// last member that the caller remembered, and ends in the same bytes as one that was not killed. One thread.
class ArchiveWriter {
 public:
  /// Starts afresh: whatever stood at `working_path` is replaced. `mtime_ns` is the time of every member.
  [[nodiscard]] static Result<ArchiveWriter> create(const std::filesystem::path& working_path, int64_t mtime_ns);
  /// Cuts the file back to the end of `members` (the entries of append() that the caller remembered, in their order)
  /// and goes on from there. Headers, frame headers and padding are held against the entries: kind corrupt when the
  /// file does not have them. With no members it starts afresh.
  [[nodiscard]] static Result<ArchiveWriter> resume(const std::filesystem::path& working_path, int64_t mtime_ns,
                                                    std::vector<MemberEntry> members);
  /// Appends header frame, content frames and padding frame; returns the manifest's entry for it. The caller has checked the
  /// member (MemberChecker). Kind invalid: a name that is not a member name, stands there already, or is not inside
  /// nodes/NODE/ of its node. After an error (no_space) the archive is as before.
  [[nodiscard]] Result<MemberEntry> append(const std::string& path, const std::string& node, const MemberContent& member);
  /// The same for content that is not compressed yet.
  [[nodiscard]] Result<MemberEntry> append_plain(const std::string& path, const std::string& node,
                                                 std::span<const std::byte> content);
  /// Hands every member appended so far to the kernel: for whoever makes the file durable through a descriptor of his own.
  [[nodiscard]] Result<> flush();
  /// Makes every member appended so far durable; only then may the caller remember them.
  [[nodiscard]] Result<> sync();
  /// Bytes of the archive so far; not all of them need be in the file yet.
  [[nodiscard]] uint64_t bytes_written() const;
  [[nodiscard]] const std::vector<MemberEntry>& members() const;
  /// Adds manifest.json (members, and each node's packets and bytes, are taken from this writer), the tar end and the seek table, makes it durable and
  /// read-only, and renames it to `final_path`, refusing to overwrite (kind conflict). Returns the archive's size. After an error
  /// the working file is as before, and commit can be tried again.
  [[nodiscard]] Result<uint64_t> commit(Manifest manifest, const std::filesystem::path& final_path);

  ArchiveWriter(ArchiveWriter&&) noexcept;
  ArchiveWriter& operator=(ArchiveWriter&&) noexcept;
  ~ArchiveWriter();

 private:
  ArchiveWriter();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lookback::archive
