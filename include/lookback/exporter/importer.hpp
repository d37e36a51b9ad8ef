#pragma once
// Capture files made elsewhere → a snapshot archive.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::exporter {

struct ImportOptions {
  std::string created_by;                   ///< "lookback 0.1.0"; also the application named in the members
  int64_t created_ns = 0;                   ///< the archive's time
  std::string id;                           ///< empty: random
  std::map<std::string, std::string> tags;
  std::string node;                         ///< what the node of all files is called; empty: after the files
  std::function<void(uint64_t done, uint64_t total)> progress;  ///< bytes of the files as they lie on disk
  const std::atomic<bool>* cancelled = nullptr;                 ///< may be set by any thread
};

struct ImportReport {
  uint64_t packets = 0, nodes = 0, members = 0;
  uint64_t content_bytes = 0, archive_bytes = 0;
  /// False: a file was damaged or could not be read, says itself that packets are missing, or has stamps that cannot be kept.
  bool complete = true;
  std::vector<std::string> warnings;   ///< one line each
};

/// Makes one archive of pcap and pcapng files, plain or in gzip or zstd, each seekable or not; of a folder, what is a capture in it.
/// Interfaces described as "node NAME" (as exports and members have it) go back to that node; whatever else is in a file belongs
/// to a node called after the file, or after its ring where several files are one (input_set.hpp). Packets keep their order and
/// their options; the window is from the first to the last. A file that ends in the middle counts up to there, with a warning and
/// the node marked partial; of several, one that cannot be read is named in a warning. A stamp outside of
/// [packet::kEarliestStampNs, packet::kLatestStampNs] becomes the packet's place: a nanosecond behind the packet before, and a comment
/// on the packet tells its own. What is left out is counted in the warnings. Memory: a member and a frame for each node, of many
/// nodes for those of one file. One file is open at a time.
/// Kinds: invalid for a file that is not a capture file where no other has packets, for a Lookback archive (is_archive_file: verify it
/// and take it as it is), for a wrong name and for captures without any packet; not_found for what is not there; conflict where
/// `out_path` exists; cancelled. Nothing is left behind by an error.
[[nodiscard]] Result<ImportReport> import_captures(std::span<const std::filesystem::path> files, const std::string& name,
                                                   const std::filesystem::path& out_path, const ImportOptions& options);

/// Whether a file is a Lookback archive (or another tar in zstd), by its first bytes.
[[nodiscard]] Result<bool> is_archive_file(const std::filesystem::path& path);

/// A valid node name for a capture file: "dumps/web-1 eth0.pcap.gz" becomes "web-1-eth0".
[[nodiscard]] std::string node_name_of_file(const std::filesystem::path& path);

}  // namespace lookback::exporter
