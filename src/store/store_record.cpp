// The recorder's side: appending, notes, sealing.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "lookback/base/hash.hpp"
#include "lookback/base/log.hpp"
#include "lookback/store/file_names.hpp"
#include "store/disk_usage.hpp"
#include "store/store_impl.hpp"

namespace lookback::store {

namespace {

/// Clock samples wait this long for company; everything else is written with the next block.
constexpr int64_t kNoteDelayNs = 60 * kNsPerSecond;
constexpr size_t kMaxPendingGaps = 1024;

Result<> check_block(std::span<std::byte> block, const BlockInfo& info) {
  const auto address = reinterpret_cast<uintptr_t>(block.data());
  const bool sane = (info.kind == BlockKind::kernel || info.kind == BlockKind::compact) &&
                    address % kPageBytes == 0 && info.used_bytes <= kMaxBlockBytes &&
                    round_up(info.used_bytes, kPageBytes) <= block.size() &&
                    info.first_packet <= info.used_bytes && info.used_bytes > sizeof(BlockHeader) &&
                    info.first_packet % 8 == 0 && info.first_packet >= sizeof(BlockHeader);
  if (!sane)
    return fail(ErrorKind::invalid, "not a block of packets: {} bytes used, packets from {}",
                info.used_bytes, info.first_packet);
  const uint32_t tags = tagged_sectors(info.first_packet, info.used_bytes);
  if (sizeof(BlockHeader) + tags * kTagBytes > info.first_packet) {
    return fail(ErrorKind::invalid,
                "a block of {} bytes leaves only {} for its header and tags, see block_reserve",
                info.used_bytes, info.first_packet);
  }
  return {};
}

}  // namespace

Result<> StoreImpl::register_memory(std::span<std::byte> memory) {
  if (reinterpret_cast<uintptr_t>(memory.data()) % kPageBytes != 0)
    return fail(ErrorKind::invalid, "memory for blocks must start at a page");
  output_.register_memory(memory);
  return {};
}

void StoreImpl::set_interfaces(const std::vector<packet::Interface>& interfaces) {
  if (interfaces == interfaces_) return;
  interfaces_ = interfaces;
  interfaces_changed_ = true;
}

void StoreImpl::add_gap(const Gap& gap) {
  const std::lock_guard lock(state_);
  pending_.gaps.push_back(gap);
  shorten_gaps(pending_.gaps, kMaxPendingGaps);
}

void StoreImpl::set_complete_until(int64_t time_ns) { complete_ns_ = time_ns; }

void StoreImpl::add_clock_sample(const ClockSample& sample) {
  // A measurement that says what the last one said is not kept: there may be one every few seconds,
  // for months.
  if (last_sample_ && sample.step_ns == 0) {
    const ClockSample& last = *last_sample_;
    const bool news =
        sample.time_ns < last.time_ns || sample.time_ns - last.time_ns >= kNoteDelayNs ||
        std::abs(sample.offset_ns - last.offset_ns) > sample.error_ns + last.error_ns ||
        sample.error_ns < last.error_ns / 2;
    if (!news) return;
  }
  last_sample_ = sample;
  const std::lock_guard lock(state_);
  pending_.clock.push_back(sample);
  if (pending_.clock.size() > kMaxPendingGaps) pending_.clock.erase(pending_.clock.begin());
}

std::vector<ClockSample> StoreImpl::clock_history() const {
  const std::lock_guard lock(state_);
  return catalog_.clock_eras(clock_.realtime_ns(), pending_.clock).history();
}

bool StoreImpl::note_is_due() const {
  if (interfaces_changed_) return true;
  const std::lock_guard lock(state_);
  if (!pending_.gaps.empty()) return true;
  if (pending_.clock.empty()) return false;
  const bool step = std::any_of(pending_.clock.begin(), pending_.clock.end(),
                                [](const auto& s) { return s.step_ns != 0; });
  return step || clock_.monotonic_ns() - last_note_monotonic_ns_ >= kNoteDelayNs;
}

Note StoreImpl::pending_note(bool with_table) const {
  Note note;
  if (with_table) note.interfaces = interfaces_;
  note.complete_ns = complete_ns_;
  const std::lock_guard lock(state_);
  note.gaps = pending_.gaps;
  note.clock = pending_.clock;
  return note;
}

void StoreImpl::note_written(const Note& note, const std::optional<IndexEntry>& entry) {
  last_note_monotonic_ns_ = clock_.monotonic_ns();
  const std::lock_guard lock(state_);
  Segment& segment = catalog_.segments.at(writer_->header().sequence);
  for (const Gap& gap : note.gaps) segment.add_gap(gap);
  segment.add_clock(note.clock);
  if (note.complete_ns) {
    segment.complete_ns = note.complete_ns;
    complete_ns_.reset();
  }
  if (note.interfaces && entry) segment.table_pages.push_back(entry->page);
  // Only this thread adds to them, so what was written is all that waited.
  pending_ = {};
}

Result<> StoreImpl::write_note_if_due(bool everything) {
  if (!everything && !note_is_due()) return {};
  const Note note = pending_note(interfaces_changed_);
  if (note.empty()) return {};
  TRY_ASSIGN(const IndexEntry entry,
             writer_->append_note(note_to_json(note), clock_.realtime_ns(), scratch_));
  interfaces_changed_ = false;
  note_written(note, entry);
  return {};
}

void StoreImpl::note_completeness() {
  const Note note = pending_note(interfaces_changed_);
  const std::string json = note_to_json(note);
  // Where it cannot be noted, the gap after this segment begins earlier.
  if (complete_ns_ && writer_->has_room(0, SegmentWriter::note_bytes(json.size()))) {
    if (const auto entry = writer_->append_note(json, clock_.realtime_ns(), scratch_)) {
      interfaces_changed_ = false;
      note_written(note, *entry);
    } else {
      log_warning("a note waits: {}", entry.error().message);
    }
  }
  const std::lock_guard lock(state_);
  Segment& segment = catalog_.segments.at(writer_->header().sequence);
  segment.kept = segment.complete_ns.has_value();
}

Result<> StoreImpl::open_segment(uint64_t block_bytes) {
  Note note = pending_note(true);
  // What is known of the clock is repeated, so that a segment explains itself when all before it
  // are gone.
  if (note.clock.empty() && last_sample_) note.clock.push_back(*last_sample_);
  const std::string json = note_to_json(note);
  // Room for one more note as large as the first: a change of the table must not need a segment of
  // its own.
  const uint64_t least =
      SegmentWriter::bytes_for(block_bytes, 2 * SegmentWriter::note_bytes(json.size()));

  PreparedFile file;
  uint64_t cost = 0;
  {
    std::unique_lock state(state_);
    if (!prepared_ || prepared_->bytes < least) {
      state.unlock();
      const std::lock_guard structure(structure_);
      bool ready;
      {
        // The background thread may have been at it while we waited for the lock.
        const std::lock_guard again(state_);
        ready = prepared_ && prepared_->bytes >= least;
      }
      if (!ready) TRY(prepare_locked(std::max(least, options_.segment_bytes)));
      state.lock();
    }
    file = std::move(*prepared_);
    prepared_.reset();
    cost = prepared_cost_;
    want_prepared_ = false;
  }
  const auto temporary = packets_path_ / file_names::kPrepared;
  SegmentHeader header;
  header.epoch = random_u64();
  header.run_id = catalog_.run_id;
  header.run_started_ns = catalog_.run_started_ns;
  header.opened_ns = clock_.realtime_ns();
  {
    const std::lock_guard state(state_);
    header.sequence = catalog_.next_sequence();
  }
  auto started = SegmentWriter::start(std::move(file), header, json, output_, scratch_);
  if (started && ::rename(temporary.c_str(), segment_path(header.sequence).c_str()) != 0)
    started = fail_errno(errno, fmt::format("cannot name segment {}", header.sequence));
  if (!started) {
    ::unlink(temporary.c_str());
    const std::lock_guard state(state_);
    prepared_cost_ = 0;
    return tl::make_unexpected(started.error().in("cannot begin a segment"));
  }
  writer_ = std::move(*started);
  interfaces_changed_ = false;
  asked_for_next_ = false;
  {
    const std::lock_guard state(state_);
    prepared_cost_ = 0;
    Segment& segment = catalog_.segments[header.sequence];
    segment.sequence = header.sequence;
    segment.epoch = header.epoch;
    segment.run_id = header.run_id;
    segment.run_started_ns = header.run_started_ns;
    segment.opened_ns = segment.ended_ns = header.opened_ns;
    segment.disk_bytes = cost;
  }
  note_written(note, writer_->blocks().front());
  return {};
}

Result<> StoreImpl::append_block(std::span<std::byte> block, const BlockInfo& info) {
  TRY(check_block(block, info));
  if (writer_) {
    const uint64_t note =
        note_is_due()
            ? SegmentWriter::note_bytes(note_to_json(pending_note(interfaces_changed_)).size())
            : 0;
    if (!writer_->has_room(info.used_bytes, note)) close_segment();
  }
  if (!writer_) TRY(open_segment(info.used_bytes));
  TRY(write_note_if_due(false));
  const auto entry = writer_->append(block, info);
  if (!entry) {
    // A place that cannot be written to is not tried again and again: the next block begins a new
    // segment.
    if (entry.error().kind != ErrorKind::no_space) close_segment();
    return tl::make_unexpected(entry.error());
  }
  publish(*entry);
  if (!asked_for_next_ && writer_->end() > writer_->capacity() / 2) {
    asked_for_next_ = true;
    const std::lock_guard lock(state_);
    want_prepared_ = !prepared_;
    wake_.notify_one();
  }
  return {};
}

void StoreImpl::publish(const IndexEntry& entry) {
  const std::lock_guard lock(state_);
  Segment& segment = catalog_.segments.at(writer_->header().sequence);
  segment.add_block(entry);
  segment.ended_ns = std::max(segment.ended_ns, entry.last_ns);
}

Result<> StoreImpl::seal() {
  // An empty segment goes on being the open one.
  if (writer_ && !open_segment_is_empty()) {
    note_completeness();
    close_segment();
  }
  return {};
}

bool StoreImpl::open_segment_is_empty() const {
  const std::lock_guard lock(state_);
  return catalog_.segments.at(writer_->header().sequence).empty() && pending_.gaps.empty();
}

void StoreImpl::close_segment() {
  const uint64_t sequence = writer_->header().sequence;
  if (open_segment_is_empty()) {
    // Its number is used again.
    writer_.reset();
    ::unlink(segment_path(sequence).c_str());
    const std::lock_guard lock(state_);
    catalog_.segments.erase(sequence);
    return;
  }
  const int64_t now = clock_.realtime_ns();
  // A note that does not fit or cannot be written keeps waiting; an index that cannot be written is
  // made up for by reading the blocks.
  const uint64_t note =
      SegmentWriter::note_bytes(note_to_json(pending_note(interfaces_changed_)).size());
  if (writer_->has_room(0, note)) {
    if (const auto written = write_note_if_due(true); !written)
      log_warning("segment {}: {}", sequence, written.error().message);
  }
  if (const auto sealed = writer_->seal(now, scratch_); !sealed)
    log_warning("segment {} is left without an index: {}", sequence, sealed.error().message);
  const uint64_t cost = cost_of(writer_->fd());
  writer_.reset();
  const std::lock_guard lock(state_);
  Segment& segment = catalog_.segments.at(sequence);
  segment.sealed = true;
  segment.ended_ns = now;
  segment.disk_bytes = cost;
}

void StoreImpl::tick() {
  if (writer_ && note_is_due()) {
    const uint64_t note =
        SegmentWriter::note_bytes(note_to_json(pending_note(interfaces_changed_)).size());
    // Without room it goes into the next segment.
    if (writer_->has_room(0, note)) {
      if (const auto written = write_note_if_due(false); !written)
        log_warning("a note waits: {}", written.error().message);
    }
  }
  const int64_t next = next_expiry_ns_.load(std::memory_order_relaxed);
  const int64_t now = clock_.realtime_ns();
  const bool set_back = next != std::numeric_limits<int64_t>::max() && next - now > kMostFreezeLife;
  if (now >= next || set_back) {
    const std::lock_guard lock(state_);
    want_expiry_ = true;
    wake_.notify_one();
  }
}

}  // namespace lookback::store
