#include "exporter/frame_scanner.hpp"

#include <algorithm>
#include <numeric>

#include "exporter/bytes.hpp"
#include "exporter/deduplicator.hpp"
#include "lookback/packet/limits.hpp"
#include "lookback/packet/section_walker.hpp"

namespace lookback::exporter {

Result<MemberInterfaces> read_member_interfaces(std::span<const std::byte> head, uint32_t node,
                                                const Plan& plan) {
  packet::SectionWalker walker(head);
  packet::RawPacket first_packet;
  if (!walker.next(first_packet) && walker.error()) return tl::make_unexpected(*walker.error());
  const std::string& node_name = plan.nodes[node].entry->name;
  MemberInterfaces member;
  member.table.reserve(walker.interfaces().size());
  for (const packet::PcapngInterface& described : walker.interfaces()) {
    MemberInterface& interface = member.table.emplace_back();
    interface.link_type = described.link_type;
    interface.output = plan.interfaces->resolve(node, node_name, described.name,
                                                described.link_type, described.same_name);
    if (interface.output != InterfaceTable::kNotExported)
      interface.filter = plan.interfaces->at(interface.output).filter.get();
  }
  if (plan.format == Format::pcapng) {
    for (const packet::PcapngProcess& process : walker.processes())
      member.processes.push_back(plan.process_blocks->number_of(node, process));
  }
  return member;
}

namespace {

/// Puts the number of the output's process block in place of the member's.
Result<> renumber_process(std::byte* block, size_t size, uint32_t captured,
                          const std::vector<uint32_t>& numbers) {
  const size_t options = epb::kData + ((size_t{captured} + 3) & ~size_t{3});
  std::byte* const number = packet::SectionWalker::find_process(
      std::span(block, size).subspan(options, size - options - sizeof(uint32_t)));
  if (number == nullptr) return {};
  const auto process = load<uint32_t>(number);
  if (process >= numbers.size())
    return fail(ErrorKind::corrupt, "a packet of a process that was not described");
  store(number, numbers[process]);
  return {};
}

}  // namespace

bool FrameScanner::wanted(const MemberInterface& interface, std::span<const std::byte> data,
                          uint32_t original_length, packet::UnreadCounts& unread) const {
  if (!interface.filter->matches_all() && !interface.filter->matches(data, original_length))
    return false;
  const bool all = plan_.networks.keeps_all();
  const auto answer = (all ? plan_.recorded_networks : plan_.networks).ask(interface.link_type, data);
  if (answer.unread != packet::Unread::nothing) ++unread[static_cast<size_t>(answer.unread)];
  return all || answer.keep;
}

/// Puts the chosen records together in place. Records that stand back to back already are moved as
/// one run, or not at all.
class RecordWriter {
 public:
  RecordWriter(std::byte* bytes, const Plan& plan)
      : bytes_(bytes),
        format_(plan.format),
        fraction_ns_(plan.microseconds ? 1000 : 1) {}

  /// The block at `offset`; returns the end of its record in the outcome.
  uint32_t add(uint32_t offset, uint32_t block_bytes, uint32_t captured) {
    if (end_ == kNowhere) begin_ = end_ = run_begin_ = run_end_ = offset;
    if (format_ == Format::pcap) {
      const uint32_t record = pcap_record::kData + captured;
      to_pcap_record(bytes_ + offset, bytes_ + end_, captured);
      return end_ += record;
    }
    if (offset != run_end_) {
      flush();
      run_begin_ = offset;
    }
    run_end_ = offset + block_bytes;
    return end_ += block_bytes;
  }

  void flush() {
    const uint32_t length = run_end_ - run_begin_;
    const uint32_t to = end_ - length;
    if (format_ == Format::pcapng && length != 0 && to != run_begin_) {
      std::memmove(bytes_ + to, bytes_ + run_begin_, length);
    }
  }
  [[nodiscard]] uint32_t begin() const { return end_ == kNowhere ? 0 : begin_; }

 private:
  static constexpr uint32_t kNowhere = UINT32_MAX;

  void to_pcap_record(const std::byte* block, std::byte* record, uint32_t captured) const {
    const auto time = uint64_t{load<uint32_t>(block + epb::kTimeHigh)} << 32 |
                      load<uint32_t>(block + epb::kTimeLow);
    const uint32_t fields[4] = {static_cast<uint32_t>(time / kNsPerSecond),
                                static_cast<uint32_t>(time % kNsPerSecond) / fraction_ns_, captured,
                                load<uint32_t>(block + epb::kOriginal)};
    std::memmove(record + pcap_record::kData, block + epb::kData, captured);
    std::memcpy(record, fields, sizeof fields);
  }

  std::byte* bytes_;
  Format format_;
  uint32_t fraction_ns_;
  uint32_t begin_ = 0, end_ = kNowhere;
  uint32_t run_begin_ = 0, run_end_ = 0;
};

/// Shortens an enhanced packet block in place to the longest packet that readers take; returns its new size.
uint32_t cut_block(std::byte* block, uint32_t bytes, uint32_t captured) {
  constexpr uint32_t kTotal = 4, kTrailer = 4;
  static_assert(packet::kMaxCapturedBytes % 4 == 0);
  const uint32_t options = epb::kData + (captured + 3) / 4 * 4;
  const uint32_t option_bytes = bytes - kTrailer - options;
  const uint32_t total = epb::kData + packet::kMaxCapturedBytes + option_bytes + kTrailer;
  std::memmove(block + epb::kData + packet::kMaxCapturedBytes, block + options, option_bytes);
  store(block + epb::kCaptured, packet::kMaxCapturedBytes);
  store(block + kTotal, total);
  store(block + total - kTrailer, total);
  return total;
}

Result<> FrameScanner::scan(const FrameUnit& unit, const MemberInterfaces& interfaces,
                            FrameBatch& batch) {
  batch.packets.clear();
  batch.keys.clear();
  batch.digests.clear();
  batch.fragments.clear();
  batch.interfaces.clear();
  batch.packets_read = 0;
  batch.outside_bounds = false;
  batch.unread = {};
  batch.cut_packets = 0;
  const PlannedNode& node = plan_.nodes[unit.node];
  const archive::FrameEntry& frame = unit.member->frames[unit.frame];
  std::byte* const bytes = batch.bytes.data();
  const std::span<const std::byte> content = batch.bytes;
  batch.packets.reserve(std::min<uint64_t>(frame.packets, content.size() / epb::kSmallest));
  const bool restamp = plan_.align_clocks && !node.clock.is_identity();
  const bool need_hub_time = restamp || plan_.dedup;
  TimeWindow accepted = node.accepted.front();
  ClockMap::Piece clock = node.clock.piece_at(frame.first_ns);
  RecordWriter records(bytes, plan_);
  std::vector<bool> seen(interfaces.table.size());
  bool in_order = true;
  int64_t last_time = std::numeric_limits<int64_t>::min();
  uint32_t last_interface = 0;

  auto walker = unit.frame == 0 ? packet::SectionWalker(content)
                                : packet::SectionWalker(content, interfaces.table.size());
  for (packet::RawPacket packet; walker.next(packet);) {
    __builtin_prefetch(packet.block.data() + packet.block.size() + epb::kData);
    const packet::PacketView& view = packet.view;
    if (view.interface >= interfaces.table.size()) {
      return fail(ErrorKind::corrupt, "an interface is described behind the first packet");
    }
    // What the export has of memory is counted by what the manifest says.
    if (++batch.packets_read > frame.packets)
      return fail(ErrorKind::corrupt, "more packets than the {} that are declared", frame.packets);
    const MemberInterface& interface = interfaces.table[view.interface];
    const int64_t node_time = view.time_ns;
    if (!accepted.contains(node_time)) {
      const auto other =
          std::find_if(node.accepted.begin(), node.accepted.end(),
                       [&](const TimeWindow& window) { return window.contains(node_time); });
      if (other == node.accepted.end()) continue;
      accepted = *other;
    }
    if (interface.filter == nullptr ||
        !wanted(interface, view.data, view.original_length, batch.unread))
      continue;

    const auto offset = static_cast<uint32_t>(packet.block.data() - bytes);
    std::byte* const block = bytes + offset;
    auto block_bytes = static_cast<uint32_t>(packet.block.size());
    std::span<const std::byte> data = view.data;
    if (data.size() >= packet::kMaxCapturedBytes && view.original_length > packet::kMaxCapturedBytes) {
      ++batch.cut_packets;
      if (data.size() > packet::kMaxCapturedBytes)
        block_bytes = cut_block(block, block_bytes, static_cast<uint32_t>(data.size()));
      data = data.first(packet::kMaxCapturedBytes);
    }

    int64_t hub_time = node_time;
    if (need_hub_time) {
      if (node_time < clock.start_ns || node_time >= clock.end_ns)
        clock = node.clock.piece_at(node_time);
      hub_time = saturating_sub(node_time, clock.offset_ns);
    }
    const int64_t time = restamp ? std::max<int64_t>(0, hub_time) : node_time;
    if (plan_.dedup) {
      DedupKey& key =
          batch.keys.emplace_back(make_dedup_key(*hash_, interface.link_type, data));
      key.hub_ns = hub_time;
      key.error_ns = node.clock.measured() ? clock.error_ns : kUnmeasuredErrorNs;
    }
    if (plan_.digests) {
      packet::PacketView kept = view;
      kept.data = data;
      batch.digests.push_back(digest_of(interface.link_type, kept, batch.fragments));
    }
    store(block + epb::kInterface, interface.output);
    if (!interfaces.processes.empty()) {
      TRY(renumber_process(block, packet.block.size(), static_cast<uint32_t>(view.data.size()),
                           interfaces.processes));
    }
    if (restamp) {
      store(block + epb::kTimeHigh, static_cast<uint32_t>(static_cast<uint64_t>(time) >> 32));
      store(block + epb::kTimeLow, static_cast<uint32_t>(time));
    }
    if (time < last_time || (time == last_time && interface.output < last_interface))
      in_order = false;
    last_time = time;
    last_interface = interface.output;
    if (time < unit.lower_ns || node_time > frame.last_ns) batch.outside_bounds = true;
    if (!seen[view.interface]) {
      seen[view.interface] = true;
      batch.interfaces.push_back(interface.output);
    }
    const uint32_t end = records.add(offset, block_bytes, static_cast<uint32_t>(data.size()));
    batch.packets.push_back({time, end, interface.output});
  }
  if (walker.error()) return tl::make_unexpected(*walker.error());
  records.flush();
  batch.begin = records.begin();
  if (!in_order) sort(batch);
  return {};
}

void FrameScanner::sort(FrameBatch& batch) {
  order_.resize(batch.packets.size());
  std::iota(order_.begin(), order_.end(), 0U);
  std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    const PacketRef &left = batch.packets[a], &right = batch.packets[b];
    return left.time_ns != right.time_ns ? left.time_ns < right.time_ns
                                         : left.interface < right.interface;
  });
  sorted_.bytes.resize(std::max(sorted_.bytes.size(), batch.bytes.size()));
  sorted_.packets.clear();
  sorted_.keys.clear();
  sorted_.digests.clear();
  uint32_t end = 0;
  for (const uint32_t packet : order_) {
    const uint32_t start = batch.start_of(packet);
    const uint32_t size = batch.packets[packet].end - start;
    std::memcpy(sorted_.bytes.data() + end, batch.bytes.data() + start, size);
    end += size;
    sorted_.packets.push_back(
        {batch.packets[packet].time_ns, end, batch.packets[packet].interface});
    if (!batch.keys.empty()) sorted_.keys.push_back(batch.keys[packet]);
    if (!batch.digests.empty()) sorted_.digests.push_back(batch.digests[packet]);
  }
  batch.bytes.swap(sorted_.bytes);
  batch.packets.swap(sorted_.packets);
  batch.keys.swap(sorted_.keys);
  batch.digests.swap(sorted_.digests);
  batch.begin = 0;
}

}  // namespace lookback::exporter
