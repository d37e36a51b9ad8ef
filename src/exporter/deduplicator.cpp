#include "exporter/deduplicator.hpp"

#include <algorithm>
#include <cstring>

#include "exporter/clock_map.hpp"
#include "lookback/base/result.hpp"

namespace lookback::exporter {

namespace {

/// Stretches are 16 KiB of sequence numbers: some ten segments, and a super-packet lies in at most
/// five.
constexpr unsigned kStretchBits = 14;
/// Kept packets that are looked at in one stretch; only a flood of repeats has more.
constexpr size_t kMaxLooks = 256;
/// Interfaces that may have seen packets of one content, and claims on one packet: more are only
/// made up.
constexpr size_t kMostPlaces = 1024;
constexpr uint32_t kMostClaims = 4096;

uint64_t stretch_key(uint64_t flow, uint32_t sequence) {
  return flow ^ (uint64_t{sequence >> kStretchBits} + 1) * 0x9e3779b97f4a7c15;
}

/// Calls `visit` with the key of each stretch that [sequence, sequence + length) touches, once
/// each. Sequence numbers wrap.
template <class Visit>
void for_each_stretch(const DedupKey& key, Visit visit) {
  const uint32_t first = key.sequence >> kStretchBits;
  const uint32_t last = (key.sequence + (key.length - 1)) >> kStretchBits;
  constexpr uint32_t kMask = UINT32_MAX >> kStretchBits;
  for (uint32_t stretch = first;; stretch = (stretch + 1) & kMask) {
    visit(stretch_key(key.flow, stretch << kStretchBits));
    if (stretch == last) return;
  }
}

}  // namespace

Deduplicator::Deduplicator(Limits limits)
    : limits_(limits),
      payloads_(std::make_unique_for_overwrite<std::byte[]>(limits.payload_bytes)) {}

bool Deduplicator::is_copy(const DedupKey& key, uint32_t node, uint32_t output_interface,
                           std::span<const std::byte> payload) {
  const Place interface = uint64_t{output_interface} << 32 | key.ifindex;
  switch (key.kind) {
    case DedupKey::Kind::none:
      return false;
    case DedupKey::Kind::whole:
      if (claim_whole(key, node, interface)) return true;
      break;
    case DedupKey::Kind::stream:
      LOOKBACK_CHECK(payload.size() == key.length && key.length > 0);
      if (claim_stream(key, node, interface, payload)) return true;
      break;
  }
  keep(key, node, interface, payload);
  return false;
}

bool Deduplicator::near(const Kept& kept, const DedupKey& key, uint32_t node) {
  const int64_t allowed =
      kept.node == node
          ? kTransitOnNodeNs
          : saturating_add(kTransitNs, saturating_add(kept.key.error_ns, key.error_ns));
  const int64_t apart = saturating_sub(kept.key.hub_ns, key.hub_ns);
  return apart <= allowed && apart >= -allowed;
}

bool Deduplicator::claim_whole(const DedupKey& key, uint32_t node, Place interface) {
  const auto found = groups_.find(key.content);
  if (found == groups_.end()) return false;
  Group& group = found->second;
  auto seen = std::find_if(group.seen.begin(), group.seen.end(),
                           [&](const auto& entry) { return entry.first == interface; });
  Number candidate = group.first;
  if (seen == group.seen.end()) {
    if (group.seen.size() >= kMostPlaces) {
      ++evictions_;
      return false;
    }
    seen = group.seen.insert(seen, {interface, kNone});
  } else if (seen->second != kNone && seen->second >= group.first) {
    candidate = at(seen->second).next_same;
  }
  for (; candidate != kNone; candidate = at(candidate).next_same) {
    const Kept& kept = at(candidate);
    if (kept.interface != interface && !near(kept, key, node)) {
      if (kept.key.hub_ns > key.hub_ns)
        return false;  // a later packet of this interface may be its copy
    }
    seen->second = candidate;
    if (kept.interface != interface && near(kept, key, node)) return true;
  }
  return false;
}

bool Deduplicator::claim_stream(const DedupKey& key, uint32_t node, Place interface,
                                std::span<const std::byte> payload) {
  return find_equal(key, node, interface) || find_cover(key, node, interface, payload);
}

bool Deduplicator::find_equal(const DedupKey& key, uint32_t node, Place interface) {
  const auto found = stretches_.find(stretch_key(key.flow, key.sequence));
  if (found == stretches_.end()) return false;
  const Stretch& stretch = found->second;
  const size_t end = std::min(stretch.numbers.size(), stretch.first + kMaxLooks);
  for (size_t i = stretch.first; i < end; ++i) {
    Kept& kept = at(stretch.numbers[i]);
    if (kept.claims >= kMostClaims || kept.interface == interface || kept.key.content != key.content ||
        kept.key.sequence != key.sequence || kept.key.length != key.length ||
        !near(kept, key, node) || claimed(kept, interface, 0, key.length))
      continue;
    claim(kept, interface, 0, key.length);
    return true;
  }
  return false;
}

/// Whether `kept` answers for the payload from `position` on, as far as it goes; `step` gets its
/// part.
bool Deduplicator::covers(Kept& kept, const DedupKey& key, Place interface, uint32_t position,
                          std::span<const std::byte> payload, Step& step) {
  if (kept.key.flow != key.flow) return false;
  // A packet of the very same bytes with other headers is another packet: a retransmission.
  if (kept.key.sequence == key.sequence && kept.key.length == key.length) return false;
  const uint32_t offset =
      key.sequence + position - kept.key.sequence;  // modulo 2^32, as sequence numbers are
  if (offset >= kept.key.length) return false;
  const uint32_t bytes = std::min(kept.key.length - offset, key.length - position);
  const bool to_its_end = offset + bytes == kept.key.length;
  const bool to_our_end = position + bytes == key.length;
  if (kept.key.fin && to_its_end && !(key.fin && to_our_end)) return false;
  if (key.fin && to_our_end && !(kept.key.fin && to_its_end)) return false;
  if (kept.claims >= kMostClaims) {
    ++evictions_;
    return false;
  }
  if (claimed(kept, interface, offset, offset + bytes)) return false;
  if (!payload_remembered(kept)) {
    ++evictions_;
    return false;
  }
  const std::byte* remembered = payloads_.get() + kept.payload_position % limits_.payload_bytes;
  if (std::memcmp(remembered + offset, payload.data() + position, bytes) != 0) return false;
  step.from = offset;
  step.to = offset + bytes;
  return true;
}

bool Deduplicator::find_cover(const DedupKey& key, uint32_t node, Place interface,
                              std::span<const std::byte> payload) {
  steps_.clear();
  for (uint32_t position = 0; position < key.length;) {
    const auto found = stretches_.find(stretch_key(key.flow, key.sequence + position));
    if (found == stretches_.end()) return false;
    const Stretch& stretch = found->second;
    const size_t end = std::min(stretch.numbers.size(), stretch.first + kMaxLooks);
    bool covered = false;
    for (size_t i = stretch.first; i < end && !covered; ++i) {
      Kept& kept = at(stretch.numbers[i]);
      if (kept.interface == interface || !near(kept, key, node)) continue;
      Step step{stretch.numbers[i], 0, 0};
      covered = covers(kept, key, interface, position, payload, step);
      if (covered) steps_.push_back(step);
    }
    if (!covered) {
      if (stretch.numbers.size() > end) ++evictions_;
      return false;
    }
    position += steps_.back().to - steps_.back().from;
  }
  for (const Step& step : steps_) claim(at(step.number), interface, step.from, step.to);
  return true;
}

void Deduplicator::keep(const DedupKey& key, uint32_t node, Place interface,
                        std::span<const std::byte> payload) {
  if (kept_.size() >= limits_.max_sightings) {
    forget_first();
    ++evictions_;
  }
  const Number number = first_number_ + kept_.size();
  Kept& kept = kept_.emplace_back(Kept{key, node, interface, kNone, 0, kNoClaim, 0});
  if (key.kind == DedupKey::Kind::whole) {
    Group& group = groups_[key.content];
    if (group.first == kNone) {
      group.first = number;
    } else {
      at(group.last).next_same = number;
    }
    group.last = number;
    return;
  }
  kept.payload_position = remember_payload(payload);
  for_each_stretch(key, [&](uint64_t stretch) { stretches_[stretch].numbers.push_back(number); });
}

void Deduplicator::forget_before(int64_t hub_ns) {
  while (!kept_.empty() &&
         saturating_add(kept_.front().key.hub_ns, kept_.front().key.error_ns) < hub_ns) {
    forget_first();
  }
}

void Deduplicator::forget_first() {
  Kept& kept = kept_.front();
  if (kept.key.kind == DedupKey::Kind::whole) {
    const auto group = groups_.find(kept.key.content);
    group->second.first = kept.next_same;
    if (kept.next_same == kNone) groups_.erase(group);
  } else {
    for_each_stretch(kept.key, [&](uint64_t key) {
      const auto found = stretches_.find(key);
      Stretch& stretch = found->second;  // the first kept packet is the first of all its stretches
      if (++stretch.first == stretch.numbers.size()) {
        stretches_.erase(found);
      } else if (stretch.first >= 64 && stretch.first * 2 >= stretch.numbers.size()) {
        stretch.numbers.erase(stretch.numbers.begin(),
                              stretch.numbers.begin() + static_cast<ptrdiff_t>(stretch.first));
        stretch.first = 0;
      }
    });
    while (kept.first_claim != kNoClaim) {
      const uint32_t claim = kept.first_claim;
      kept.first_claim = claims_[claim].next;
      claims_[claim].next = free_claim_;
      free_claim_ = claim;
    }
  }
  kept_.pop_front();
  ++first_number_;
}

bool Deduplicator::claimed(const Kept& kept, Place interface, uint32_t from, uint32_t to) const {
  for (uint32_t i = kept.first_claim; i != kNoClaim; i = claims_[i].next) {
    const Claim& claim = claims_[i];
    if (claim.interface == interface && from < claim.to && to > claim.from) return true;
  }
  return false;
}

void Deduplicator::claim(Kept& kept, Place interface, uint32_t from, uint32_t to) {
  for (uint32_t i = kept.first_claim; i != kNoClaim; i = claims_[i].next) {
    Claim& claim = claims_[i];
    if (claim.interface == interface && claim.to == from) {
      claim.to = to;
      return;
    }
  }
  uint32_t place = free_claim_;
  if (place != kNoClaim) {
    free_claim_ = claims_[place].next;
  } else {
    place = static_cast<uint32_t>(claims_.size());
    claims_.emplace_back();
  }
  ++kept.claims;
  claims_[place] = {interface, from, to, kept.first_claim};
  kept.first_claim = place;
}

uint64_t Deduplicator::remember_payload(std::span<const std::byte> payload) {
  const uint64_t size = limits_.payload_bytes;
  if (payload.size() > size)
    return payload_end_ - size - 1 - payload.size();  // as if overwritten already
  const uint64_t at = payload_end_ % size;
  if (at + payload.size() > size) payload_end_ += size - at;
  const uint64_t position = payload_end_;
  std::memcpy(payloads_.get() + position % size, payload.data(), payload.size());
  payload_end_ += payload.size();
  return position;
}

bool Deduplicator::payload_remembered(const Kept& kept) const {
  return payload_end_ - kept.payload_position <= limits_.payload_bytes;
}

}  // namespace lookback::exporter
