#pragma once
// Archive → one merged, filtered capture file. Streams, in bounded memory: where more frames overlap
// in time than have room, some are read again. All exports of a process share one bound; one that
// finds no room waits for others, and fails with kind failed where they take too long.
//
// Order: by the stamps that are written, then node (manifest order), interface, stored order.
// pcapng: one section. Each interface has its description block ("node NAME") before the packets;
// if_name is the interface's own name where one node is exported and NODE/INTERFACE where several
// are, since it is what Wireshark's columns and filters show. The first packet of a node behind a
// gap bears a comment that tells the gap; where a node has OS events, the first packet of a flow bears
// a comment that tells the processes at its ends, and each packet the process and thread id
// (epb_processid_threadid) of its sender, or else its receiver; statistics blocks at the end bear drop counts, gaps, and
// how many copies were left out. pcap: nanosecond magic unless microseconds are asked for, one link
// type; comments and names are lost.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/archive/archive.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::exporter {

enum class Format { pcapng, pcap };

struct ExportOptions {
  std::optional<int64_t> from_ns,
      to_ns;  ///< hub time, [from, to); outside the snapshot's window nothing is exported
  std::vector<std::string>
      nodes;  ///< names or globs; empty: all. A name that is not in the archive: not_found
  std::vector<std::string> interfaces;  ///< names or globs
  std::vector<packet::Cidr> networks;   ///< any of them, source or destination, inside tunnels too
  std::string filter;                   ///< pcap-filter
  /// Packets that a process at either end sent or got, by the node's OS events: its name or that of
  /// its file (or globs), its pid, its container's name (or glob) or the beginning of its id. Where
  /// several of the three are given, one process must be all of it.
  std::vector<std::string> processes, containers;
  std::vector<uint32_t> pids;
  Format format = Format::pcapng;
  /// Classic pcap with stamps in microseconds, cut off, for readers that know no others.
  bool microseconds = false;
  /// Of each packet at most so many bytes are written; 0: all that were recorded. Filters, networks,
  /// processes and copies are decided on whole packets.
  uint32_t snaplen = 0;
  /// Leaves out sightings of a packet on further interfaces: see src/exporter/deduplicator.hpp for
  /// what counts as one.
  bool dedup = false;
  /// Writes (and orders by) hub time. The window is hub time in any case.
  bool align_clocks = false;
  unsigned threads = 0;  ///< 0: as many as cores, at most 8
};

struct ExportStats {
  uint64_t packets_read = 0, packets_written = 0, bytes_written = 0, duplicates_dropped = 0;
  uint64_t frames_read = 0, frames_skipped = 0;
  uint64_t dedup_evictions = 0;   ///< sightings forgotten because the table was full
  uint64_t most_frames_open = 0;   ///< that overlap in time, and were begun and not done at once
  uint64_t frames_read_again = 0;  ///< because not all of those had room in memory
  bool complete = true;           ///< false: the exported window has gaps or missing nodes
  std::vector<std::string> warnings;
};

/// What can be told from the manifest alone.
struct ExportOutlook {
  bool complete = true;  ///< as in ExportStats
  std::vector<std::string> warnings;
  uint64_t content_bytes = 0;  ///< decoded bytes of the frames that will be read
};

/// Checks options as export_capture() does, without an archive at hand.
[[nodiscard]] Result<ExportOutlook> export_outlook(const archive::Manifest& manifest,
                                                   const ExportOptions& options);

/// Takes bytes in order; an error ends the export with that error.
using Sink = std::function<Result<>(std::span<const std::byte>)>;

/// Checks options (filter syntax, link types for classic pcap) before the first byte is written.
/// `cancelled` may be set by any thread.
[[nodiscard]] Result<ExportStats> export_capture(
    const std::shared_ptr<archive::ArchiveReader>& archive, const ExportOptions& options,
    const Sink& sink, const std::atomic<bool>* cancelled = nullptr);

}  // namespace lookback::exporter
