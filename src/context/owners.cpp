#include "lookback/context/owners.hpp"

#include <algorithm>
#include <cstring>

#include "lookback/base/hash.hpp"

namespace lookback::context {

namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;
/// What packets and events of the same moment may differ in their stamps.
constexpr int64_t kSameMomentNs = 200'000;
/// A packet may stand this far before the socket it belongs to (a handshake before accept) or
/// behind it (what a closed socket still answers).
constexpr int64_t kNearNs = 30'000'000'000;
/// The same of an echo, which nothing but its identifier ties to a socket.
constexpr int64_t kNearEchoNs = 1'000'000'000;
/// A SYN follows the call of connect by less than this.
constexpr int64_t kConnectNs = 10'000'000;

/// A UDP socket is told of with its first use, and this long before may have been given a datagram.
constexpr int64_t kFirstUseNs = 10'000'000'000;

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

constexpr Address kAny4 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, kAny6 = {};

bool is_any(const Address& address) {
  return address == kAny6 || address == kAny4;
}

bool is_v4(const Address& address) {
  return std::equal(kMapped.begin(), kMapped.end(), address.begin());
}

/// Multicast and IPv4's broadcast: addresses that a host listens to without having them.
bool is_group(const Address& address) {
  if (!is_v4(address)) return address[0] == 0xff;
  return address[12] >= 0xe0 || address[15] == 0xff;
}

/// 127.0.0.0/8 is a host's as a whole.
bool is_loopback(const Address& address) {
  static constexpr Address kLoopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address == kLoopback6 || (is_v4(address) && address[12] == 127);
}

/// a - b, or the nearest that there is.
int64_t saturating_sub(int64_t a, int64_t b) {
  int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b > 0 ? INT64_MIN : INT64_MAX;
}

uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

const Owner* Socket::owner_at(int64_t time_ns) const {
  int64_t from_ns = 0, until_ns = 0;
  return owner_at(time_ns, from_ns, until_ns);
}

const Owner* Socket::owner_at(int64_t time_ns, int64_t& from_ns, int64_t& until_ns) const {
  const auto after =
      std::upper_bound(possessions_.begin(), possessions_.end(), time_ns,
                       [](int64_t time, const Possession& one) { return time < one.from_ns; });
  until_ns = after == possessions_.end() ? INT64_MAX : after->from_ns;
  from_ns = INT64_MIN;
  if (after == possessions_.begin()) return nullptr;
  const Possession& possession = *std::prev(after);
  from_ns = possession.from_ns;
  if (!possession.history) return possession.owner.get();
  // The process may have become another program since it got the socket.
  const ProcessHistory& history = *possession.history;
  const auto next = std::upper_bound(
      history.begin(), history.end(), std::max(time_ns, possession.told_ns),
      [](int64_t time, const auto& one) { return time < one.first; });
  if (next != history.end()) until_ns = std::min(until_ns, next->first);
  if (next == history.begin() || std::prev(next)->first <= possession.told_ns)
    return possession.owner.get();
  from_ns = std::prev(next)->first;
  return std::prev(next)->second.get();
}

size_t OwnerTable::EndsHash::operator()(const Socket::Ends& ends) const {
  uint64_t words[5];
  std::memcpy(words, ends.local.data(), 16);
  std::memcpy(words + 2, ends.remote.data(), 16);
  words[4] = uint64_t{ends.local_port} << 32 | uint64_t{ends.remote_port} << 8 | ends.protocol;
  uint64_t value = secret;
  for (const uint64_t word : words) value = mix(value ^ word, 0x9e3779b97f4a7c15);
  return static_cast<size_t>(value);
}

OwnerTable::EndsHash OwnerTable::make_hash() {
  return {random_u64()};
}

void OwnerTable::apply(const Record& record) {
  switch (record.kind) {
    case Kind::other:
      return;
    case Kind::lost:
      ++events_lost_;
      return;
    case Kind::checkpoint:
      return checkpoint(record);
    case Kind::cgroup:
      if (record.container.empty()) return;
      if (containers_.size() >= kMostCgroups && !containers_.contains(record.cgroup)) {
        ++refused_;
        return;
      }
      containers_[record.cgroup] = std::make_shared<const Container>(
          Container{record.container, record.runtime, record.name, record.image, record.pod_uid});
      return;
    case Kind::process:
    case Kind::fork:
    case Kind::exec:
    case Kind::move:
    case Kind::exit:
      return process(record);
    case Kind::network:
      return network(record);
    case Kind::interface:
      return interface(record);
    default:
      if (is_about_socket(record.kind)) socket(record);
      return;
  }
}

void OwnerTable::network(const Record& record) {
  // The next checkpoint repeats those that there are.
  if (addresses_.size() >= kMostNetworks && !addresses_.contains(record.netns)) addresses_.clear();
  std::vector<Address>& addresses = addresses_[record.netns];
  addresses = record.addresses;
  std::sort(addresses.begin(), addresses.end());
  ++version_;
}

void OwnerTable::interface(const Record& record) {
  if (interfaces_.size() >= kMostNetworks && !interfaces_.contains(record.name))
    interfaces_.clear();
  Interface& interface = interfaces_[record.name];
  interface = {record.addresses, record.netns, record.peer_netns, record.loopback};
  std::sort(interface.addresses.begin(), interface.addresses.end());
  ++version_;
}

/// Whether a socket that is bound to any address can have packets of this one.
bool OwnerTable::has_address(uint64_t netns, const Address& address) const {
  const auto known = addresses_.find(netns);
  return known == addresses_.end() || is_group(address) || is_loopback(address) ||
         std::binary_search(known->second.begin(), known->second.end(), address);
}

void OwnerTable::checkpoint(const Record& record) {
  ++generation_;
  state_sockets_left_ = record.sockets;
  if (state_sockets_left_ == 0) close_unseen(record.time_ns);
}

/// After a checkpoint's last socket: what it does not name is no more, and its close was lost.
void OwnerTable::close_unseen(int64_t time_ns) {
  while (!open_.empty() && open_.front()->generation_ != generation_)
    close(*open_.front(), time_ns, time_ns);
}

void OwnerTable::process(const Record& record) {
  if (record.kind == Kind::exit) {
    const auto at = processes_.find(record.pid);
    if (at == processes_.end()) return;
    at->second.ended = true;
    ended_processes_.emplace_back(record.time_ns, record.pid);
    return;
  }
  if (record.kind == Kind::move) {
    if (const auto at = processes_.find(record.pid); at != processes_.end()) {
      at->second.cgroup = record.cgroup;
      change(record.pid, at->second, record.time_ns);
    }
    return;
  }
  const auto parent = record.kind == Kind::fork ? processes_.find(record.ppid) : processes_.end();
  const std::string inherited = parent != processes_.end() ? parent->second.exe : std::string();
  if (processes_.size() >= kMostProcesses && !processes_.contains(record.pid)) {
    ++refused_;
    return;
  }
  Process& process = processes_[record.pid];
  if (process.ended || record.kind == Kind::fork) process = {};
  process.comm = record.comm;
  process.exe = record.exe.empty() ? inherited : record.exe;
  process.cgroup = record.cgroup;
  process.uid = record.uid;
  if (record.kind == Kind::exec) change(record.pid, process, record.time_ns);
}

/// The process goes on with its sockets as another program or in another container.
void OwnerTable::change(uint32_t pid, Process& process, int64_t time_ns) {
  ProcessHistory& history = *process.history;
  Owner owner;
  owner.pid = owner.tid = pid;
  owner.uid = process.uid;
  owner.comm = process.comm;
  owner.exe = process.exe;
  owner.container = container_of(process.cgroup);
  while (!history.empty() && history.back().first >= time_ns) history.pop_back();
  if (history.size() >= kMostChanges)
    history.erase(history.begin(), history.begin() + kMostChanges / 2);
  history.emplace_back(time_ns, std::make_shared<const Owner>(std::move(owner)));
  ++version_;
}

std::shared_ptr<const Container> OwnerTable::container_of(uint64_t cgroup) const {
  const auto at = containers_.find(cgroup);
  return at == containers_.end() ? nullptr : at->second;
}

std::shared_ptr<const Owner> OwnerTable::owner_of(const Record& record) {
  Owner owner;
  owner.pid = record.pid;
  owner.tid = record.tid;
  owner.uid = record.uid;
  owner.comm = record.comm;
  uint64_t cgroup = record.cgroup;
  if (const auto known = processes_.find(record.pid); known != processes_.end()) {
    owner.exe = known->second.exe;
    if (owner.comm.empty()) owner.comm = known->second.comm;
    if (!owner.uid) owner.uid = known->second.uid;
    if (cgroup == 0) cgroup = known->second.cgroup;
  }
  owner.container = container_of(cgroup);
  return std::make_shared<const Owner>(std::move(owner));
}

void OwnerTable::own(Socket& socket, const Record& record, int64_t from_ns) {
  if (record.pid == 0) return;
  auto& possessions = socket.possessions_;
  // State that a checkpoint repeats, and a close by the owner, tell nothing new.
  if (const Owner* const now = socket.owner_at(INT64_MAX);
      now != nullptr && now->pid == record.pid && now->comm == record.comm && !record.first)
    return;
  if (record.first) possessions.clear();
  while (!possessions.empty() && possessions.back().from_ns > from_ns) possessions.pop_back();
  if (possessions.size() >= kMostChanges)
    possessions.erase(possessions.begin(), possessions.begin() + kMostChanges / 2);
  // A process that nothing was told about yet may be told about later.
  if (processes_.size() < kMostProcesses) processes_.try_emplace(record.pid);
  const auto process = processes_.find(record.pid);
  possessions.push_back(
      {from_ns, record.time_ns, owner_of(record),
       process == processes_.end() ? nullptr : process->second.history});
}

void OwnerTable::socket(const Record& record) {
  forget_old(record.time_ns);
  ++version_;
  if (record.kind == Kind::socket && state_sockets_left_ > 0) --state_sockets_left_;
  const bool last_of_state = record.kind == Kind::socket && state_sockets_left_ == 0;
  const auto at = by_id_.find(record.socket);
  const SocketPtr keep = at != by_id_.end() ? at->second : make_socket(record);
  if (!keep) return;
  Socket& socket = *keep;
  socket.generation_ = generation_;
  if (socket.to_ns_ == INT64_MAX) open_.splice(open_.end(), open_, socket.open_);
  switch (record.kind) {
    case Kind::owner:
      // It is told of when a write is done: what was written went out shortly before.
      own(socket, record,
          record.first || socket.possessions_.empty()
              ? INT64_MIN
              : std::max(saturating_sub(record.time_ns, kSameMomentNs),
                         socket.possessions_.back().from_ns));
      break;
    case Kind::close:
      own(socket, record, socket.possessions_.empty() ? INT64_MIN : record.time_ns);
      close(socket, record.time_ns, std::min(record.time_ns, record.ended_ns.value_or(INT64_MAX)));
      break;
    default:
      own(socket, record, socket.possessions_.empty() ? INT64_MIN : record.time_ns);
      break;
  }
  if (last_of_state) close_unseen(record.time_ns);
}

/// Null where it is not followed.
OwnerTable::SocketPtr OwnerTable::make_socket(const Record& record) {
  if (record.protocol == 0) return nullptr;
  if (by_id_.size() >= kMostSockets) {
    ++refused_;
    return nullptr;
  }
  auto made = std::make_shared<Socket>();
  made->id_ = record.socket;
  made->netns_ = record.netns;
  made->server_ = record.server;
  made->client_ = record.client;
  made->listening_ = record.listening;
  made->v6only_ = record.v6only;
  made->ends_ = {record.local, record.has_remote ? record.remote : Address{}, record.local_port,
                 record.has_remote ? record.remote_port : uint16_t{0}, record.protocol};
  // A socket that was there before the first checkpoint, as old as may be.
  made->from_ns_ = record.opened_ns.value_or(
      record.kind == Kind::socket || record.kind == Kind::owner ? INT64_MIN : record.time_ns);
  Group& group = by_ends_[made->ends_];
  if (group.sockets.size() >= kMostSameEnds) {
    const auto over = std::find_if(group.sockets.begin(), group.sockets.end(),
                                   [](const SocketPtr& one) { return one->to_ns_ != INT64_MAX; });
    if (over == group.sockets.end()) {
      group.crowded = true;
      ++refused_;
      return nullptr;
    }
    by_id_.erase((*over)->id_);
    group.sockets.erase(over);
  }
  group.sockets.push_back(made);
  by_id_.emplace(record.socket, made);
  made->open_ = open_.insert(open_.end(), made.get());
  return made;
}

void OwnerTable::close(Socket& socket, int64_t time_ns, int64_t to_ns) {
  if (socket.to_ns_ != INT64_MAX) return;
  socket.to_ns_ = to_ns;
  open_.erase(socket.open_);
  closed_.emplace_back(time_ns, by_id_.at(socket.id_));
}

void OwnerTable::forget_old(int64_t now_ns) {
  const int64_t forgotten_ns = saturating_sub(now_ns, kKeptNs);
  while (!closed_.empty() && closed_.front().first < forgotten_ns) {
    forget(closed_.front().second);
    closed_.pop_front();
  }
  while (!ended_processes_.empty() && ended_processes_.front().first < forgotten_ns) {
    const uint32_t pid = ended_processes_.front().second;
    ended_processes_.pop_front();
    const auto at = processes_.find(pid);
    if (at == processes_.end() || !at->second.ended) continue;
    processes_.erase(at);
  }
}

void OwnerTable::forget(const SocketPtr& socket) {
  const auto known = by_id_.find(socket->id_);
  if (known == by_id_.end() || known->second != socket) return;  // it made room for others
  by_id_.erase(known);
  const auto same = by_ends_.find(socket->ends_);
  std::erase(same->second.sockets, socket);
  if (same->second.sockets.empty()) by_ends_.erase(same);
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
        if (socket.from_ns_ < t - kSameMomentNs) return std::nullopt;
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
    const bool has_ports = query.protocol == kTcp || query.protocol == kUdp;
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
    const int64_t early = query.protocol == kUdp ? kFirstUseNs : kSameMomentNs;
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
    const auto& own = interface->addresses;
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
  const bool has_ports = query.protocol == kTcp || query.protocol == kUdp;
  if (port == 0 && has_ports) return nullptr;
  const uint64_t before = ambiguous_;
  auto found = look(query.local, true);
  // Who listens may have a connection that is refused, or waits; one under way is somebody's own.
  if (query.protocol == kTcp && !query.opens) return found;
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
  if (query.protocol != kTcp) return false;
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
