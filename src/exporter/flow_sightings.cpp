#include "exporter/flow_sightings.hpp"

#include <algorithm>

#include "exporter/clock_map.hpp"
#include "exporter/packet_digest.hpp"
#include "lookback/base/time.hpp"

namespace lookback::exporter {

namespace {

/// Two interfaces may see the ends of a flow this far apart: a queue lies between them.
constexpr int64_t kBetweenInterfacesNs = kNsPerSecond;

}  // namespace

bool same_flow(const Sighting& a, const Sighting& b) {
  if (a.interface == b.interface && a.ifindex == b.ifindex) {
    if (a.pass == b.pass || a.network != b.network) return false;
  } else if (!NetworkId::unpack(a.network).may_be_seen_as(NetworkId::unpack(b.network))) {
    return false;
  }
  if (a.first_ns > saturating_add(b.last_ns, kBetweenInterfacesNs) ||
      b.first_ns > saturating_add(a.last_ns, kBetweenInterfacesNs))
    return false;
  for (unsigned end = 0; end < 2; ++end) {
    if (a.initial[end] && b.initial[end] && *a.initial[end] != *b.initial[end]) return false;
  }
  return true;
}

std::optional<uint32_t> FlowSightings::find_in(const Flows& flows, const Sighting& sighting) const {
  const auto end = flows.rbegin() + static_cast<ptrdiff_t>(std::min(flows.size(), kMostLooks));
  const auto found = std::find_if(flows.rbegin(), end, [&](uint32_t flow) {
    return same_flow(flows_[flow], sighting);
  });
  return found == end ? std::nullopt : std::optional(*found);
}

std::optional<uint32_t> FlowSightings::find(const Sighting& sighting) const {
  for (unsigned end = 0; end < 2; ++end) {
    if (!sighting.initial[end]) continue;
    const auto known = by_initial_[end].find(*sighting.initial[end]);
    if (known == by_initial_[end].end()) continue;
    if (const auto found = find_in(known->second, sighting)) return found;
  }
  const bool nothing_known = !sighting.initial[0] && !sighting.initial[1];
  return find_in(nothing_known ? all_ : loose_, sighting);
}

uint32_t FlowSightings::add(const Sighting& sighting) {
  const auto flow = static_cast<uint32_t>(flows_.size());
  flows_.push_back(sighting);
  all_.push_back(flow);
  if (!sighting.initial[0] || !sighting.initial[1]) loose_.push_back(flow);
  index(flow);
  return flow;
}

void FlowSightings::replace(uint32_t flow, const Sighting& sighting) {
  const Sighting before = flows_[flow];
  flows_[flow] = sighting;
  for (unsigned end = 0; end < 2; ++end) {
    if (sighting.initial[end] && sighting.initial[end] != before.initial[end])
      by_initial_[end][*sighting.initial[end]].push_back(flow);
  }
}

void FlowSightings::index(uint32_t flow) {
  for (unsigned end = 0; end < 2; ++end) {
    if (flows_[flow].initial[end]) by_initial_[end][*flows_[flow].initial[end]].push_back(flow);
  }
}

}  // namespace lookback::exporter
