#include "exporter/fragment_table.hpp"

#include <algorithm>
#include <cstring>

#include "exporter/clock_map.hpp"
#include "exporter/mix.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::exporter {

namespace {

/// Datagrams of one identification that are kept apart.
constexpr size_t kMostReuses = 4;

int64_t apart(int64_t a, int64_t b) {
  return a < b ? saturating_sub(b, a) : saturating_sub(a, b);
}

}  // namespace

size_t FragmentTable::KeyHash::operator()(const Key& key) const {
  uint64_t words[7];
  std::memcpy(words, key.fragment.source.bytes.data(), 16);
  std::memcpy(words + 2, key.fragment.destination.bytes.data(), 16);
  words[4] = uint64_t{key.fragment.id} << 8 | key.fragment.protocol;
  words[5] = uint64_t{key.interface} << 32 | key.ifindex;
  words[6] = key.network;
  uint64_t value = secret;
  for (const uint64_t word : words) value = mix(value ^ word, 0x9e3779b97f4a7c15);
  return static_cast<size_t>(value);
}

FragmentTable::FragmentTable(size_t most_datagrams)
    : most_datagrams_(most_datagrams), datagrams_(16, KeyHash{random_u64()}) {}

FragmentTable::Key FragmentTable::key_of(const Fragment& fragment, uint32_t interface) {
  return {fragment.key, fragment.network, interface, fragment.ifindex};
}

void FragmentTable::learn(const PacketDigest& first, const Fragment& fragment, uint32_t interface,
                          int64_t time_ns) {
  const Key key = key_of(fragment, interface);
  const auto [at, added] = datagrams_.try_emplace(key);
  std::vector<First>& reuses = at->second;
  if (reuses.size() == kMostReuses) reuses.erase(reuses.begin());
  reuses.push_back({time_ns, first.source, first.destination, first.network, first.source_port,
                    first.destination_port, first.echo_id, first.echo, first.protocol});
  if (!added) return;
  learned_.push_back(key);
  if (datagrams_.size() <= most_datagrams_) return;
  const auto oldest = datagrams_.find(learned_.front());
  if (apart(oldest->second.back().time_ns, time_ns) < kReassemblyNs) ++evictions_;
  datagrams_.erase(oldest);
  learned_.pop_front();
}

bool FragmentTable::resolve(PacketDigest& later, const Fragment& fragment, uint32_t interface,
                            int64_t time_ns) const {
  const auto at = datagrams_.find(key_of(fragment, interface));
  if (at == datagrams_.end()) return false;
  const auto nearest = std::min_element(at->second.begin(), at->second.end(),
                                        [&](const First& a, const First& b) {
                                          return apart(a.time_ns, time_ns) <
                                                 apart(b.time_ns, time_ns);
                                        });
  if (apart(nearest->time_ns, time_ns) > kReassemblyNs) return false;
  later.source = nearest->source;
  later.destination = nearest->destination;
  later.network = nearest->network;
  later.source_port = nearest->source_port;
  later.destination_port = nearest->destination_port;
  later.echo_id = nearest->echo_id;
  later.echo = nearest->echo;
  later.protocol = nearest->protocol;
  return true;
}

}  // namespace lookback::exporter
