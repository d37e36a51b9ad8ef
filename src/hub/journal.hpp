#pragma once
// journal.ndjson of a snapshot under way: a line for each member that was dealt with, handed to the
// kernel right after the archive's bytes of it, so that both outlive the hub's process. Lines
// {"durable": N} say that the archive's bytes of the first N members outlive the machine as well.
// A line that a crash cut off never existed. One thread at a time, but for sync().

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/manifest.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::hub {

enum class MemberOutcome { stored, empty, given_up, dropped };
[[nodiscard]] std::string_view to_string(MemberOutcome outcome);

struct JournalLine {
  std::string node;
  uint32_t index = 0;
  MemberOutcome outcome = MemberOutcome::stored;
  std::string reason;                          ///< why dropped
  std::optional<archive::MemberEntry> member;  ///< when stored
};

class Journal {
 public:
  /// Reads what is there into `lines`, cuts a damaged tail off, and goes on behind it.
  [[nodiscard]] static Result<Journal> open(const std::filesystem::path& path,
                                            std::vector<JournalLine>& lines);
  /// Of the lines that open() gave: so many from the first on are about durable bytes.
  [[nodiscard]] size_t durable() const { return durable_; }
  /// In the kernel's hands when it returns. After an error nothing of it counts: the tail is cut
  /// off at the next open or append.
  [[nodiscard]] Result<> append(const JournalLine& line);
  /// The caller has made durable what the first `lines` lines are about.
  [[nodiscard]] Result<> mark_durable(size_t lines);
  /// Starts afresh with `lines`, durable when it returns.
  [[nodiscard]] Result<> rewrite(std::span<const JournalLine> lines);
  /// Makes what was appended durable; any thread.
  [[nodiscard]] Result<> sync() const;

 private:
  Journal(Fd fd, uint64_t size, size_t durable)
      : fd_(std::move(fd)), size_(size), durable_(durable) {}
  [[nodiscard]] Result<> put(std::string_view text);

  Fd fd_;
  uint64_t size_ = 0;
  size_t durable_ = 0;
};

}  // namespace lookback::hub
