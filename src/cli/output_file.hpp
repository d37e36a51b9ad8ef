#pragma once
// Where a command's data goes: standard output, or a file that appears complete or not at all.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "lookback/base/fd.hpp"
#include "lookback/base/result.hpp"

namespace lookback::cli {

/// One thread. Without commit() nothing is left behind, whatever happened: where the file system
/// can do it the file has no name until then (O_TMPFILE), elsewhere it is a hidden file that the
/// destructor removes. A new file is its owner's alone, since it holds captured data; an existing one
/// keeps its owner, group, mode, links and attributes.
class OutputFile {
 public:
  /// "-" is standard output; binary data to a terminal is refused (kind invalid). An existing file
  /// has to be writable, and is replaced by commit(). A device, a pipe and what /proc/self/fd names
  /// are written to directly, and so is a file whose folder this user may not write into. A symbolic
  /// link stays; what it points to is written.
  [[nodiscard]] static Result<OutputFile> open(const std::string& path);
  /// Kind cancelled once the reader of a pipe is gone; reader_gone() tells that apart from other
  /// ends.
  [[nodiscard]] Result<> write(std::span<const std::byte> data);
  /// Gives the file its name. `durable` waits until data and name are on disk.
  [[nodiscard]] Result<> commit(bool durable);

  [[nodiscard]] bool reader_gone() const { return reader_gone_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  /// "standard output" or the path, for messages.
  [[nodiscard]] std::string name() const;
  /// True for a regular file of our own, which can be read back by content_path() before commit().
  [[nodiscard]] bool is_file() const { return kind_ == Kind::unnamed || kind_ == Kind::hidden; }
  [[nodiscard]] std::filesystem::path content_path() const;

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

 private:
  enum class Kind { standard_output, direct, unnamed, hidden };
  OutputFile() = default;
  [[nodiscard]] Result<> commit_over_old();
  [[nodiscard]] Result<> give_name();

  Kind kind_ = Kind::direct;
  Fd fd_;
  Fd old_;  ///< the existing file, open for writing
  std::filesystem::path path_, hidden_;
  uint64_t bytes_ = 0;
  bool reader_gone_ = false;
};

}  // namespace lookback::cli
