#include "store/run_reader.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "lookback/store/compact.hpp"
#include "store/catalog.hpp"
#include "store/time_slack.hpp"

namespace lookback::store {

namespace {

/// A kernel packet this far from its block's time is not a packet but misread bytes. Generous: the
/// clock may have been set meanwhile.
constexpr int64_t kKernelPlausibleNs = 24 * 3600 * kNsPerSecond;

bool plausible(const CompactRecord& record, const BlockHeader& header) {
  const auto time = static_cast<int64_t>(record.time_ns);
  return record.zero() == 0 &&
         record.direction() <= static_cast<uint8_t>(packet::Direction::outbound) &&
         record.reception() <= static_cast<uint8_t>(packet::Reception::promiscuous) &&
         (record.captured() <= record.original()) && time >= header.first_ns &&
         time <= header.last_ns;
}

}  // namespace

SegmentRunReader::SegmentRunReader(RunSource source)
    : source_(std::move(source)),
      offset_(source_.offset),
      end_(source_.offset + source_.bytes),
      last_seen_ns_(source_.first_ns) {
  use_table(source_.interfaces ? std::move(*source_.interfaces) : std::move(source_.before));
  if (!source_.interfaces) lose_table();
}

Result<std::optional<packet::PacketView>> SegmentRunReader::next() {
  for (;;) {
    if (!block_) {
      TRY_ASSIGN(const bool more, next_block());
      if (!more) return std::optional<packet::PacketView>();
    }
    auto view = walker_ ? next_kernel() : next_compact();
    if (view) {
      ++delivered_;
      last_seen_ns_ = view->time_ns;
      return view;
    }
    end_block();
  }
}

Result<bool> SegmentRunReader::next_block() {
  while (offset_ < end_) {
    const uint64_t start = offset_;
    TRY_ASSIGN(block_, load_block(source_.file, source_.epoch, start, end_));
    if (!block_) {
      TRY_ASSIGN(offset_, find_block(source_.file, source_.epoch, start, end_));
      TRY_ASSIGN(const bool may_be_table, report_lost(start, offset_));
      if (may_be_table) lose_table();
      continue;
    }
    const BlockHeader& header = block_->header;
    offset_ = start + round_up(header.used_bytes, kPageBytes);
    const auto kind = static_cast<BlockKind>(header.kind);
    if (kind == BlockKind::note) {
      auto note = note_of(*block_);
      if (!note) {
        report(header.first_ns, header.last_ns, 0);
        lose_table();
      } else if (note->interfaces) {
        use_table(std::move(*note->interfaces));
      }
    }
    if (kind != BlockKind::kernel && kind != BlockKind::compact) {
      block_.reset();
      continue;
    }
    delivered_ = 0;
    at_ = header.payload_offset;
    if (kind == BlockKind::kernel)
      walker_.emplace(block_->bytes, header.payload_offset, header.packets);
    return true;
  }
  return false;
}

Result<bool> SegmentRunReader::report_lost(uint64_t from, uint64_t to) {
  if (!index_) {
    // The index knows what stood there; where there is none, the blocks around tell.
    index_.emplace();
    if (auto contents = read_segment(source_.file); contents && contents->sealed)
      index_ = std::move(contents->blocks);
  }
  TimeWindow bounds{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()};
  uint64_t packets = 0;
  bool notes = false;
  for (const IndexEntry& entry : *index_) {
    const uint64_t offset = uint64_t{entry.page} * kPageBytes;
    if (offset < from || offset >= to) continue;
    const TimeWindow one = block_bounds(entry);
    bounds = {std::min(bounds.from_ns, one.from_ns), std::max(bounds.to_ns, one.to_ns)};
    packets += entry.packets;
    notes = notes || entry.kind == static_cast<uint16_t>(BlockKind::note);
  }
  if (!bounds.empty()) {
    report(bounds.from_ns, saturating_add(bounds.to_ns, -1), packets);
    return notes;
  }
  int64_t until = source_.last_ns;
  if (to < end_) {
    TRY_ASSIGN(const auto following, load_header(source_.file, source_.epoch, to, end_));
    if (following) until = later_by_slack(following->first_ns);
  }
  report(earlier_by_slack(last_seen_ns_), until, 0);
  return true;
}

void SegmentRunReader::end_block() {
  const BlockHeader& header = block_->header;
  const bool whole =
      delivered_ == header.packets && !block_->torn && (walker_ || at_ == header.used_bytes);
  IndexEntry entry;
  entry.kind = header.kind;
  entry.first_ns = header.first_ns;
  entry.last_ns = header.last_ns;
  const TimeWindow bounds = block_bounds(entry);
  if (!whole) {
    // What is left of it begins where the last packet was, give or take; a compact block knows best.
    const int64_t start =
        delivered_ > 0 ? std::max(bounds.from_ns, earlier_by_slack(last_seen_ns_)) : bounds.from_ns;
    report(doubtful_ ? bounds.from_ns : start, saturating_add(bounds.to_ns, -1),
           header.packets - std::min(delivered_, header.packets));
  } else if (doubtful_) {
    report(bounds.from_ns, saturating_add(bounds.to_ns, -1), 0);
  }
  doubtful_ = false;
  last_seen_ns_ = std::max(last_seen_ns_, header.last_ns);
  block_.reset();
  walker_.reset();
}

void SegmentRunReader::report(int64_t start_ns, int64_t end_ns, uint64_t packets) {
  ++damaged_blocks_;
  const Gap gap{std::min(start_ns, end_ns), saturating_add(std::max(start_ns, end_ns), 1), packets,
                to_string(GapReason::damaged_segment)};
  damage_.push_back(gap);
  if (source_.on_damage) source_.on_damage(gap);
}

std::optional<packet::PacketView> SegmentRunReader::next_kernel() {
  auto packet = walker_->next();
  if (!packet) return std::nullopt;
  const BlockHeader& header = block_->header;
  if (packet->view.time_ns < saturating_add(header.first_ns, -kKernelPlausibleNs) ||
      packet->view.time_ns > saturating_add(header.last_ns, kKernelPlausibleNs))
    return std::nullopt;
  packet->view.interface = kernel_interface(packet->view.interface, packet->hardware_type);
  if (packet->has_vlan && used_[packet->view.interface].link_type == packet::link_type::kEthernet)
    put_tag_back(*packet);
  else if (packet::may_need_link_header(packet->hardware_type))
    packet::put_link_header(*packet, used_[packet->view.interface].link_type, block_->bytes);
  return packet->view;
}

void SegmentRunReader::put_tag_back(packet::KernelPacket& packet) {
  auto& view = packet.view;
  if (view.data.size() < kVlanTagOffset) return;
  // In front of the packet there is its own header, which has been read: the addresses move four
  // bytes into that, and the tag takes the place behind them. The memory is this reader's copy of
  // the block.
  std::byte* data = block_->bytes.data() + (view.data.data() - block_->bytes.data());
  std::byte* moved = data - kVlanTagBytes;
  std::memmove(moved, data, kVlanTagOffset);
  const std::byte tag[kVlanTagBytes] = {
      std::byte(packet.vlan_tpid >> 8), std::byte(packet.vlan_tpid & 0xFF),
      std::byte(packet.vlan_tci >> 8), std::byte(packet.vlan_tci & 0xFF)};
  std::memcpy(moved + kVlanTagOffset, tag, kVlanTagBytes);
  view.data = {moved, view.data.size() + kVlanTagBytes};
  view.original_length += kVlanTagBytes;
}

std::optional<packet::PacketView> SegmentRunReader::next_compact() {
  const BlockHeader& header = block_->header;
  const auto bytes = block_->bytes;
  if (delivered_ == header.packets || at_ > bytes.size() ||
      bytes.size() - at_ < kCompactHeaderBytes)
    return std::nullopt;
  CompactRecord record;
  std::memcpy(&record, bytes.data() + at_, sizeof record);
  const uint32_t captured = record.captured();
  if (!plausible(record, header) || captured > bytes.size() - at_ - kCompactHeaderBytes)
    return std::nullopt;
  packet::PacketView view;
  view.time_ns = static_cast<int64_t>(record.time_ns);
  view.data = bytes.subspan(at_ + kCompactHeaderBytes, captured);
  view.original_length = record.original();
  view.interface = compact_interface(record.interface());
  view.direction = static_cast<packet::Direction>(record.direction());
  view.reception = static_cast<packet::Reception>(record.reception());
  at_ += kCompactHeaderBytes + captured;
  return view;
}

void SegmentRunReader::use_table(Table table) {
  if (!std::exchange(table_lost_, false) && table == table_) return;
  table_ = std::move(table);
  positions_.assign(table_.size(), std::nullopt);
  indexes_.clear();
}

uint32_t SegmentRunReader::use(const packet::Interface& interface) {
  const auto found = std::find(used_.begin(), used_.end(), interface);
  if (found != used_.end()) return static_cast<uint32_t>(found - used_.begin());
  used_.push_back(interface);
  return static_cast<uint32_t>(used_.size() - 1);
}

void SegmentRunReader::lose_table() {
  behind_.reset();
  if (std::exchange(table_lost_, true)) return;
  before_ = std::move(table_);
  table_.clear();
  positions_.clear();
  indexes_.clear();
}

const SegmentRunReader::Table& SegmentRunReader::table_behind() {
  if (!behind_) behind_ = source_.table_behind ? source_.table_behind(offset_) : Table();
  return *behind_;
}

const packet::Interface* SegmentRunReader::around(const std::function<const packet::Interface*(const Table&)>& find) {
  const auto *const before = find(before_), *const behind = find(table_behind());
  const bool sure = before != nullptr && behind != nullptr && *before == *behind;
  doubtful_ = doubtful_ || !sure;
  if (sure || behind == nullptr) return before;
  return before == nullptr ? behind : nullptr;
}

uint32_t SegmentRunReader::compact_interface(uint32_t position) {
  if (position >= table_.size()) {
    const auto place = [&](const Table& table) { return position < table.size() ? &table[position] : nullptr; };
    if (const auto* const known = table_lost_ ? around(place) : nullptr) return use(*known);
    // Its table is lost; the packet is not.
    packet::Interface unknown;
    unknown.index = position;
    unknown.name = fmt::format("unknown-{}", position);
    return use(unknown);
  }
  auto& known = positions_[position];
  if (!known) known = use(table_[position]);
  return *known;
}

uint32_t SegmentRunReader::kernel_interface(uint32_t index, uint16_t hardware_type) {
  const auto known = indexes_.find(index);
  if (known != indexes_.end()) return known->second;
  const auto listed = [&](const Table& table) -> const packet::Interface* {
    const auto at = std::find_if(table.begin(), table.end(), [&](const auto& one) { return one.index == index; });
    return at == table.end() ? nullptr : &*at;
  };
  packet::Interface unlisted;
  const packet::Interface* interface = table_lost_ ? around(listed) : listed(table_);
  if (interface == nullptr) {
    // Its table is lost, or it came and went between two looks at the interfaces.
    unlisted.index = index;
    unlisted.name = fmt::format("if{}", index);
    unlisted.link_type = packet::link_type_of_hardware(hardware_type);
    interface = &unlisted;
  }
  const uint32_t position = use(*interface);
  if (table_lost_) return position;  // each block tells that
  indexes_.emplace(index, position);
  return position;
}

}  // namespace lookback::store
