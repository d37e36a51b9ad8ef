#include "exporter/merger.hpp"

#include <algorithm>
#include <limits>

#include "exporter/bytes.hpp"

namespace lookback::exporter {

namespace {

constexpr OrderKey kAfterAll{std::numeric_limits<int64_t>::max(), UINT32_MAX, UINT32_MAX};

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
               const std::atomic<bool>* cancelled)
    : plan_(plan),
      pipeline_(pipeline),
      output_(output),
      cancelled_(cancelled),
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

Result<> Merger::run() {
  for (;;) {
    while (next_unit_ < plan_.units.size() &&
           (open_.empty() || plan_.units[next_unit_].lower_ns <= open_.front().key.time_ns)) {
      TRY(open_next());
    }
    if (open_.empty()) return {};
    TRY(advance());
  }
}

Result<> Merger::open_next() {
  if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
    return fail(ErrorKind::cancelled, "the export was cancelled");
  }
  const FrameUnit& unit = plan_.units[next_unit_++];
  TRY_ASSIGN(auto batch, pipeline_.take());
  packets_read_ += batch->packets_read;
  if (batch->outside_bounds) outside_bounds_[unit.node] = true;
  if (batch->packets.empty()) {
    pipeline_.give_back(std::move(batch));
    return {};
  }
  TRY(output_.admit(*batch));
  const OrderKey key = key_of(*batch, 0, unit.stored_order);
  open_.push_back({key, unit.node, 0, std::move(batch)});
  std::push_heap(open_.begin(), open_.end(),
                 [](const Open& a, const Open& b) { return a.key > b.key; });
  most_open_ = std::max(most_open_, open_.size());
  return {};
}

/// Writes the packets of the first batch that come before all others', open or not.
Result<> Merger::advance() {
  Open& first = open_.front();
  OrderKey bound = kAfterAll;
  if (open_.size() > 1) bound = open_[1].key;
  if (open_.size() > 2) bound = std::min(bound, open_[2].key);
  if (next_unit_ < plan_.units.size()) {
    // A packet of the next frame may bear its lowest stamp and the lowest interface.
    bound = std::min(bound, OrderKey{plan_.units[next_unit_].lower_ns, 0, 0});
  }
  const size_t last = find_bound(*first.batch, first.next, first.key.stored_order, bound);
  TRY(write(first, last));
  if (last < first.batch->packets.size()) {
    first.next = last;
    first.key = key_of(*first.batch, last, first.key.stored_order);
  } else {
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

Result<> Merger::write(Open& open, size_t last) {
  if (!dedup_) return output_.write(*open.batch, open.node, open.next, last);
  dedup_->forget_before(saturating_sub(open.key.time_ns, forget_behind_ns_));
  size_t from = open.next;
  for (size_t packet = open.next; packet < last; ++packet) {
    if (!is_copy(open, packet)) continue;
    if (from < packet) TRY(output_.write(*open.batch, open.node, from, packet));
    from = packet + 1;
    ++copies_;
    output_.count_copy(open.batch->packets[packet].interface);
  }
  return from < last ? output_.write(*open.batch, open.node, from, last) : Result<>{};
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
  return dedup_->is_copy(key, open.node, batch.packets[packet].interface, payload);
}

}  // namespace lookback::exporter
