#pragma once
// An export cut into several files, each a complete capture file: NAME_00001.pcapng, NAME_00002.pcapng …

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/output_file.hpp"

namespace lookback::cli {

/// Takes the bytes of one pcap or pcapng file in any pieces, as an export writes it (native byte order). One thread.
/// A file is begun where the next packet would make the one before larger than the limit, so that only a file of one
/// packet ever is, and the last by its statistics. Each begins with what describes packets: the header, interfaces and
/// processes. A file appears complete; those that are complete stay when a later one fails.
class SplitOutput {
 public:
  /// `path` as the user gave it: the number goes in front of its extension. invalid: standard output, or a name that
  /// is a device or a folder.
  [[nodiscard]] static Result<SplitOutput> open(const std::string& path, uint64_t limit_bytes);
  [[nodiscard]] Result<> write(std::span<const std::byte> data);
  /// Completes the last file. corrupt: the bytes end inside a block.
  [[nodiscard]] Result<> finish();

  [[nodiscard]] uint64_t bytes() const { return bytes_; }  ///< of all files
  [[nodiscard]] uint32_t files() const { return files_; }  ///< begun so far
  /// "a_00001.pcapng to a_00003.pcapng", for messages.
  [[nodiscard]] std::string name() const;
  /// The file after the last where there is one: of an earlier export.
  [[nodiscard]] std::optional<std::filesystem::path> left_over() const;

 private:
  enum class Format { unknown, pcap, pcapng };
  SplitOutput() = default;
  /// Length of the record (the header too) that `at` begins with; 0 while it is not known.
  [[nodiscard]] Result<size_t> record_bytes(std::span<const std::byte> at) const;
  [[nodiscard]] Result<> take(std::span<const std::byte> record);
  [[nodiscard]] Result<> describe();
  [[nodiscard]] Result<> close_file();
  [[nodiscard]] Result<> put(std::span<const std::byte> data);
  [[nodiscard]] std::filesystem::path path_of(uint32_t number) const;

  std::filesystem::path path_;
  uint64_t limit_ = 0, bytes_ = 0;
  Format format_ = Format::unknown;
  std::vector<std::byte> pending_;   ///< the beginning of a record that is not whole yet
  std::vector<std::byte> preamble_;  ///< what every file begins with
  std::optional<OutputFile> file_;
  std::vector<std::byte> buffer_;  ///< of file_, not written yet
  uint64_t file_bytes_ = 0;
  size_t described_ = 0;  ///< how much of the preamble file_ has
  bool has_packets_ = false;  ///< of file_
  uint32_t files_ = 0;
};

}  // namespace lookback::cli
