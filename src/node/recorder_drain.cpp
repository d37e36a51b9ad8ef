// The recorder's drainer thread: ring blocks become jobs of the writer.

#include <algorithm>

#include "lookback/base/log.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/kernel_block.hpp"
#include "node/recorder.hpp"

namespace lookback::node {
namespace {

constexpr int kIdleMs = 250;
constexpr int64_t kTickNs = 200 * kNsPerMs;
// A killed daemon loses what is in a buffer: not more than this, and less where there is something worth a write.
constexpr int64_t kFlushAfterNs = 1000 * kNsPerMs, kFlushSmallAfterNs = 5000 * kNsPerMs;
constexpr size_t kWorthAWrite = 64 << 10;

// A block goes to disk as the kernel left it where that costs at most 6 % more than a pcap file of the same packets
// (16 bytes a packet): padding, kernel headers and the space in front counted.
constexpr uint32_t kWholeMinMean = 1200;  // bytes of ring a packet; below it is not worth looking closer
constexpr uint64_t kPcapRecordBytes = 16;

// Blocks that came after a drop may be on disk before its gap is: not for longer than the store allows for when the daemon is
// killed (a second).
constexpr int64_t kDropGapSilenceNs = 100 * kNsPerMs, kDropGapMaxNs = 500 * kNsPerMs;

constexpr size_t kPrefetchAhead = 2048, kCacheLine = 64;

constexpr uint32_t kMaxCaptured = store::kCompactMaxBytes - store::kVlanTagBytes;

packet::KernelBlockWalker walk(const capture::Block& block) {
  return {block.memory().first(block.used_bytes), block.first_packet, block.packets};
}

}  // namespace

void Recorder::drain() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    int timeout_ms = kIdleMs;
    if (current_ != nullptr && !current_->block.empty())
      timeout_ms = current_->block.payload_bytes() >= kWorthAWrite ? 20 : 100;
    if (auto stepped = drain_step(timeout_ms); !stepped) {
      fail_with(stepped.error());
      break;
    }
  }
  {
    const std::lock_guard lock(barrier_mutex_);
    refuses_barriers_ = true;
  }
  std::optional<int64_t> complete_ns;
  if (!failure()) {
    // The block that the kernel is filling is handed over after the retire timeout at the latest. What was stamped until now
    // is in it by then.
    std::this_thread::sleep_for(std::chrono::milliseconds(ring_.retire_timeout_ms() + 5) +
                                std::chrono::nanoseconds(capture::kMaxStampDelayNs));
    complete_ns = drain_what_is_ready();
  }
  check_drops();
  close_drop_gap();
  flush();
  Promises waiting;
  {
    const std::lock_guard lock(barrier_mutex_);
    waiting.swap(barriers_);
  }
  push(Seal{std::move(waiting), complete_ns});
}

Result<capture::Block> Recorder::next_block(int timeout_ms) {
  TRY_ASSIGN(capture::Block block, ring_.next(timeout_ms));
  // News of an interface precedes its first packet: after this the block's interfaces are known.
  TRY_ASSIGN(const bool changed, ring_.refresh_interfaces());
  if (changed) follow_interfaces();
  return block;
}

Result<> Recorder::drain_step(int timeout_ms) {
  const int64_t before_ns = clock_.realtime_ns();
  TRY_ASSIGN(capture::Block block, next_block(timeout_ms));
  all_taken_ns_.reset();
  if (block)
    take_block(std::move(block));
  else
    all_taken_ns_ = handed_over_at(before_ns);
  check_drops();
  if (clock_.monotonic_ns() >= next_second_ns_) every_second();
  serve_barriers();
  flush_if_due();
  if (const int64_t now = clock_.monotonic_ns(); now >= next_tick_ns_ && !tick_waits_.exchange(true)) {
    next_tick_ns_ = now + kTickNs;
    const bool all_pushed = (current_ == nullptr || current_->block.empty()) && !drop_gap_;
    push(Tick{all_pushed ? all_taken_ns_ : std::nullopt});
  }
  if (ring_error_) return tl::make_unexpected(*ring_error_);
  return {};
}

void Recorder::take_block(capture::Block block) {
  if (block.packets == 0) return;
  if (block.used_bytes >= whole_min_bytes_ && block.used_bytes / block.packets >= kWholeMinMean &&
      hand_over_whole(block))
    return;
  repack(block);
}

bool Recorder::hand_over_whole(capture::Block& block) {
  // To look at every packet would cost as much again as all the rest. Two of them, and the kernel's sums, tell enough.
  auto walker = walk(block);
  const auto first = walker.next(), second = walker.next();
  if (!first || !second) return false;
  const uint64_t ring_bytes = block.used_bytes - block.first_packet;
  const auto stride = static_cast<uint64_t>(second->view.data.data() - first->view.data.data());
  const uint64_t around = (stride - first->view.data.size()) * block.packets;
  const uint64_t captured = ring_bytes - std::min(ring_bytes, around);

  // The ring leaves room for the tags of a full block; one that is less full begins later.
  const uint32_t front = store::front_bytes(block.used_bytes);
  const uint32_t skipped =
      block.first_packet > front ? (block.first_packet - front) / kPageBytes * kPageBytes : 0;
  store::BlockInfo info;
  info.kind = store::BlockKind::kernel;
  info.used_bytes = block.used_bytes - skipped;
  info.first_packet = block.first_packet - skipped;
  info.packets = block.packets;
  // Not quite the lowest and the highest (processors do not queue in the order in which they stamp): the store allows for
  // that in kernel blocks. When the kernel opened the block says nothing, on a quiet link that was long ago.
  info.first_ns = std::min(first->view.time_ns, block.last_ns);
  info.last_ns = std::max(first->view.time_ns, block.last_ns);
  const uint64_t on_disk = in_pages(info.used_bytes);
  if (on_disk * 100 > (captured + kPcapRecordBytes * block.packets) * 106) return false;

  name_all_interfaces();
  flush();  // what came before stands before
  packets_.fetch_add(block.packets, std::memory_order_relaxed);
  bytes_.fetch_add(captured, std::memory_order_relaxed);
  whole_blocks_.fetch_add(1, std::memory_order_relaxed);
  push(WriteWhole{std::move(block), skipped, info});
  return true;
}

void Recorder::repack(const capture::Block& block) {
  uint64_t captured = 0;
  uint32_t packets = 0;
  auto walker = walk(block);
  const std::byte* asked_for = block.memory().data() + block.first_packet;
  const std::byte* const end = block.memory().data() + block.used_bytes;
  while (auto packet = walker.next()) {
    auto& view = packet->view;
    // Packets follow one another in memory: what comes a little later is asked for now.
    for (const std::byte* const until = std::min(view.data.data() + view.data.size() + kPrefetchAhead, end);
         asked_for < until; asked_for += kCacheLine)
      __builtin_prefetch(asked_for);
    ++packets;
    captured += view.data.size();
    uint32_t position = positions_.find(view.interface);
    if (position == InterfacePositions::kUnknown)
      position = position_of(view.interface, packet->hardware_type);
    view.interface = position;
    if (packet::may_need_link_header(packet->hardware_type))
      packet::put_link_header(*packet, packet::link_type_of_hardware(packet->hardware_type), block.memory());
    // No kernel makes packets this long; should one, they are cut like by a snap length.
    if (view.data.size() > kMaxCaptured) view.data = view.data.first(kMaxCaptured);
    const store::VlanTag tag{packet->vlan_tpid, packet->vlan_tci};
    const store::VlanTag* const put_back = packet->has_vlan ? &tag : nullptr;
    if (current_ == nullptr) current_ = wait_for_buffer();
    if (!current_->block.append(view, put_back)) {
      flush();
      current_ = wait_for_buffer();
      LOOKBACK_CHECK(current_->block.append(view, put_back));
    }
    if (current_->block.packets() == 1) current_->begun_ns = clock_.monotonic_ns();
  }
  packets_.fetch_add(packets, std::memory_order_relaxed);
  bytes_.fetch_add(captured, std::memory_order_relaxed);
  if (packets < block.packets) {
    log_warning("a block of the kernel's ring ends early: {} of {} packets could be read", packets,
                block.packets);
    push(Gap{block.first_ns - capture::kMaxStampDelayNs, block.last_ns + capture::kMaxStampDelayNs,
                    block.packets - packets, to_string(GapReason::damaged_ring_block)});
    dropped_.fetch_add(block.packets - packets, std::memory_order_relaxed);
  }
}

uint32_t Recorder::position_of(uint32_t index, uint16_t hardware_type) {
  // News of an interface precedes its first packet, but may not have been read yet.
  if (auto refreshed = ring_.refresh_interfaces(); !refreshed) ring_error_ = refreshed.error();
  follow_interfaces();
  if (const uint32_t known = positions_.find(index); known != InterfacePositions::kUnknown)
    return known;
  packet::Interface interface;
  interface.index = index;
  interface.name = fmt::format("if{}", index);
  interface.link_type = packet::link_type_of_hardware(hardware_type);
  for (const auto& candidate : ring_.interfaces())
    if (candidate.index == index) interface = candidate;
  if (positions_.full()) {
    log_warning("more interfaces than can be told apart: packets of {} are shown on the first one",
                interface.name);
    return 0;
  }
  const uint32_t position = positions_.add(std::move(interface));
  // Positions given out before stay as they are, so a buffer that was begun may be written under the longer table.
  push(positions_.table());
  return position;
}

void Recorder::name_all_interfaces() {
  if (all_named_) return;
  all_named_ = true;
  bool more = false;
  for (const auto& interface : ring_.interfaces()) {
    if (positions_.find(interface.index) != InterfacePositions::kUnknown || positions_.full()) continue;
    positions_.add(interface);
    more = true;
  }
  if (!more) return;
  positions_.update(ring_.interfaces());  // of two entries with one index, the later
  push(positions_.table());
}

void Recorder::follow_interfaces() {
  all_named_ = false;
  const auto current = ring_.interfaces();
  if (!positions_.differs(current)) return;
  flush();  // under the table that it was made for
  positions_.update(current);
  push(positions_.table());
}

Recorder::Buffer* Recorder::wait_for_buffer() {
  std::unique_lock lock(free_mutex_);
  free_ready_.wait(lock, [&] { return !free_.empty() || !free_spare_.empty(); });
  auto& from = free_.empty() ? free_spare_ : free_;
  Buffer* const buffer = from.back();
  from.pop_back();
  return buffer;
}

void Recorder::flush() {
  if (current_ == nullptr || current_->block.empty()) return;
  compact_blocks_.fetch_add(1, std::memory_order_relaxed);
  push(WriteCompact{std::exchange(current_, nullptr)});
}

void Recorder::flush_if_due() {
  if (current_ == nullptr || current_->block.empty()) return;
  const int64_t age = clock_.monotonic_ns() - current_->begun_ns;
  if (age >= kFlushSmallAfterNs ||
      (age >= kFlushAfterNs && current_->block.payload_bytes() >= kWorthAWrite))
    flush();
}

void Recorder::check_drops() {
  const int64_t now = clock_.realtime_ns(), monotonic = clock_.monotonic_ns();
  const auto drops = ring_.take_drops();
  stalls_.fetch_add(drops.stalls, std::memory_order_relaxed);
  if (drops.dropped != 0) {
    dropped_.fetch_add(drops.dropped, std::memory_order_relaxed);
    if (!drop_gap_)
      drop_gap_ = Gap{drops_checked_ns_ - capture::kMaxStampDelayNs, now, 0, to_string(GapReason::ring_full)};
    drop_gap_->packets += drops.dropped;
    drop_gap_->end_ns = std::max(drop_gap_->end_ns, now);
    last_drop_monotonic_ns_ = monotonic;
  }
  drops_checked_ns_ = now;
  if (drop_gap_ && (monotonic - last_drop_monotonic_ns_ >= kDropGapSilenceNs ||
                    drop_gap_->end_ns - drop_gap_->start_ns >= kDropGapMaxNs))
    close_drop_gap();
}

void Recorder::close_drop_gap() {
  if (!drop_gap_) return;
  // An interval turned round by a clock step still has to hold something.
  drop_gap_->end_ns = std::max(drop_gap_->end_ns, drop_gap_->start_ns + 1);
  log_warning("the kernel's ring was full: {} packets lost", drop_gap_->packets);
  push(std::move(*drop_gap_));
  drop_gap_.reset();
}

void Recorder::every_second() {
  const int64_t now = clock_.monotonic_ns();
  next_second_ns_ = now + kNsPerSecond;
  meter_.add(now, packets_.load(std::memory_order_relaxed), bytes_.load(std::memory_order_relaxed),
             disk_bytes_.load(std::memory_order_relaxed));
  const std::lock_guard lock(clock_mutex_);
  note_clock_step();
}

int64_t Recorder::handed_over_at(int64_t now_ns) const {
  return now_ns - ring_.retire_timeout_ms() * kNsPerMs - capture::kMaxStampDelayNs;
}

std::optional<int64_t> Recorder::drain_what_is_ready() {
  const int64_t begun_ns = clock_.realtime_ns();
  // Under full load there is always one more: no more than the ring had when we began.
  const size_t limit = ring_.memory().size() / std::max<uint32_t>(ring_.block_bytes(), 1);
  for (size_t i = 0; i <= limit; ++i) {
    auto block = next_block(0);
    if (!block) {
      ring_error_ = block.error();
      return std::nullopt;
    }
    if (!*block) break;
    take_block(std::move(*block));
  }
  return handed_over_at(begun_ns);
}

void Recorder::serve_barriers() {
  Promises waiting;
  {
    const std::lock_guard lock(barrier_mutex_);
    waiting.swap(barriers_);
  }
  if (waiting.empty()) return;
  const auto complete_ns = drain_what_is_ready();
  check_drops();
  close_drop_gap();
  flush();
  push(Seal{std::move(waiting), complete_ns});
}

}  // namespace lookback::node
