#pragma once
// Follows both directions of one TCP connection as a monitor between the ends sees it: segments
// sent again, round trips, state. Judges as Wireshark's sequence analysis does, so that its figures
// and ours agree, but for one thing: what was seen before is never taken for merely late.

#include <array>
#include <cstdint>
#include <optional>

#include "exporter/packet_digest.hpp"
#include "lookback/exporter/flows.hpp"

namespace lookback::exporter {

namespace tcp_flag {
inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
}

class TcpTracker {
 public:
  /// Takes a packet of the connection; `from` 0 or 1 says which end sent it. True where it was a
  /// segment sent again.
  bool add(unsigned from, const PacketDigest& packet, int64_t time_ns);

  /// A SYN that begins another connection on the same ports.
  [[nodiscard]] bool starts_another(unsigned from, const PacketDigest& packet) const;
  /// The initial sequence number of an end whose SYN was seen.
  [[nodiscard]] std::optional<uint32_t> initial_sequence(unsigned end) const;
  [[nodiscard]] FlowState state() const;
  [[nodiscard]] std::optional<int64_t> rtt_ns() const;

 private:
  struct Hole {
    uint32_t from = 0, to = 0;  ///< empty where they are equal
  };
  struct End {
    int64_t next_time_ns = 0;  ///< of the segment that reached `next`
    int64_t ack_time_ns = 0;
    int64_t sent_ns = 0;           ///< when what `awaited` acknowledges was sent
    int64_t shortest_rtt_ns = -1;  ///< from here to the other end and back
    uint32_t initial = 0, next = 0, ack = 0, awaited = 0;
    std::array<Hole, 4> holes;  ///< not seen yet, below `next`
    uint8_t hole_to_fill = 0;
    uint8_t repeated_acks = 0;
    uint16_t window = 0;
    bool initial_known = false, next_known = false, ack_known = false, awaiting = false;
    bool fin = false, probed = false;
  };

  bool judge(const End& sender, const End& receiver, const PacketDigest& packet,
             int64_t time_ns) const;
  void time_round_trips(End& sender, End& receiver, const PacketDigest& packet, int64_t time_ns,
                        bool again);

  std::array<End, 2> ends_;
  int64_t syn_ns_ = 0, handshake_ns_ = -1;
  bool syn_seen_ = false, syn_answered_ = false, reset_ = false;
  uint8_t client_ = 0;
};

}  // namespace lookback::exporter
