#include "exporter/flow_key.hpp"

#include <cstring>
#include <tuple>

#include "exporter/mix.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::exporter {

namespace {

constexpr size_t kFirstSlots = 1024;

}  // namespace

FlowKey flow_key_of(const PacketDigest& packet, uint32_t interface, unsigned& from) {
  FlowKey key;
  key.interface = interface;
  key.ifindex = packet.ifindex;
  key.network = packet.network;
  key.protocol = packet.protocol;
  from = std::tie(packet.source, packet.source_port) <=
                 std::tie(packet.destination, packet.destination_port)
             ? 0
             : 1;
  key.low = from == 0 ? packet.source : packet.destination;
  key.high = from == 0 ? packet.destination : packet.source;
  key.low_port = from == 0 ? packet.source_port : packet.destination_port;
  key.high_port = from == 0 ? packet.destination_port : packet.source_port;
  return key;
}

FlowIndex::FlowIndex() : secret_{random_u64() | 1, random_u64() | 1}, slots_(kFirstSlots) {}

uint64_t FlowIndex::hash(const FlowKey& key) const {
  uint64_t words[7];
  std::memcpy(words, key.low.bytes.data(), 16);
  std::memcpy(words + 2, key.high.bytes.data(), 16);
  words[4] = uint64_t{key.low_port} << 48 | uint64_t{key.high_port} << 32 | key.interface;
  words[5] = key.network;
  words[6] = uint64_t{key.ifindex};
  uint64_t value = mix(secret_[0] ^ key.protocol, secret_[1]);
  for (const uint64_t word : words) value = mix(value ^ word ^ secret_[0], secret_[1]);
  return value;
}

FlowIndex::Slot& FlowIndex::slot_of(const FlowKey& key) {
  size_t at = hash(key) & (slots_.size() - 1);
  while (slots_[at].used && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  return slots_[at];
}

uint32_t* FlowIndex::find(const FlowKey& key) {
  Slot& slot = slot_of(key);
  return slot.used ? &slot.number : nullptr;
}

uint32_t& FlowIndex::operator[](const FlowKey& key) {
  if (used_ * 2 >= slots_.size()) grow();
  Slot& slot = slot_of(key);
  if (!slot.used) {
    slot = {key, kNone, true};
    ++used_;
  }
  return slot.number;
}

void FlowIndex::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (!slot.used) continue;
    size_t at = hash(slot.key) & (slots_.size() - 1);
    while (slots_[at].used) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = slot;
  }
}

void FlowIndex::clear() {
  slots_.assign(kFirstSlots, {});
  used_ = 0;
}

}  // namespace lookback::exporter
