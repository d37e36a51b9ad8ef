#pragma once
// Finds the sightings of one flow on several interfaces among flows between the same ends. The work
// is linear in them, whatever they are.

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace lookback::exporter {

/// What tells flows between the same ends apart.
struct Sighting {
  uint32_t interface = 0, ifindex = 0;
  uint64_t network = 0;  ///< NetworkId
  uint8_t pass = 0;      ///< 1: the second time that its packets pass this interface
  int64_t first_ns = 0, last_ns = 0;
  std::optional<uint32_t> initial[2];  ///< sequence numbers of the ends, where they are known
};

/// Whether both are of one flow.
[[nodiscard]] bool same_flow(const Sighting& a, const Sighting& b);

/// Flows between the same two ends, each with the sighting that stands for it. Sightings come by
/// their start. One thread.
class FlowSightings {
 public:
  /// Sightings that are compared with a new one, the newest first: a flow's others began at about
  /// the same time.
  static constexpr size_t kMostLooks = 16;

  /// The flow that this is another sighting of.
  [[nodiscard]] std::optional<uint32_t> find(const Sighting& sighting) const;
  /// Another flow; returns its number, which counts from 0.
  uint32_t add(const Sighting& sighting);
  /// A better sighting of a flow.
  void replace(uint32_t flow, const Sighting& sighting);

 private:
  using Flows = std::vector<uint32_t>;

  void index(uint32_t flow);
  [[nodiscard]] std::optional<uint32_t> find_in(const Flows& flows, const Sighting& sighting) const;

  std::vector<Sighting> flows_;
  std::unordered_map<uint32_t, Flows> by_initial_[2];
  Flows all_, loose_;  ///< loose: an initial sequence number is not known
};

}  // namespace lookback::exporter
