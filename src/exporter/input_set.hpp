#pragma once
// Which files an import reads, and which of them are one recording.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::exporter {

struct InputSource {
  std::filesystem::path path;
  /// Files of one ring have the same: the folder, and the name without what counts or dates it.
  std::string group;
  std::string node;  ///< what its node is called unless that name is taken
};

struct InputSet {
  std::vector<InputSource> sources;
  std::vector<std::string> passed_over;  ///< files of folders that are no captures, by their names and by their first bytes
};

/// Files as they are given; of folders, and of the folders in them, what is a capture, in the order of its names. Files whose
/// names differ only in a number that tcpdump -C or dumpcap -b wrote, or in a time, are one ring: "x.pcap" and "x.pcap1",
/// "x_00001_20260301120000.pcapng", "x-2026-03-01T12:00:00.pcap". A short number may be a machine's ("web-1"), and is none of them.
/// `node`: what all are called; empty: each ring after its names. Kind not_found for what is not there.
[[nodiscard]] Result<InputSet> list_inputs(std::span<const std::filesystem::path> given, const std::string& node);

/// The name of a capture file without what packing and format add, and without the count and time of a ring; the latter tells
/// whether there were any.
struct RingName {
  std::string stem, format;
  bool numbered = false;
};
[[nodiscard]] RingName ring_name_of(const std::string& file_name);

}  // namespace lookback::exporter
