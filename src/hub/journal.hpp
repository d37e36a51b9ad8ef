#pragma once
// journal.ndjson of a snapshot under way: a line for each member that was dealt with, appended
// after the archive's bytes of it were made durable. A line that a crash cut off never existed. One
// thread.

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
  /// Durable when it returns. After an error nothing of it counts: the tail is cut off at the next
  /// open or append.
  [[nodiscard]] Result<> append(std::span<const JournalLine> lines);
  [[nodiscard]] Result<> clear();

 private:
  Journal(Fd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}
  Fd fd_;
  uint64_t size_ = 0;
};

}  // namespace lookback::hub
