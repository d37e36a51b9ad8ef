#pragma once
// Reads a stretch of a segment packet by packet: the RunReader of the store, on any segment file.

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "lookback/packet/kernel_block.hpp"
#include "lookback/store/store.hpp"
#include "store/block_window.hpp"
#include "store/segment_reader.hpp"

namespace lookback::store {

struct RunSource {
  BlockWindow file;
  uint64_t epoch = 0;
  uint64_t offset = 0, bytes = 0;             ///< whole pages
  int64_t first_ns = 0, last_ns = 0;          ///< to give damage a time where nothing else does
  std::optional<std::vector<packet::Interface>> interfaces;  ///< the table valid at `offset`; nothing: it is lost
  std::vector<packet::Interface> before{};  ///< the last one in front of a lost one, empty: not known
  /// The first one behind a place in the file, empty: not known. May be empty itself.
  std::function<std::vector<packet::Interface>(uint64_t offset)> table_behind{};
  std::function<void(const Gap&)> on_damage{};  ///< may be empty; called from next()
};

/// How much a run reader has in memory, unless a block is larger.
inline constexpr size_t kRunReadAhead = 1 << 20;

class SegmentRunReader final : public RunReader {
 public:
  explicit SegmentRunReader(RunSource source);
  [[nodiscard]] Result<std::optional<packet::PacketView>> next() override;
  [[nodiscard]] const std::vector<packet::Interface>& interfaces() const override { return used_; }
  [[nodiscard]] uint64_t damaged_blocks() const override { return damaged_blocks_; }
  [[nodiscard]] const std::vector<Gap>& damage() const override { return damage_; }

 private:
  using Table = std::vector<packet::Interface>;
  /// Moves on to the next block with packets; false at the end of the run.
  [[nodiscard]] Result<bool> next_block();
  /// Tells of blocks between two places of the file that are none; whether a table may have been there.
  [[nodiscard]] Result<bool> report_lost(uint64_t from, uint64_t to);
  [[nodiscard]] std::optional<packet::PacketView> next_kernel();
  [[nodiscard]] std::optional<packet::PacketView> next_compact();
  void end_block();
  void report(int64_t start_ns, int64_t end_ns, uint64_t packets);
  void use_table(Table table);
  /// From here on interfaces have the names that the last table and the next one give them.
  void lose_table();
  [[nodiscard]] const Table& table_behind();
  /// Null where neither table has it, or each another one. In doubt unless both have the same.
  [[nodiscard]] const packet::Interface* around(const std::function<const packet::Interface*(const Table&)>& find);
  [[nodiscard]] uint32_t use(const packet::Interface& interface);
  [[nodiscard]] uint32_t compact_interface(uint32_t position);
  [[nodiscard]] uint32_t kernel_interface(uint32_t index, uint16_t hardware_type);
  void put_tag_back(packet::KernelPacket& packet);

  RunSource source_;
  uint64_t offset_, end_;
  std::optional<LoadedBlock> block_;
  std::optional<packet::KernelBlockWalker> walker_;  ///< in a kernel block
  uint32_t at_ = 0;                                  ///< in a compact block
  uint32_t delivered_ = 0;                           ///< of this block
  int64_t last_seen_ns_;
  std::optional<std::vector<IndexEntry>> index_;  ///< of the file, once something is damaged

  Table table_;                                     ///< as recorded
  bool table_lost_ = false;
  Table before_;                 ///< a lost one
  std::optional<Table> behind_;  ///< it, once it was asked for
  bool doubtful_ = false;  ///< whether interfaces of this block have their own names; told as damage
  std::vector<std::optional<uint32_t>> positions_;  ///< of table_ in used_
  std::unordered_map<uint32_t, uint32_t> indexes_;  ///< the kernel's ifindex to used_
  std::vector<packet::Interface> used_;
  uint64_t damaged_blocks_ = 0;
  std::vector<Gap> damage_;
};

}  // namespace lookback::store
