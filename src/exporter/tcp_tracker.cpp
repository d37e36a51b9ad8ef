#include "exporter/tcp_tracker.hpp"

#include <algorithm>

namespace lookback::exporter {

namespace {

/// Below this a segment that fills a hole came late, and was not sent again; where the handshake's
/// round trip is known, that counts instead.
constexpr int64_t kReorderingNs = 3'000'000;
/// A segment this soon behind repeated acknowledgments that ask for it is a fast retransmission.
constexpr int64_t kFastNs = 20'000'000;

/// Sequence numbers wrap around (RFC 9293 3.4).
constexpr bool before(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b) < 0;
}
constexpr bool not_after(uint32_t a, uint32_t b) {
  return !before(b, a);
}

bool has(const PacketDigest& packet, uint8_t flags) {
  return (packet.tcp_flags & flags) != 0;
}
bool is_plain_ack(const PacketDigest& packet) {
  return packet.payload_length == 0 &&
         !has(packet, tcp_flag::kSyn | tcp_flag::kFin | tcp_flag::kRst);
}

}  // namespace

bool TcpTracker::judge(const End& sender, const End& receiver, const PacketDigest& packet,
                       int64_t time_ns) const {
  const uint32_t length = packet.payload_length;
  const bool counts = length > 0 || has(packet, tcp_flag::kSyn | tcp_flag::kFin);
  if (!counts || has(packet, tcp_flag::kRst) || !sender.next_known ||
      !before(packet.sequence, sender.next))
    return false;
  if (!has(packet, tcp_flag::kSyn | tcp_flag::kFin) && packet.sequence == sender.next - 1) {
    if (length == 1) return false;                  // asks whether the other end is alive
    if (length > 1 && sender.probed) return false;  // goes on where a zero window was probed
  }
  if (receiver.repeated_acks >= 2 && receiver.ack == packet.sequence &&
      time_ns - receiver.ack_time_ns < kFastNs)
    return true;
  const bool fills_hole =
      std::any_of(sender.holes.begin(), sender.holes.end(), [&](const Hole& hole) {
        return hole.from != hole.to && not_after(hole.from, packet.sequence) &&
               not_after(packet.sequence + length, hole.to);
      });
  const int64_t late = handshake_ns_ > 0 ? handshake_ns_ : kReorderingNs;
  // What comes right before the newest byte was the last to be sent, and waited for in vain.
  const bool last = packet.sequence + length == sender.next;
  return !(fills_hole && !last && time_ns - sender.next_time_ns < late);
}

bool TcpTracker::add(unsigned from, const PacketDigest& packet, int64_t time_ns) {
  End& sender = ends_[from];
  End& receiver = ends_[1 - from];
  const bool syn = has(packet, tcp_flag::kSyn), fin = has(packet, tcp_flag::kFin),
             rst = has(packet, tcp_flag::kRst), ack = has(packet, tcp_flag::kAck);
  const bool again = judge(sender, receiver, packet, time_ns);

  const bool probe = packet.payload_length == 1 && sender.next_known && receiver.ack_known &&
                     packet.sequence == sender.next && receiver.window == 0;
  const uint32_t end = packet.sequence + packet.payload_length + (syn || fin ? 1 : 0);
  if (!rst && !probe && (!sender.next_known || before(sender.next, end))) {
    if (sender.next_known && before(sender.next, packet.sequence)) {
      sender.holes[sender.hole_to_fill] = {sender.next, packet.sequence};
      sender.hole_to_fill = static_cast<uint8_t>((sender.hole_to_fill + 1) % sender.holes.size());
    }
    sender.next = end;
    sender.next_known = true;
    sender.next_time_ns = time_ns;
  } else if (packet.payload_length > 0) {
    for (Hole& hole : sender.holes) {
      // What fills a hole from its front leaves the rest; the middle counts as the front.
      if (hole.from != hole.to && not_after(hole.from, packet.sequence) &&
          not_after(packet.sequence + packet.payload_length, hole.to))
        hole.from = packet.sequence + packet.payload_length;
    }
  }
  sender.probed = probe;

  time_round_trips(sender, receiver, packet, time_ns, again);
  if (!ack || !sender.ack_known || sender.ack != packet.acknowledgment) {
    sender.repeated_acks = 0;
  } else if (is_plain_ack(packet) && packet.sequence == sender.next &&
             sender.window == packet.window && packet.window != 0) {
    sender.repeated_acks = static_cast<uint8_t>(std::min(sender.repeated_acks + 1, 255));
  }
  if (ack) {
    sender.ack = packet.acknowledgment;
    sender.ack_known = true;
    sender.ack_time_ns = time_ns;
  }
  sender.window = packet.window;
  if (syn) {
    sender.initial = packet.sequence;
    sender.initial_known = true;
  }
  sender.fin = sender.fin || fin;
  reset_ = reset_ || rst;
  return again;
}

void TcpTracker::time_round_trips(End& sender, End& receiver, const PacketDigest& packet,
                                  int64_t time_ns, bool again) {
  const bool syn = has(packet, tcp_flag::kSyn), ack = has(packet, tcp_flag::kAck);
  const auto from = static_cast<uint8_t>(&sender - ends_.data());
  if (syn && !ack) {
    if (!syn_seen_) {
      syn_seen_ = true;
      client_ = from;
      syn_ns_ = time_ns;
    } else if (!syn_answered_) {
      syn_ns_ = time_ns;  // sent again: which of them is answered is the last, most likely
    }
  } else if (syn && syn_seen_ && from != client_) {
    syn_answered_ = true;
  } else if (ack && !syn && syn_answered_ && handshake_ns_ < 0 && from == client_) {
    handshake_ns_ = std::max<int64_t>(0, time_ns - syn_ns_);
  }

  if (ack && receiver.awaiting && not_after(receiver.awaited, packet.acknowledgment)) {
    const int64_t trip = std::max<int64_t>(0, time_ns - receiver.sent_ns);
    if (receiver.shortest_rtt_ns < 0 || trip < receiver.shortest_rtt_ns)
      receiver.shortest_rtt_ns = trip;
    receiver.awaiting = false;
  }
  // The acknowledgment of what was sent twice does not tell which of them it means.
  if (again) {
    sender.awaiting = false;
  } else if (packet.payload_length > 0 && !sender.awaiting) {
    sender.awaiting = true;
    sender.awaited = packet.sequence + packet.payload_length;
    sender.sent_ns = time_ns;
  }
}

bool TcpTracker::starts_another(unsigned from, const PacketDigest& packet) const {
  return (packet.tcp_flags & (tcp_flag::kSyn | tcp_flag::kAck)) == tcp_flag::kSyn &&
         ends_[from].next_known &&
         !(ends_[from].initial_known && ends_[from].initial == packet.sequence);
}

std::optional<uint32_t> TcpTracker::initial_sequence(unsigned end) const {
  if (!ends_[end].initial_known) return std::nullopt;
  return ends_[end].initial;
}

FlowState TcpTracker::state() const {
  if (reset_) return FlowState::reset;
  if (ends_[0].fin && ends_[1].fin) return FlowState::closed;
  if (syn_seen_ && !ends_[1 - client_].next_known) return FlowState::connecting;
  return FlowState::open;
}

std::optional<int64_t> TcpTracker::rtt_ns() const {
  if (handshake_ns_ >= 0) return handshake_ns_;
  int64_t sum = 0;
  bool any = false;
  for (const End& end : ends_) {
    if (end.shortest_rtt_ns < 0) continue;
    any = true;
    sum += end.shortest_rtt_ns;
  }
  return any ? std::optional(sum) : std::nullopt;
}

}  // namespace lookback::exporter
