#pragma once
// Lets through the packets of chosen processes and containers.

#include <string>
#include <vector>

#include "exporter/attribution.hpp"
#include "exporter/merge_sink.hpp"

namespace lookback::exporter {

class ProcessFilter final : public MergeSink {
 public:
  ProcessFilter(const ExportOptions& options, Attribution& attribution, MergeSink& next)
      : options_(options), attribution_(attribution), next_(next) {}

  /// The options choose any.
  [[nodiscard]] static bool wanted(const ExportOptions& options);

  [[nodiscard]] Result<> admit(const FrameBatch& batch) override { return next_.admit(batch); }
  [[nodiscard]] Result<> write(const FrameBatch& batch, uint32_t node, size_t first,
                               size_t last) override;
  void count_copy(uint32_t interface) override { next_.count_copy(interface); }

  /// What could not be decided, one line each.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  [[nodiscard]] bool matches(const context::Owner* owner) const;

  const ExportOptions& options_;
  Attribution& attribution_;
  MergeSink& next_;
  /// Packets left out because the events tell no owner of their protocol.
  uint64_t icmp_ = 0, other_protocols_ = 0;
};

}  // namespace lookback::exporter
