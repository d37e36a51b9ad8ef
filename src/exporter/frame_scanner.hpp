#pragma once
// Picks the packets of one decoded frame that the plan wants, and makes them ready to be written.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exporter/frame_batch.hpp"
#include "exporter/plan.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

/// An interface of one member, as its interface description block tells it.
struct MemberInterface {
  uint32_t output = InterfaceTable::kNotExported;
  uint16_t link_type = 0;
  const packet::Filter* filter = nullptr;  ///< null: nothing of it is exported
};

/// What a member says before its packets.
struct MemberInterfaces {
  std::vector<MemberInterface> table;
  std::vector<uint32_t> processes;  ///< numbers in the output, by those that the member's packets bear
};

/// Reads the section header, the interface and the process blocks at the head of a member: its frames up
/// to the first that has packets. Corrupt where they are not as our writer writes them.
[[nodiscard]] Result<MemberInterfaces> read_member_interfaces(std::span<const std::byte> head,
                                                              uint32_t node, const Plan& plan);

/// One thread each; keeps scratch space.
class FrameScanner {
 public:
  /// `hash` is needed where the plan looks for duplicates.
  FrameScanner(const Plan& plan, const KeyedHash* hash) : plan_(plan), hash_(hash) {}

  /// Takes the frame's content in `batch.bytes` and leaves the batch in its place. Kind corrupt
  /// where blocks do not fit.
  [[nodiscard]] Result<> scan(const FrameUnit& unit, const MemberInterfaces& interfaces,
                              FrameBatch& batch);

 private:
  [[nodiscard]] bool wanted(const MemberInterface& interface, std::span<const std::byte> data,
                            uint32_t original_length, packet::UnreadCounts& unread) const;
  void sort(FrameBatch& batch);

  const Plan& plan_;
  const KeyedHash* hash_;
  std::vector<uint32_t> order_;
  FrameBatch sorted_;
};

}  // namespace lookback::exporter
