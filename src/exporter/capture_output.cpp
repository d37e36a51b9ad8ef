#include "exporter/capture_output.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "exporter/bytes.hpp"
#include "exporter/interface_texts.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/base/text.hpp"
#include "lookback/base/version.hpp"
#include "lookback/packet/pcapng.hpp"

namespace lookback::exporter {

namespace {

constexpr size_t kBufferBytes = 1 << 20;
/// Runs of records from here on go to the sink without a copy.
constexpr size_t kDirectBytes = 256 << 10;
constexpr uint32_t kPcapSnaplen = 262144;  // the most that readers of classic pcap take
constexpr size_t kLongestComment = 16 << 10;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

void append_option(packet::Buffer& out, uint16_t code, std::string_view text) {
  text = text.substr(0, kLongestComment);
  const size_t at = out.size();
  const size_t padded = (text.size() + 3) & ~size_t{3};
  out.resize(at + 4 + padded);
  store(out.data() + at, code);
  store(out.data() + at + 2, static_cast<uint16_t>(text.size()));
  std::memcpy(out.data() + at + 4, text.data(), text.size());
}

}  // namespace

CaptureOutput::CaptureOutput(const Plan& plan, const archive::Manifest& manifest, const Sink& sink,
                             Attribution* attribution)
    : plan_(plan),
      manifest_(manifest),
      sink_(sink),
      attribution_(attribution),
      buffer_(kBufferBytes),
      next_gap_(plan.nodes.size()) {
  for (const PlannedNode& node : plan.nodes) {
    next_gap_ns_.push_back(node.gaps.empty() || plan.format == Format::pcap
                               ? kNever
                               : node.gaps.front().written_end_ns);
  }
}

std::string CaptureOutput::told(const PlannedNode& node, const PlannedGap& gap) const {
  return fmt::format("lookback: node {} {}", node.entry->name, describe_gap(plan_, node, gap.gap));
}

std::string CaptureOutput::section_comment() const {
  std::string comment =
      fmt::format("Lookback snapshot {}, {} to {}", manifest_.name,
                  format_time(plan_.window.from_ns), format_time(plan_.window.to_ns));
  if (plan_.align_clocks) comment += ", times corrected to the hub's clock";
  if (plan_.dedup) comment += ", copies seen on further interfaces left out";
  if (!plan_.interfaces->filter().empty()) comment += ", filter: " + plan_.interfaces->filter();
  if (!plan_.processes.empty()) comment += ", only " + plan_.processes;
  if (plan_.snaplen != 0) comment += fmt::format(", packets cut at {} bytes", plan_.snaplen);
  for (const PlannedNode& node : plan_.nodes) {
    const std::string& origin = node.entry->origin;
    if (origin.empty() || comment.size() + origin.size() > kLongestComment / 2) continue;
    comment += fmt::format("\nnode {} was captured by: {}", node.entry->name, origin);
  }
  std::vector<std::string> lines = plan_.warnings;
  // Gaps of the others stand with their interfaces.
  for (const PlannedNode& node : plan_.nodes) {
    if (!node.entry->interfaces.empty()) continue;
    for (const PlannedGap& gap : node.gaps) lines.push_back(told(node, gap));
  }
  for (const std::string& line : lines) {
    if (comment.size() + line.size() > kLongestComment) return comment + "\n…";
    comment += "\n" + line;
  }
  return comment;
}

Result<> CaptureOutput::begin() {
  packet::Buffer header;
  if (plan_.format == Format::pcap) {
    link_type_ = packet::link_type::kEthernet;
    for (uint32_t number = 0; number < plan_.interfaces->size(); ++number) {
      const OutputInterface& interface = plan_.interfaces->at(number);
      if (interface.filter) link_type_ = interface.link_type;
    }
    packet::append_pcap_header(
        header, link_type_, plan_.snaplen == 0 ? kPcapSnaplen : std::min(plan_.snaplen, kPcapSnaplen),
        plan_.microseconds ? packet::PcapStamps::microseconds : packet::PcapStamps::nanoseconds);
    interfaces_.resize(plan_.interfaces->size());
    return write_records(header);
  }
  packet::append_section_header(header, fmt::format("lookback {}", version()), section_comment());
  TRY(write_records(header));
  return write_interfaces();
}

Result<> CaptureOutput::write_interfaces() {
  packet::Buffer blocks;
  for (size_t number = interfaces_.size(); number < plan_.interfaces->size(); ++number) {
    const OutputInterface& interface = plan_.interfaces->at(static_cast<uint32_t>(number));
    // The filter of a recording node is not known; the export's own stands in the section comment.
    packet::append_interface(
        blocks, {.name = interface.shown_name,
                 .description = describe_interface(
                     plan_.nodes[interface.node].entry->name,
                     interface.entry != nullptr ? interface.entry->description : std::string()),
                 .link_type = interface.link_type,
                 .snaplen = plan_.snaplen,
                 .filter = interface.entry != nullptr ? interface.entry->filter : std::string(),
                 .os = interface.entry != nullptr ? interface.entry->os : std::string(),
                 .same_name = interface.same_name,
                 .options = interface.entry != nullptr ? options_from_text(interface.entry->options)
                                                       : packet::Buffer()});
    interfaces_.emplace_back();
  }
  return blocks.empty() ? Result<>{} : write_records(blocks);
}

Result<> CaptureOutput::admit(const FrameBatch& batch) {
  for (const uint32_t number : batch.interfaces) {
    if (plan_.format == Format::pcap) {
      const OutputInterface& interface = plan_.interfaces->at(number);
      if (interface.link_type != link_type_) {
        return fail(ErrorKind::corrupt,
                    "interface {} has packets of {}, which the manifest does not say: write pcapng "
                    "instead of pcap",
                    interface.shown_name, link_type_name(interface.link_type));
      }
      interfaces_.resize(std::max<size_t>(interfaces_.size(), number + 1));
    } else if (number >= interfaces_.size()) {
      TRY(write_interfaces());
    }
    interfaces_[number].packets = true;
  }
  return plan_.format == Format::pcapng ? write_new_processes() : Result<>{};
}

Result<> CaptureOutput::write_new_processes() {
  packet::Buffer blocks;
  plan_.process_blocks->take_new(blocks);
  return blocks.empty() ? Result<>{} : write_records(blocks);
}

Result<> CaptureOutput::write(const FrameBatch& batch, uint32_t node, size_t first, size_t last) {
  packets_ += last - first;
  const auto records = [&](size_t from, size_t to) {
    const uint32_t start = batch.start_of(from);
    return std::span(batch.bytes).subspan(start, batch.packets[to - 1].end - start);
  };
  if (attribution_ != nullptr && attribution_->knows(node)) {
    for (size_t packet = first; packet < last; ++packet) TRY(write_annotated(batch, node, packet));
    return {};
  }
  if (batch.packets[last - 1].time_ns < next_gap_ns_[node] && plan_.snaplen == 0)
    return write_records(records(first, last));

  for (size_t packet = first; packet < last; ++packet) {
    const int64_t time = batch.packets[packet].time_ns;
    const auto record = cut(records(packet, packet + 1));
    if (time < next_gap_ns_[node]) {
      TRY(write_records(record));
      continue;
    }
    comments_.clear();
    take_gap_comments(node, time);
    TRY(write_with_options(record, {}));
  }
  return {};
}

/// The record with no more data than the plan's snaplen. Where it is longer a copy, valid until the
/// next call: the batch's own bytes may still be compared with copies of the packet.
std::span<const std::byte> CaptureOutput::cut(std::span<const std::byte> record) {
  const bool classic = plan_.format == Format::pcap;
  const uint32_t captured_at = classic ? pcap_record::kCaptured : epb::kCaptured;
  const auto captured = load<uint32_t>(record.data() + captured_at);
  if (plan_.snaplen == 0 || captured <= plan_.snaplen) return record;
  const size_t data = classic ? pcap_record::kData : epb::kData;
  cut_.assign(record.begin(), record.begin() + static_cast<ptrdiff_t>(data + plan_.snaplen));
  store(cut_.data() + captured_at, plan_.snaplen);
  if (classic) return cut_;
  const auto padded = [](size_t bytes) { return (bytes + 3) & ~size_t{3}; };
  cut_.resize(data + padded(plan_.snaplen));
  const auto options = record.subspan(data + padded(captured));  // and the length behind them
  cut_.insert(cut_.end(), options.begin(), options.end());
  const auto length = static_cast<uint32_t>(cut_.size());
  store(cut_.data() + epb::kLength, length);
  store(cut_.data() + length - sizeof length, length);
  return cut_;
}

void CaptureOutput::take_gap_comments(uint32_t node, int64_t time_ns) {
  const std::vector<PlannedGap>& gaps = plan_.nodes[node].gaps;
  size_t& next = next_gap_[node];
  for (; next < gaps.size() && gaps[next].written_end_ns <= time_ns; ++next) {
    comments_.push_back(told(plan_.nodes[node], gaps[next]));
  }
  next_gap_ns_[node] = next == gaps.size() ? kNever : gaps[next].written_end_ns;
}

Result<> CaptureOutput::write_annotated(const FrameBatch& batch, uint32_t node, size_t packet) {
  const PacketRef& ref = batch.packets[packet];
  TRY_ASSIGN(const PacketOwners owners,
             attribution_->of(node, ref.interface, batch.digests[packet], ref.time_ns));
  comments_.clear();
  if (ref.time_ns >= next_gap_ns_[node]) take_gap_comments(node, ref.time_ns);
  if (owners.told != nullptr && !*owners.told) {
    *owners.told = true;
    std::string& comment = comments_.emplace_back("lookback: ");
    if (owners.sender != nullptr) comment += "from " + printable(describe(*owners.sender));
    if (owners.receiver != nullptr) {
      comment += owners.sender != nullptr ? ", to " : "to ";
      comment += printable(describe(*owners.receiver));
    }
  }
  const uint32_t start = batch.start_of(packet);
  const auto record = cut(std::span(batch.bytes).subspan(start, ref.end - start));
  if (comments_.empty() && owners.pid == 0) return write_records(record);
  if (owners.mark != nullptr && *owners.mark == 0) {
    TRY_ASSIGN(const uint32_t number, process_block(owners, node));
    *owners.mark = number + 1ull;
  }
  return write_with_options(record, owners);
}

/// The number of the block about the process that a packet bears; it is written where it is new.
/// Neither block nor option is in the draft of pcapng, whose own process option Wireshark 4.0 does
/// not know. They are what Wireshark reads: as process of the packets from 4.7 on, before that in
/// its view of the file's blocks. Readers that know neither pass them over.
Result<uint32_t> CaptureOutput::process_block(const PacketOwners& owners, uint32_t node) {
  const context::Owner& owner = owners.sender != nullptr ? *owners.sender : *owners.receiver;
  const uint32_t number = plan_.process_blocks->number_of(node, {owner.pid, owner.comm});
  TRY(write_new_processes());
  return number;
}

/// The same block with comments and the process before its other options.
Result<> CaptureOutput::write_with_options(std::span<const std::byte> block,
                                           const PacketOwners& owners) {
  const auto captured = load<uint32_t>(block.data() + epb::kCaptured);
  const size_t options = epb::kData + ((size_t{captured} + 3) & ~size_t{3});
  block_.assign(block.begin(), block.begin() + static_cast<ptrdiff_t>(options));
  for (const std::string& comment : comments_) append_option(block_, packet::kOptComment, comment);
  if (owners.pid != 0) {
    struct ProcessOptions {
      uint16_t code, length;
      uint32_t process, thread;
      uint16_t block_code, block_length;
      uint32_t block;
    };
    static_assert(sizeof(ProcessOptions) == 20);
    const size_t at = block_.size();
    block_.resize(at + sizeof(ProcessOptions));
    store(block_.data() + at,
          ProcessOptions{packet::kEpbProcess, 8, owners.pid, owners.tid, packet::kEpbProcessBlock,
                         4, static_cast<uint32_t>(*owners.mark - 1)});
  }
  const auto rest = block.subspan(options, block.size() - options - 4);
  block_.insert(block_.end(), rest.begin(), rest.end());
  if (rest.empty()) block_.resize(block_.size() + 4);  // opt_endofopt
  const auto length = static_cast<uint32_t>(block_.size() + 4);
  block_.resize(length);
  store(block_.data() + 4, length);
  store(block_.data() + length - 4, length);
  return write_records(block_);
}

Result<> CaptureOutput::write_records(std::span<const std::byte> records) {
  bytes_ += records.size();
  if (records.size() >= kDirectBytes) {
    TRY(flush());
    return sink_(records);
  }
  if (records.size() > buffer_.size() - filled_) TRY(flush());
  std::memcpy(buffer_.data() + filled_, records.data(), records.size());
  filled_ += records.size();
  return {};
}

Result<> CaptureOutput::flush() {
  if (filled_ == 0) return {};
  const size_t bytes = std::exchange(filled_, 0);
  return sink_(std::span(buffer_).first(bytes));
}

/// One block for each interface that has packets, and for the first of a node with gaps. A drop
/// count stands where it is known for the interface: none on a node without gaps, all of them where
/// the node has one interface.
Result<> CaptureOutput::write_statistics() {
  std::vector<uint32_t> first_of(plan_.nodes.size(), UINT32_MAX),
      interfaces_of(plan_.nodes.size(), 0);
  for (uint32_t number = 0; number < interfaces_.size(); ++number) {
    const uint32_t node = plan_.interfaces->at(number).node;
    first_of[node] = std::min(first_of[node], number);
    ++interfaces_of[node];
  }
  packet::Buffer blocks;
  for (uint32_t number = 0; number < interfaces_.size(); ++number) {
    const uint32_t node_number = plan_.interfaces->at(number).node;
    const PlannedNode& node = plan_.nodes[node_number];
    const bool tells_gaps = !node.gaps.empty() && first_of[node_number] == number;
    const Used& used = interfaces_[number];
    if ((!used.packets && !tells_gaps) || node.accepted.empty()) continue;

    packet::PcapngStatistics statistics;
    statistics.interface = number;
    statistics.start_ns =
        std::max<int64_t>(0, plan_.written_time(node, node.accepted.front().from_ns));
    statistics.end_ns = std::max<int64_t>(0, plan_.written_time(node, node.accepted.back().to_ns));
    statistics.time_ns = statistics.end_ns;
    statistics.dropped = known_losses(plan_.interfaces->at(number));
    if (tells_gaps) {
      constexpr size_t kMost = 100;
      for (size_t i = 0; i < std::min(kMost, node.gaps.size()); ++i) {
        if (i != 0) statistics.comment += '\n';
        statistics.comment += told(node, node.gaps[i]);
      }
      if (node.gaps.size() > kMost)
        statistics.comment += fmt::format("\nand {} more gaps", node.gaps.size() - kMost);
    }
    if (used.copies > 0) {
      statistics.comment += fmt::format(
          "{}lookback: {} packets of this interface left out as copies of packets on others",
          statistics.comment.empty() ? "" : "\n", used.copies);
    }
    packet::append_statistics(blocks, statistics);
  }
  return blocks.empty() ? Result<>{} : write_records(blocks);
}

/// A loss of nothing is a claim as well, so it is made where losses were counted, and for this window.
std::optional<uint64_t> CaptureOutput::known_losses(const OutputInterface& interface) const {
  const PlannedNode& node = plan_.nodes[interface.node];
  if (interface.entry != nullptr && interface.entry->dropped) {
    // A capture file counts from its start to its end.
    const std::optional<TimeWindow>& coverage = node.entry->coverage;
    const bool whole = coverage && std::any_of(node.accepted.begin(), node.accepted.end(), [&](const TimeWindow& window) {
      return window.from_ns <= coverage->from_ns && window.to_ns >= coverage->to_ns;
    });
    return whole ? interface.entry->dropped : std::nullopt;
  }
  if (node.entry->status != "complete" || !node.entry->losses_counted) return std::nullopt;
  uint64_t lost = 0;
  for (const PlannedGap& gap : node.gaps) {
    if (gap.gap.packets == 0 && costs_packets(gap.gap.reason)) return std::nullopt;
    lost += gap.gap.packets;
  }
  if (lost != 0 && node.entry->interfaces.size() != 1) return std::nullopt;
  return lost;
}

Result<> CaptureOutput::finish() {
  if (plan_.format == Format::pcapng) TRY(write_statistics());
  return flush();
}

}  // namespace lookback::exporter
