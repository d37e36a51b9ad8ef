#pragma once
// The written side of an export: file header, interfaces, large writes to the sink, comments on
// gaps, closing statistics.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "exporter/attribution.hpp"
#include "exporter/frame_batch.hpp"
#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// One thread. An error of the sink ends everything.
class CaptureOutput final : public MergeSink {
 public:
  /// With an attribution packets bear their processes.
  CaptureOutput(const Plan& plan, const archive::Manifest& manifest, const Sink& sink,
                Attribution* attribution = nullptr);

  [[nodiscard]] Result<> begin();
  /// Before the first packet of a batch is written: its interfaces are there, or are written now.
  [[nodiscard]] Result<> admit(const FrameBatch& batch) override;
  /// Packets [first, last) of the batch, as they stand.
  [[nodiscard]] Result<> write(const FrameBatch& batch, uint32_t node, size_t first,
                               size_t last) override;
  void count_copy(uint32_t interface) override { ++interfaces_[interface].copies; }
  /// Statistics, and the rest of the buffer.
  [[nodiscard]] Result<> finish();

  [[nodiscard]] uint64_t packets() const { return packets_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  struct Used {
    bool packets = false;
    uint64_t copies = 0;
  };

  [[nodiscard]] Result<> write_interfaces();
  [[nodiscard]] Result<> write_records(std::span<const std::byte> records);
  [[nodiscard]] std::span<const std::byte> cut(std::span<const std::byte> record);
  [[nodiscard]] Result<> write_annotated(const FrameBatch& batch, uint32_t node, size_t packet);
  void take_gap_comments(uint32_t node, int64_t time_ns);
  [[nodiscard]] Result<> write_with_options(std::span<const std::byte> block,
                                            const PacketOwners& owners);
  [[nodiscard]] Result<uint32_t> process_block(const PacketOwners& owners, uint32_t node);
  [[nodiscard]] Result<> write_new_processes();
  [[nodiscard]] std::optional<uint64_t> known_losses(const OutputInterface& interface) const;
  [[nodiscard]] Result<> write_statistics();
  [[nodiscard]] Result<> flush();
  [[nodiscard]] std::string section_comment() const;
  [[nodiscard]] std::string told(const PlannedNode& node, const PlannedGap& gap) const;

  const Plan& plan_;
  const archive::Manifest& manifest_;
  const Sink& sink_;
  Attribution* const attribution_;
  std::vector<std::string> comments_;  ///< for the packet that is being written
  packet::Buffer block_, cut_;
  std::vector<std::byte> buffer_;
  size_t filled_ = 0;
  std::vector<Used> interfaces_;  ///< those that the output has, by number
  std::vector<size_t> next_gap_;  ///< by node
  std::vector<int64_t>
      next_gap_ns_;         ///< by node: the first packet written from here on is commented
  uint16_t link_type_ = 0;  ///< classic pcap
  uint64_t packets_ = 0, bytes_ = 0;
};

}  // namespace lookback::exporter
