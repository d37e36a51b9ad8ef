#pragma once
// A window over a source of bytes, for readers of capture files.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "lookback/base/result.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::packet {

/// Holds at most the bytes asked for and some read-ahead. Pointers live until the next fill().
class ByteStream {
 public:
  explicit ByteStream(CaptureReader::Source source) : source_(std::move(source)) {}

  /// Makes `bytes` available at data(); false when the source ends before.
  [[nodiscard]] Result<bool> fill(size_t bytes);
  [[nodiscard]] const std::byte* data() const { return buffer_.get() + begin_; }
  [[nodiscard]] std::byte* data() { return buffer_.get() + begin_; }
  [[nodiscard]] size_t available() const { return end_ - begin_; }
  [[nodiscard]] uint64_t offset() const { return offset_; }  ///< of data() in the source
  void consume(size_t bytes) {
    begin_ += bytes;
    offset_ += bytes;
  }

 private:
  CaptureReader::Source source_;
  std::unique_ptr<std::byte[]> buffer_;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
  uint64_t offset_ = 0;
  bool ended_ = false;
};

/// A file format behind CaptureReader.
class FormatReader {
 public:
  virtual ~FormatReader() = default;
  [[nodiscard]] virtual Result<std::optional<ReadPacket>> next() = 0;

  std::vector<PcapngInterface> interfaces;
  std::vector<std::optional<ReadStatistics>> statistics;
  std::vector<PcapngProcess> processes;
  std::vector<std::string> origins;
  LeftOut left_out;
};

/// The largest block or record, and the most interfaces, that a file may have.
inline constexpr size_t kMaxBlockBytes = 16 << 20, kMaxInterfaces = 65536;

/// Both expect the stream at the file's first byte and its magic available.
[[nodiscard]] Result<std::unique_ptr<FormatReader>> open_pcap(ByteStream stream);
[[nodiscard]] Result<std::unique_ptr<FormatReader>> open_pcapng(ByteStream stream);

}  // namespace lookback::packet
