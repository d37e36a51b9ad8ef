#pragma once
// Sorts merged packets into flows. Bounded: packets of flows that find no room are counted.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "exporter/merge_sink.hpp"
#include "exporter/plan.hpp"
#include "exporter/tcp_tracker.hpp"
#include "lookback/exporter/flows.hpp"

namespace lookback::context {
struct Owner;
}

namespace lookback::exporter {

class Attribution;

/// Both ends of a flow in a fixed order, on one interface of one node.
struct FlowKey {
  packet::IpAddress low, high;
  uint16_t low_port = 0, high_port = 0;
  uint32_t interface = 0;
  uint8_t protocol = 0;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};
static_assert(sizeof(FlowKey) == 44);

/// `from`: which end sent the packet, 0 the low one.
[[nodiscard]] FlowKey flow_key_of(const PacketDigest& packet, uint32_t interface, unsigned& from);

/// An index of FlowKeys to numbers that somebody else gives meaning to. Under a key drawn at
/// random, so that nobody can make chosen packets collide.
class FlowIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  FlowIndex();
  /// The number under this key; kNone where there is none yet, then the caller sets it.
  [[nodiscard]] uint32_t& operator[](const FlowKey& key);
  /// The same without making room: null where there is none yet.
  [[nodiscard]] uint32_t* find(const FlowKey& key);
  [[nodiscard]] size_t size() const { return used_; }
  void clear();

 private:
  struct Slot {
    FlowKey key;
    uint32_t number = kNone;
    bool used = false;
  };
  [[nodiscard]] uint64_t hash(const FlowKey& key) const;
  [[nodiscard]] Slot& slot_of(const FlowKey& key);
  void grow();

  uint64_t secret_[2];
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

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

  /// All flows by their start, one for each node that saw it; empties the table.
  [[nodiscard]] std::vector<Flow> take();
  [[nodiscard]] uint64_t packets_of_no_flow() const { return packets_of_no_flow_; }
  [[nodiscard]] uint64_t packets_untold() const { return packets_untold_; }

 private:
  struct Side {
    uint64_t packets = 0, bytes = 0, retransmits = 0;
  };
  struct Entry {
    FlowKey key;
    uint32_t node = 0;
    Side sides[2];
    int64_t first_ns = 0, last_ns = 0;
    uint8_t client = 0;
    uint32_t owners[2] = {0, 0};  ///< of the low and the high end: 0, or one more than the number
    TcpTracker tcp;
  };

  [[nodiscard]] Result<> add(const PacketDigest& packet, uint32_t node, uint32_t interface,
                             int64_t time_ns);
  [[nodiscard]] Result<> learn_owners(Entry& entry, const PacketDigest& packet, unsigned from,
                                      int64_t time_ns);
  [[nodiscard]] uint32_t number_of(const context::Owner& owner);
  [[nodiscard]] Flow flow_of(const Entry& entry) const;
  [[nodiscard]] static bool same_flow(const Entry& a, const Entry& b);

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
