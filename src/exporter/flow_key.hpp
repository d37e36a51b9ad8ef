#pragma once
// What tells one flow from another, and an index by it.

#include <cstdint>
#include <vector>

#include "exporter/packet_digest.hpp"

namespace lookback::exporter {

/// Both ends of a flow in a fixed order, in one network on one interface of one node.
struct FlowKey {
  packet::IpAddress low, high;
  uint64_t network = 0;    ///< NetworkId
  uint16_t low_port = 0, high_port = 0;
  uint32_t interface = 0;  ///< of the output
  uint32_t ifindex = 0;    ///< of the host, where one interface of the output stands for several
  uint8_t protocol = 0;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};
static_assert(sizeof(FlowKey) == 56);

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

}  // namespace lookback::exporter
