#pragma once
// From the kernel's interface index to a position in the table that the store is given. Only interfaces that packets were
// seen on are in it, so that a host with a thousand idle ones does not describe them in every file. One thread.

#include <cstdint>
#include <vector>

#include "lookback/packet/packet.hpp"

namespace lookback::node {

class InterfacePositions {
 public:
  static constexpr uint32_t kUnknown = UINT32_MAX;

  /// Hot path.
  [[nodiscard]] uint32_t find(uint32_t index) {
    if (index == last_index_) return last_position_;
    return find_slow(index);
  }
  /// Adds an interface behind the others; positions given out before stay right. Returns its position.
  uint32_t add(packet::Interface interface);
  /// Takes in the ring's present list: true when an entry got another name, type or address, or left because the
  /// table had grown large and the interface is gone. Positions may have moved then.
  bool update(const std::vector<packet::Interface>& current);
  /// True when update() would change something.
  [[nodiscard]] bool differs(const std::vector<packet::Interface>& current) const;

  [[nodiscard]] const std::vector<packet::Interface>& table() const { return table_; }
  [[nodiscard]] bool full() const { return table_.size() >= kMaxEntries; }

 private:
  static constexpr size_t kMaxEntries = 65'000;  // a compact record has 16 bits for the position
  static constexpr size_t kPruneAbove = 256;

  struct Slot {
    uint32_t index = 0;
    uint32_t position = kUnknown;
  };
  uint32_t find_slow(uint32_t index);
  void rebuild();
  void insert(uint32_t index, uint32_t position);

  std::vector<packet::Interface> table_;
  std::vector<Slot> slots_ = std::vector<Slot>(64);  // open addressing, a power of two, at most half full
  uint32_t last_index_ = 0;
  uint32_t last_position_ = kUnknown;
};

}  // namespace lookback::node
