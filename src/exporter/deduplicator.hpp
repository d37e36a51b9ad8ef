#pragma once
// Tells which packets of the merged stream are copies: sightings of a packet that was already seen
// on another interface.
//
// Sightings of equal content on one interface are different packets (repeated acknowledgments,
// retransmissions), so the n-th on one interface pairs with the n-th on another: every interface
// may claim each kept packet once. A kept packet and its copy are no further apart than both
// clocks' errors and the way between them allow. For TCP the claim is on bytes: a super-packet
// answers for the segments cut from it, and segments together for the super-packet that they make
// up, when headers and bytes agree. What cannot be decided is kept.

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "exporter/dedup_key.hpp"

namespace lookback::exporter {

/// What a packet may take from one recorded interface to the next: on one node it waits for a
/// processor at most, between nodes in the queues of a network that is congested just when somebody
/// wants to know. A wide bound costs little, since sightings pair one to one.
inline constexpr int64_t kTransitOnNodeNs = 10'000'000, kTransitNs = 100'000'000;
/// The clock error that is assumed where a node's clock was never measured (imported captures).
inline constexpr int64_t kUnmeasuredErrorNs = 50'000'000;

/// Memory is bounded by `max_sightings` and `payload_bytes`. One thread.
class Deduplicator {
 public:
  struct Limits {
    size_t max_sightings = 1 << 20;           ///< kept packets that are remembered
    size_t payload_bytes = size_t{64} << 20;  ///< TCP payload that is remembered
  };
  explicit Deduplicator(Limits limits);

  /// Takes sightings in the order of the output; false: keep it, true: it is a copy. `interface` is
  /// the output's number, `payload` the TCP payload of a stream key.
  [[nodiscard]] bool is_copy(const DedupKey& key, uint32_t node, uint32_t interface,
                             std::span<const std::byte> payload);
  /// Nothing that comes later was seen before this hub time, less the error of its clock: older
  /// sightings are forgotten.
  void forget_before(int64_t hub_ns);

  /// Sightings or payloads forgotten, and comparisons not made, because a bound was reached.
  [[nodiscard]] uint64_t evictions() const { return evictions_; }
  [[nodiscard]] size_t remembered() const { return kept_.size(); }

 private:
  using Number = uint64_t;  ///< of a kept packet, counting from the first
  using Place = uint64_t;   ///< an interface of the output, and of the host within it
  static constexpr Number kNone = UINT64_MAX;
  static constexpr uint32_t kNoClaim = UINT32_MAX;

  struct Kept {
    DedupKey key;
    uint32_t node;
    Place interface;
    Number next_same = kNone;         ///< whole: the next kept packet of equal content
    uint64_t payload_position = 0;    ///< stream
    uint32_t first_claim = kNoClaim;  ///< stream
    uint32_t claims = 0;
  };
  /// An interface has seen these bytes of a kept packet.
  struct Claim {
    Place interface;
    uint32_t from, to;  ///< offsets in the payload
    uint32_t next;
  };
  /// Kept packets of equal content, in order, and how far each interface has come in them.
  struct Group {
    Number first = kNone, last = kNone;
    std::vector<std::pair<Place, Number>> seen;
  };
  /// Kept packets of one flow that have bytes in one stretch of sequence numbers, in order.
  struct Stretch {
    std::vector<Number> numbers;
    size_t first = 0;
  };
  struct Step {
    Number number;
    uint32_t from, to;
  };

  [[nodiscard]] bool claim_whole(const DedupKey& key, uint32_t node, Place interface);
  [[nodiscard]] bool claim_stream(const DedupKey& key, uint32_t node, Place interface,
                                  std::span<const std::byte> payload);
  [[nodiscard]] bool find_equal(const DedupKey& key, uint32_t node, Place interface);
  [[nodiscard]] bool find_cover(const DedupKey& key, uint32_t node, Place interface,
                                std::span<const std::byte> payload);
  [[nodiscard]] bool covers(Kept& kept, const DedupKey& key, Place interface, uint32_t position,
                            std::span<const std::byte> payload, Step& step);
  void keep(const DedupKey& key, uint32_t node, Place interface,
            std::span<const std::byte> payload);
  void forget_first();

  [[nodiscard]] Kept& at(Number number) { return kept_[number - first_number_]; }
  [[nodiscard]] static bool near(const Kept& kept, const DedupKey& key, uint32_t node);
  [[nodiscard]] bool claimed(const Kept& kept, Place interface, uint32_t from,
                             uint32_t to) const;
  void claim(Kept& kept, Place interface, uint32_t from, uint32_t to);
  [[nodiscard]] uint64_t remember_payload(std::span<const std::byte> payload);
  [[nodiscard]] bool payload_remembered(const Kept& kept) const;

  const Limits limits_;
  std::deque<Kept> kept_;
  Number first_number_ = 0;
  std::unordered_map<uint64_t, Group> groups_;       ///< by content
  std::unordered_map<uint64_t, Stretch> stretches_;  ///< by flow and stretch
  std::vector<Claim> claims_;
  uint32_t free_claim_ = kNoClaim;
  std::vector<Step> steps_;
  std::unique_ptr<std::byte[]> payloads_;  ///< a ring
  uint64_t payload_end_ = 0;               ///< bytes ever written to it, its lost ends included
  uint64_t evictions_ = 0;
};

}  // namespace lookback::exporter
