#pragma once
// The process blocks of an export (packet::kPcapngProcess): what they are numbered, and which are still to be written.

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <string>
#include <vector>

#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// Blocks are written in the order of their numbers, each before the first packet that refers to it. Thread-safe.
class ProcessTable {
 public:
  /// The number of the block about this process of a node. Of so many processes the number is remembered; then all begins
  /// anew, and they get another.
  [[nodiscard]] uint32_t number_of(uint32_t node, const packet::PcapngProcess& process);
  /// Appends the blocks that were numbered since the last call.
  void take_new(packet::Buffer& out);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, uint32_t> numbers_;  ///< by node, pid and name
  uint32_t count_ = 0;
  packet::Buffer new_blocks_;
};

}  // namespace lookback::exporter
