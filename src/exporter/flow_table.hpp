#pragma once
// Sorts merged packets into flows. Bounded: packets of flows that find no room are counted.

#include <atomic>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "exporter/flow_key.hpp"
#include "exporter/flow_sightings.hpp"
#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"
#include "exporter/tcp_tracker.hpp"
#include "lookback/exporter/flows.hpp"

namespace lookback::context {
struct Owner;
}

namespace lookback::exporter {

class Attribution;

/// The plan's batches must have digests.
class FlowTable final : public MergeSink {
 public:
  /// With an attribution flows bear their processes.
  FlowTable(const Plan& plan, size_t most_flows, Attribution* attribution = nullptr)
      : plan_(plan), most_flows_(most_flows), attribution_(attribution) {}

  [[nodiscard]] Result<> admit(const FrameBatch& batch) override;
  [[nodiscard]] Result<> write(const FrameBatch& batch, uint32_t node, size_t first,
                               size_t last) override;
  void count_copy(uint32_t /*interface*/) override {}

  /// All flows by their start, one for each node that saw it; empties the table. An error is that
  /// it was cancelled.
  [[nodiscard]] Result<std::vector<Flow>> take(const std::atomic<bool>* cancelled = nullptr);
  [[nodiscard]] uint64_t packets_of_no_flow() const { return packets_of_no_flow_; }
  [[nodiscard]] uint64_t packets_untold() const { return packets_untold_; }

 private:
  /// By what it was decided who the client is, the surest last.
  enum class ClientKnownBy : uint8_t { first_packet, ports, system, handshake };
  struct Side {
    uint64_t packets = 0, bytes = 0, retransmits = 0;
  };
  struct Entry {
    FlowKey key;
    uint32_t node = 0;
    Side sides[2];
    int64_t first_ns = 0, last_ns = 0;
    uint32_t twin = FlowIndex::kNone;  ///< the entry of the same packets where they pass again
    uint8_t pass = 0;                  ///< 1: it is a twin
    uint8_t client = 0;
    ClientKnownBy client_by = ClientKnownBy::first_packet;
    packet::Direction directions[2] = {packet::Direction::unknown, packet::Direction::unknown};
    uint32_t owners[2] = {0, 0};  ///< of the low and the high end: 0, or one more than the number
    TcpTracker tcp;
  };

  [[nodiscard]] Result<> add(const PacketDigest& packet, uint32_t node, uint32_t interface,
                             int64_t time_ns);
  [[nodiscard]] Result<> learn_owners(Entry& entry, const PacketDigest& packet, unsigned from,
                                      int64_t time_ns);
  [[nodiscard]] uint32_t number_of(const context::Owner& owner);
  /// Whether a packet that passes an interface in both directions goes this entry's way, or its
  /// twin's.
  [[nodiscard]] bool passes_again(const Entry& entry, unsigned from,
                                  packet::Direction direction) const;
  static void judge_client(Entry& entry, const PacketDigest& packet, unsigned from);
  [[nodiscard]] static Sighting sighting_of(const Entry& entry);
  /// One entry for each flow among those between the same ends.
  void choose_sightings(std::span<const uint32_t> entries, std::vector<uint32_t>& chosen) const;
  [[nodiscard]] Flow flow_of(const Entry& entry) const;

  const Plan& plan_;
  const size_t most_flows_;
  Attribution* const attribution_;
  std::vector<FlowEnd> owners_;  ///< each once, without figures
  std::unordered_map<std::string, uint32_t> owner_numbers_;
  FlowIndex index_;
  std::vector<Entry> entries_;
  uint64_t packets_of_no_flow_ = 0, packets_untold_ = 0;
};

}  // namespace lookback::exporter
