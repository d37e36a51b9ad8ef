#include "exporter/merger.hpp"

#include <algorithm>
#include <limits>

#include "exporter/bytes.hpp"

namespace lookback::exporter {

namespace {

constexpr OrderKey kAfterAll{std::numeric_limits<int64_t>::max(), UINT32_MAX, UINT32_MAX};

/// Frames that are read again for each that is opened before more memory is asked for, and before
/// it is given up.
constexpr uint64_t kFewAgain = 2, kManyAgain = 64;
constexpr uint64_t kAgainForFree = 64;
/// The least that stays of a frame that is put aside: less is not worth its bookkeeping.
constexpr size_t kSmallestPart = 2048;
/// How far ahead of a fragment its datagram's first one is looked for, and in how many frames.
constexpr int64_t kFragmentAheadNs = kNsPerSecond;
constexpr size_t kMostAhead = 4;

OrderKey key_of(const FrameBatch& batch, size_t packet, uint32_t stored_order) {
  return {batch.packets[packet].time_ns, batch.packets[packet].interface, stored_order};
}

/// The first packet after `from` that does not come before `bound`; it is near in a tight merge,
/// far where one batch stands alone.
size_t find_bound(const FrameBatch& batch, size_t from, uint32_t stored_order,
                  const OrderKey& bound) {
  const size_t size = batch.packets.size();
  size_t step = 1, low = from, high = from + 1;
  while (high < size && key_of(batch, high, stored_order) < bound) {
    low = high;
    high += step;
    step *= 2;
  }
  high = std::min(high, size);
  while (low + 1 < high) {  // low comes before the bound, high does not or is the end
    const size_t middle = low + (high - low) / 2;
    (key_of(batch, middle, stored_order) < bound ? low : high) = middle;
  }
  return high;
}

}  // namespace

Merger::Merger(const Plan& plan, FramePipeline& pipeline, MergeSink& output,
               MemoryBudget::Share& share, const std::atomic<bool>* cancelled, uint64_t first_bytes)
    : plan_(plan),
      pipeline_(pipeline),
      output_(output),
      share_(share),
      cancelled_(cancelled),
      allowed_bytes_(first_bytes),
      outside_bounds_(plan.nodes.size()) {
  if (!plan.dedup) return;
  dedup_ = std::make_unique<Deduplicator>(Deduplicator::Limits{});
  int64_t offset = 0, error = 0;
  for (const PlannedNode& node : plan.nodes) {
    if (!plan.align_clocks) offset = std::max(offset, node.clock.highest_offset());
    error =
        std::max(error, node.clock.measured() ? node.clock.highest_error() : kUnmeasuredErrorNs);
  }
  forget_behind_ns_ = saturating_add(saturating_add(offset, error), kTransitNs);
}

OrderKey Merger::lower_key(size_t unit) const {
  const FrameUnit& frame = plan_.units[unit];
  return {frame.lower_ns, frame.lower_interface, frame.stored_order};
}

Result<> Merger::run() {
  for (;;) {
    if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed))
      return fail(ErrorKind::cancelled, "the export was cancelled");
    if (next_unit_ < plan_.units.size() &&
        (open_.empty() || lower_key(next_unit_) < open_.front().key)) {
      TRY(open_next());
    } else if (open_.empty()) {
      return {};
    } else if (!open_.front().batch) {
      TRY(open_again(open_.front()));
    } else {
      TRY(advance());
    }
  }
}

/// The batch of the next unit that was not taken yet.
Result<std::unique_ptr<FrameBatch>> Merger::take_next() {
  TRY_ASSIGN(auto batch, pipeline_.take());
  packets_read_ += batch->packets_read;
  if (!batch->fragments.empty()) learn_fragments(*batch);
  return batch;
}

Result<> Merger::open_next() {
  const auto unit = static_cast<uint32_t>(next_unit_);
  std::unique_ptr<FrameBatch> batch;
  if (ahead_.empty()) {
    TRY_ASSIGN(batch, take_next());
  } else {
    batch = std::move(ahead_.front());
    ahead_.pop_front();
  }
  ++next_unit_;
  if (batch->outside_bounds) outside_bounds_[plan_.units[unit].node] = true;
  if (batch->packets.empty()) {
    pipeline_.give_back(std::move(batch));
    return {};
  }
  TRY(output_.admit(*batch));
  Open& open = open_.emplace_back();
  open.key = key_of(*batch, 0, plan_.units[unit].stored_order);
  open.unit = unit;
  open.memory = batch->memory_bytes();
  open.batch = std::move(batch);
  open_bytes_ += open.memory;
  std::push_heap(open_.begin(), open_.end(),
                 [](const Open& a, const Open& b) { return a.key > b.key; });
  most_open_ = std::max(most_open_, open_.size());
  make_room();
  return {};
}

Result<> Merger::open_again(Open& open) {
  const FrameUnit& unit = plan_.units[open.unit];
  ++read_again_;
  ++read_again_unpaid_;
  if (read_again_ > kAgainForFree + kManyAgain * next_unit_) {
    return fail(ErrorKind::failed,
                "{} frames overlap in time, more than can be merged in {} MiB of memory: choose "
                "less with --from, --to, --node or --filter",
                open_.size(), allowed_bytes_ >> 20);
  }
  TRY_ASSIGN(auto batch, pipeline_.read_again(unit));
  if (batch->packets.size() <= open.first)
    return fail(ErrorKind::corrupt, "{} changed while it was read", unit.member->name);
  open.next = open.first;
  open.first = 0;
  open.memory = batch->memory_bytes();
  open.batch = std::move(batch);
  open_bytes_ += open.memory;
  make_room();
  return {};
}

/// Brings the memory of open frames under its bound. The first one stays, since its turn has come.
void Merger::make_room() {
  if (open_bytes_ <= allowed_bytes_) return;
  if (read_again_unpaid_ > kAgainForFree + kFewAgain * next_unit_ && allowed_bytes_ < kMostBytes &&
      share_.try_grow(allowed_bytes_)) {
    allowed_bytes_ *= 2;
    read_again_unpaid_ = 0;
    if (open_bytes_ <= allowed_bytes_) return;
  }
  std::vector<Open*> resident;
  for (size_t place = 1; place < open_.size(); ++place) {
    if (open_[place].batch) resident.push_back(&open_[place]);
  }
  std::sort(resident.begin(), resident.end(),
            [](const Open* a, const Open* b) { return a->key > b->key; });
  const uint64_t wanted = allowed_bytes_ - allowed_bytes_ / 4;
  const size_t part = allowed_bytes_ / 2 / open_.size();
  for (Open* open : resident) {
    if (open_bytes_ <= wanted) return;
    if (part < kSmallestPart) {
      put_aside(*open);
    } else if (open->memory > part + part / 2) {
      keep_part(*open, part);
    }
  }
  for (Open* open : resident) {
    if (open_bytes_ <= wanted) return;
    if (open->batch) put_aside(*open);
  }
}

/// Leaves the next packets, as many as there is room for.
void Merger::keep_part(Open& open, size_t bytes) {
  const FrameBatch& batch = *open.batch;
  const size_t each = sizeof(PacketRef) + (batch.keys.empty() ? 0 : sizeof(DedupKey)) +
                      (batch.digests.empty() ? 0 : sizeof(PacketDigest));
  const uint32_t start = batch.start_of(open.next);
  size_t last = open.next;
  while (last < batch.packets.size() &&
         batch.packets[last].end - start + (last + 1 - open.next) * each <= bytes)
    ++last;
  if (last == open.next) return put_aside(open);
  auto part = copy_of(batch, open.next, last);
  if (last < batch.packets.size()) {
    open.more = true;
    open.after = key_of(batch, last, open.key.stored_order);
  }
  open.first += static_cast<uint32_t>(open.next);
  open.next = 0;
  open_bytes_ -= open.memory;
  open.memory = part->memory_bytes();
  open_bytes_ += open.memory;
  std::swap(open.batch, part);
  pipeline_.give_back(std::move(part));
}

void Merger::put_aside(Open& open) {
  open.first += static_cast<uint32_t>(open.next);
  open.next = 0;
  open.more = false;
  open_bytes_ -= open.memory;
  open.memory = 0;
  pipeline_.give_back(std::move(open.batch));
}

/// Writes the packets of the first batch that come before all others', open or not.
Result<> Merger::advance() {
  Open& first = open_.front();
  OrderKey bound = kAfterAll;
  if (open_.size() > 1) bound = open_[1].key;
  if (open_.size() > 2) bound = std::min(bound, open_[2].key);
  if (next_unit_ < plan_.units.size()) bound = std::min(bound, lower_key(next_unit_));
  const size_t last = find_bound(*first.batch, first.next, first.key.stored_order, bound);
  TRY(write(first, last));
  if (last < first.batch->packets.size()) {
    first.next = last;
    first.key = key_of(*first.batch, last, first.key.stored_order);
  } else if (first.more) {
    first.next = last;
    first.key = first.after;
    put_aside(first);
  } else {
    open_bytes_ -= first.memory;
    pipeline_.give_back(std::move(first.batch));
    if (open_.size() > 1) first = std::move(open_.back());
    open_.pop_back();
  }
  sift_down();
  return {};
}

void Merger::sift_down() {
  size_t place = 0;
  const size_t size = open_.size();
  for (;;) {
    size_t child = 2 * place + 1;
    if (child >= size) return;
    if (child + 1 < size && open_[child + 1].key < open_[child].key) ++child;
    if (open_[place].key < open_[child].key) return;
    std::swap(open_[place], open_[child]);
    place = child;
  }
}

void Merger::learn_fragments(const FrameBatch& batch) {
  for (size_t packet = 0; packet < batch.digests.size(); ++packet) {
    const PacketDigest& digest = batch.digests[packet];
    if (digest.fragment == 0 || !batch.fragments[digest.fragment - 1].first) continue;
    fragments_.learn(digest, batch.fragments[digest.fragment - 1],
                     batch.packets[packet].interface, batch.packets[packet].time_ns);
  }
}

/// Later fragments get the ends of their datagram before anybody asks for them. Where the first
/// fragment has not come yet, the next frames are looked into.
Result<> Merger::settle_fragments(Open& open, size_t last) {
  FrameBatch& batch = *open.batch;
  for (size_t packet = open.next; packet < last; ++packet) {
    PacketDigest& digest = batch.digests[packet];
    if (digest.fragment == 0) continue;
    const Fragment& fragment = batch.fragments[digest.fragment - 1];
    if (fragment.first) continue;
    const PacketRef& place = batch.packets[packet];
    bool known = fragments_.resolve(digest, fragment, place.interface, place.time_ns);
    while (!known && ahead_.size() < kMostAhead &&
           next_unit_ + ahead_.size() < plan_.units.size() &&
           plan_.units[next_unit_ + ahead_.size()].lower_ns <=
               saturating_add(place.time_ns, kFragmentAheadNs)) {
      TRY_ASSIGN(auto next, take_next());
      const bool any = !next->fragments.empty();
      ahead_.push_back(std::move(next));
      known = any && fragments_.resolve(digest, fragment, place.interface, place.time_ns);
    }
    if (!known) ++fragments_alone_;
  }
  return {};
}

Result<> Merger::write(Open& open, size_t last) {
  if (!open.batch->fragments.empty()) TRY(settle_fragments(open, last));
  if (!dedup_) return output_.write(*open.batch, node_of(open), open.next, last);
  dedup_->forget_before(saturating_sub(open.key.time_ns, forget_behind_ns_));
  size_t from = open.next;
  for (size_t packet = open.next; packet < last; ++packet) {
    if (!is_copy(open, packet)) continue;
    if (from < packet) TRY(output_.write(*open.batch, node_of(open), from, packet));
    from = packet + 1;
    ++copies_;
    output_.count_copy(open.batch->packets[packet].interface);
  }
  return from < last ? output_.write(*open.batch, node_of(open), from, last) : Result<>{};
}

bool Merger::is_copy(const Open& open, size_t packet) {
  const FrameBatch& batch = *open.batch;
  const DedupKey& key = batch.keys[packet];
  std::span<const std::byte> payload;
  if (key.kind == DedupKey::Kind::stream) {
    const uint32_t data =
        batch.start_of(packet) + (plan_.format == Format::pcap ? pcap_record::kData : epb::kData);
    payload = std::span(batch.bytes).subspan(data + key.payload_offset, key.length);
  }
  return dedup_->is_copy(key, node_of(open), batch.packets[packet].interface, payload);
}

}  // namespace lookback::exporter
