// Which socket a packet belongs to.

#include <algorithm>

#include "context/addresses.hpp"
#include "lookback/context/owners.hpp"

namespace lookback::context {

namespace {

/// A packet may stand this far before the socket it belongs to (a handshake before accept) or
/// behind it (what a closed socket still answers).
constexpr int64_t kNearNs = 30'000'000'000;
/// The same of an echo, which nothing but its identifier ties to a socket.
constexpr int64_t kNearEchoNs = 1'000'000'000;
/// A SYN follows the call of connect by less than this.
constexpr int64_t kConnectNs = 10'000'000;

/// A UDP socket is told of with its first use, and this long before may have been given a datagram.
constexpr int64_t kFirstUseNs = 10'000'000'000;

}  // namespace

/// Whether a socket that is bound to any address can have packets of this one.
bool OwnerTable::has_address(uint64_t netns, const Address& address) const {
  const auto known = addresses_.find(netns);
  return known == addresses_.end() || is_group(address) || is_loopback(address) ||
         std::binary_search(known->second.sorted.begin(), known->second.sorted.end(), address);
}

/// Of sockets with the same ends the one that was there at the time, else the nearest.
OwnerTable::Choice OwnerTable::nearest(const std::vector<SocketPtr>& sockets, const Query& query) {
  // Far from the packet by this; nothing where it cannot be.
  const auto distance = [&](const Socket& socket) -> std::optional<int64_t> {
    const int64_t t = query.time_ns;
    if (query.netns != 0 && socket.netns_ != 0 && socket.netns_ != query.netns) return std::nullopt;
    if (query.opens && !socket.listening_) {
      if (socket.server_) {
        // Accepted after its SYN came.
        if (socket.from_ns_ < saturating_sub(t, kSameMomentNs)) return std::nullopt;
      } else if (socket.to_ns_ < t) {
        return std::nullopt;
      }
    }
    if (socket.from_ns_ <= t && t <= socket.to_ns_) {
      // Who has just begun to connect sent the SYN, not who did so long before.
      const bool client = query.opens && !socket.listening_ && !socket.server_;
      const int64_t since_ns = saturating_sub(t, socket.from_ns_);
      return client && since_ns >= kSameMomentNs ? std::min(since_ns, kConnectNs) : 0;
    }
    const int64_t away =
        t < socket.from_ns_ ? saturating_sub(socket.from_ns_, t) : saturating_sub(t, socket.to_ns_);
    const bool has_ports = query.protocol == ip_protocol::kTcp || query.protocol == ip_protocol::kUdp;
    return away <= (has_ports ? kNearNs : kNearEchoNs) ? std::optional(away) : std::nullopt;
  };
  const auto is_attempt = [](const Socket& socket) {
    return saturating_sub(socket.to_ns_, socket.from_ns_) < kSameMomentNs;
  };
  // Whether both were there at once, and either may have been given the packet: the kernel chooses
  // among sockets that share a port. A socket with a remote end shares it with none.
  const auto share = [&](const Socket& a, const Socket& b) {
    if (a.netns_ != b.netns_ || a.ends_.remote_port != 0 || is_attempt(a) || is_attempt(b))
      return false;
    if (saturating_sub(std::min(a.to_ns_, b.to_ns_), std::max(a.from_ns_, b.from_ns_)) <
        kSameMomentNs)
      return false;
    const int64_t early = query.protocol == ip_protocol::kUdp ? kFirstUseNs : kSameMomentNs;
    for (const Socket* one : {&a, &b}) {
      if (query.time_ns < saturating_sub(one->from_ns_, early) || query.time_ns > one->to_ns_)
        return false;
    }
    const Owner *const owner_a = a.owner_at(INT64_MAX), *const owner_b = b.owner_at(INT64_MAX);
    return owner_a == nullptr || owner_b == nullptr || owner_a->pid != owner_b->pid;
  };
  SocketPtr best;
  int64_t nearest = INT64_MAX;
  bool several = false;
  for (const SocketPtr& socket : sockets) {
    const auto away = distance(*socket);
    if (!away) continue;
    // Of two at the same distance the later one: ports are used again, not before. But one that
    // was over at once is an attempt that found the port taken.
    const bool later =
        best && (is_attempt(*best) != is_attempt(*socket) ? is_attempt(*best)
                                                          : best->from_ns_ < socket->from_ns_);
    const bool nearer = *away < nearest || (*away == nearest && later);
    if (best && best->netns_ != socket->netns_ && std::abs(*away - nearest) < kSameMomentNs)
      several = true;
    if (!nearer) continue;
    if (*away + kSameMomentNs < nearest) several = false;
    nearest = *away;
    best = socket;
  }
  const bool shared = best && std::any_of(sockets.begin(), sockets.end(), [&](const SocketPtr& one) {
    return one != best && share(*one, *best);
  });
  return {best, several || shared};
}

OwnerTable::SocketPtr OwnerTable::choose(const std::vector<SocketPtr>& sockets,
                                         const Query& query) {
  const auto at = interfaces_.find(std::string(query.interface));
  const Interface* const interface = at == interfaces_.end() ? nullptr : &at->second;
  Query narrowed = query;
  if (narrowed.netns == 0 && interface != nullptr && interface->loopback)
    narrowed.netns = interface->netns;
  const Choice all = nearest(sockets, narrowed);
  if (!all.several) return all.socket;
  const auto decided = [&]() -> SocketPtr {
    if (narrowed.netns == 0) return nullptr;
    const Choice one = nearest(sockets, narrowed);
    return one.several ? nullptr : one.socket;
  };
  if (interface != nullptr) {
    // What comes from the other end of a veth pair, or goes there, is its namespace's first.
    narrowed.netns = interface->peer_netns;
    if (SocketPtr one = decided()) return one;
    const auto& own = interface->addresses.sorted;
    narrowed.netns = interface->netns;
    if (std::binary_search(own.begin(), own.end(), query.local))
      if (SocketPtr one = decided()) return one;
  }
  ++ambiguous_;
  return nullptr;
}

std::shared_ptr<const Socket> OwnerTable::find(const Query& query) {
  uint16_t port = query.local_port;
  const auto look = [&](const Address& local, bool with_remote) -> SocketPtr {
    Socket::Ends ends{local, {}, port, 0, query.protocol};
    if (with_remote) {
      ends.remote = query.remote;
      ends.remote_port = query.remote_port;
    }
    const auto at = by_ends_.find(ends);
    if (at == by_ends_.end()) return nullptr;
    if (at->second.crowded) {
      ++ambiguous_;
      return nullptr;
    }
    if (!is_any(local)) return choose(at->second.sockets, query);
    // Bound to any address: to any that its host has.
    std::vector<SocketPtr> able;
    for (const SocketPtr& socket : at->second.sockets) {
      if (local == kAny6 && is_v4(query.local) && socket->v6only_) continue;
      if (has_address(socket->netns_, query.local)) able.push_back(socket);
    }
    return choose(able, query);
  };
  const bool has_ports = query.protocol == ip_protocol::kTcp || query.protocol == ip_protocol::kUdp;
  if (port == 0 && has_ports) return nullptr;
  const uint64_t before = ambiguous_;
  auto found = look(query.local, true);
  // Who listens may have a connection that is refused, or waits; one under way is somebody's own.
  if (query.protocol == ip_protocol::kTcp && !query.opens) return found;
  const auto look_around = [&] {
    if (!found && before == ambiguous_) found = look(query.local, false);
    // One for IPv4 alone comes first; one of IPv6 may take both (RFC 3493 5.3).
    if (!found && before == ambiguous_ && is_v4(query.local)) found = look(kAny4, false);
    if (!found && before == ambiguous_) found = look(kAny6, false);
  };
  look_around();
  if (has_ports || port == 0) return found;
  // No ping socket has the identifier: then a raw one may have made it up.
  port = 0;
  look_around();
  return found;
}

bool OwnerTable::serves(const Query& query, const Socket* socket) const {
  if (query.protocol != ip_protocol::kTcp) return false;
  if (socket != nullptr) {
    if (socket->server_ || socket->listening_) return true;
    if (socket->client_) return false;
  }
  for (const Address& local : {query.local, kAny4, kAny6}) {
    if (local == kAny4 && !is_v4(query.local)) continue;
    const auto at = by_ends_.find({local, {}, query.local_port, 0, query.protocol});
    if (at == by_ends_.end()) continue;
    const auto& sockets = at->second.sockets;
    if (std::any_of(sockets.begin(), sockets.end(), [&](const SocketPtr& one) {
          if (!one->listening_ || one->to_ns_ < query.time_ns) return false;
          if (local == kAny6 && is_v4(query.local) && one->v6only_) return false;
          if (socket != nullptr && one->netns_ != socket->netns_) return false;
          return !is_any(local) || has_address(one->netns_, query.local);
        }))
      return true;
  }
  return false;
}

}  // namespace lookback::context
