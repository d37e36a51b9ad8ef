#pragma once
// Capture files in memory, for the tests of readers and writers.

#include <string>
#include <vector>

#include "lookback/packet/pcapng.hpp"

namespace lookback::packet::testing {

/// A source that hands out `bytes` at most `chunk` at a time; the bytes must outlive it.
CaptureReader::Source source_of(std::span<const std::byte> bytes, size_t chunk = SIZE_MAX);

struct Read {
  PacketView view;  ///< its data is `data`
  std::string data, comment;
  uint64_t drop_count = 0;
};
struct Outcome {
  std::vector<Read> packets;
  std::vector<PcapngInterface> interfaces;
  std::string error;  ///< of open() or next(), empty for a clean end
};
Outcome read_all(std::span<const std::byte> bytes, size_t chunk = SIZE_MAX);

/// Writes blocks in either byte order, for what our writer does not make.
class BlockWriter {
 public:
  explicit BlockWriter(bool big_endian) : big_endian_(big_endian) {}
  BlockWriter& u16(uint16_t value);
  BlockWriter& u32(uint32_t value);
  BlockWriter& u64(uint64_t value);
  BlockWriter& raw(std::string_view bytes);  ///< padded to 4 inside a block
  BlockWriter& unpadded(std::string_view bytes);
  BlockWriter& begin(uint32_t type);
  BlockWriter& end();
  BlockWriter& option(uint16_t code, std::string_view value);
  BlockWriter& section();
  BlockWriter& interface(uint16_t link_type, uint32_t snaplen);  ///< without options
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(out_.data(), out_.size()));
  }

 private:
  bool big_endian_;
  std::string out_;
  size_t start_ = 0;
};

/// Runs a command and returns what it wrote to standard output; nothing where it is not installed.
std::optional<std::string> output_of(const std::string& command);

}  // namespace lookback::packet::testing
