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
/// A SYN follows the call of connect by less than this.
constexpr int64_t kConnectNs = 10'000'000;

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_any(const Address& address) {
  static constexpr Address kAny4 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
  return address == Address{} || address == kAny4;
}

/// Multicast and IPv4's broadcast: addresses that a host listens to without having them.
bool is_group(const Address& address) {
  const bool v4 = std::equal(kMapped.begin(), kMapped.end(), address.begin());
  if (!v4) return address[0] == 0xff;
  return address[12] >= 0xe0 || address[15] == 0xff;
}

/// 127.0.0.0/8 is a host's as a whole.
bool is_loopback(const Address& address) {
  static constexpr Address kLoopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address == kLoopback6 ||
         (std::equal(kMapped.begin(), kMapped.end(), address.begin()) && address[12] == 127);
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
  from_ns = after == possessions_.begin() ? INT64_MIN : std::prev(after)->from_ns;
  return after == possessions_.begin() ? nullptr : std::prev(after)->owner.get();
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
  addresses_[record.netns] = record.addresses;
  ++version_;
}

void OwnerTable::interface(const Record& record) {
  if (interfaces_.size() >= kMostNetworks && !interfaces_.contains(record.name))
    interfaces_.clear();
  interfaces_[record.name] = {record.addresses, record.netns, record.peer_netns, record.loopback};
  ++version_;
}

/// Whether a socket that is bound to any address can have packets of this one.
bool OwnerTable::has_address(uint64_t netns, const Address& address) const {
  const auto known = addresses_.find(netns);
  return known == addresses_.end() || is_group(address) || is_loopback(address) ||
         std::find(known->second.begin(), known->second.end(), address) != known->second.end();
}

void OwnerTable::checkpoint(const Record& record) {
  ++generation_;
  state_sockets_left_ = record.sockets;
  if (state_sockets_left_ == 0) close_unseen(record.time_ns);
}

/// After a checkpoint's last socket: what it does not name is no more, and its close was lost.
void OwnerTable::close_unseen(int64_t time_ns) {
  for (const auto& [id, socket] : by_id_) {
    if (socket->to_ns_ == INT64_MAX && socket->generation_ != generation_)
      close(*socket, time_ns, time_ns);
  }
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
      replace_owner(record.pid, record.time_ns);
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
  if (record.kind == Kind::exec) replace_owner(record.pid, record.time_ns);
}

/// The process goes on with its sockets as another program or in another container.
void OwnerTable::replace_owner(uint32_t pid, int64_t time_ns) {
  const auto owned = of_process_.find(pid);
  if (owned == of_process_.end()) return;
  const Process& process = processes_.at(pid);
  auto& ids = owned->second;
  std::erase_if(ids, [&](uint64_t id) {
    const auto at = by_id_.find(id);
    if (at == by_id_.end() || at->second->to_ns_ != INT64_MAX) return true;
    auto& possessions = at->second->possessions_;
    if (possessions.empty() || possessions.back().owner->pid != pid) return true;
    Owner next = *possessions.back().owner;
    next.comm = process.comm;
    next.exe = process.exe;
    if (process.uid) next.uid = process.uid;
    next.container = container_of(process.cgroup);
    possessions.push_back({time_ns, std::make_shared<const Owner>(std::move(next))});
    return false;
  });
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
  if (!possessions.empty() && possessions.back().owner->pid == record.pid &&
      possessions.back().owner->comm == record.comm && !record.first)
    return;
  auto owner = owner_of(record);
  if (record.first) possessions.clear();
  while (!possessions.empty() && possessions.back().from_ns > from_ns) possessions.pop_back();
  possessions.push_back({from_ns, std::move(owner)});
  std::vector<uint64_t>& owned = of_process_[record.pid];
  if (owned.empty() || owned.back() != socket.id_) owned.push_back(socket.id_);
  // Long-lived servers: what they no longer have goes now and then.
  if (owned.size() >= 64 && (owned.size() & (owned.size() - 1)) == 0) {
    std::erase_if(owned, [&](uint64_t id) {
      const auto at = by_id_.find(id);
      return at == by_id_.end() || at->second->to_ns_ != INT64_MAX;
    });
  }
}

void OwnerTable::socket(const Record& record) {
  forget_old(record.time_ns);
  ++version_;
  if (record.kind == Kind::socket && state_sockets_left_ > 0) --state_sockets_left_;
  const bool last_of_state = record.kind == Kind::socket && state_sockets_left_ == 0;
  auto at = by_id_.find(record.socket);
  if (at == by_id_.end()) {
    if (record.protocol != kTcp && record.protocol != kUdp) return;
    if (by_id_.size() >= kMostSockets) {
      ++refused_;
      return;
    }
    auto made = std::make_shared<Socket>();
    made->id_ = record.socket;
    made->netns_ = record.netns;
    made->server_ = record.server;
    made->listening_ = record.listening;
    made->ends_ = {record.local, record.has_remote ? record.remote : Address{}, record.local_port,
                   record.has_remote ? record.remote_port : uint16_t{0}, record.protocol};
    if (is_any(made->ends_.local)) made->ends_.local = {};
    // A socket that was there before the first checkpoint, as old as may be.
    made->from_ns_ = record.opened_ns.value_or(
        record.kind == Kind::socket || record.kind == Kind::owner ? INT64_MIN : record.time_ns);
    at = by_id_.emplace(record.socket, made).first;
    by_ends_[made->ends_].push_back(made);
  }
  const std::shared_ptr<Socket> keep = at->second;
  Socket& socket = *keep;
  socket.generation_ = generation_;
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

void OwnerTable::close(Socket& socket, int64_t time_ns, int64_t to_ns) {
  if (socket.to_ns_ != INT64_MAX) return;
  socket.to_ns_ = to_ns;
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
    of_process_.erase(pid);
  }
}

void OwnerTable::forget(const SocketPtr& socket) {
  const auto same = by_ends_.find(socket->ends_);
  if (same != by_ends_.end()) {
    std::erase(same->second, socket);
    if (same->second.empty()) by_ends_.erase(same);
  }
  by_id_.erase(socket->id_);
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
    return away <= kNearNs ? std::optional(away) : std::nullopt;
  };
  const auto is_attempt = [](const Socket& socket) {
    return saturating_sub(socket.to_ns_, socket.from_ns_) < kSameMomentNs;
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
  return {best, several};
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
  if (interface != nullptr) {
    // What comes from the other end of a veth pair, or goes there, is its namespace's first.
    narrowed.netns = interface->peer_netns;
    if (narrowed.netns != 0)
      if (const Choice one = nearest(sockets, narrowed); one.socket) return one.socket;
    const auto& own = interface->addresses;
    narrowed.netns = interface->netns;
    if (narrowed.netns != 0 && std::find(own.begin(), own.end(), query.local) != own.end())
      if (const Choice one = nearest(sockets, narrowed); one.socket) return one.socket;
  }
  ++ambiguous_;
  return nullptr;
}

std::shared_ptr<const Socket> OwnerTable::find(const Query& query) {
  const auto look = [&](const Address& local, bool with_remote) -> SocketPtr {
    Socket::Ends ends{local, {}, query.local_port, 0, query.protocol};
    if (with_remote) {
      ends.remote = query.remote;
      ends.remote_port = query.remote_port;
    }
    const auto at = by_ends_.find(ends);
    if (at == by_ends_.end()) return nullptr;
    if (!is_any(local)) return choose(at->second, query);
    // Bound to any address: to any that its host has.
    std::vector<SocketPtr> able;
    for (const SocketPtr& socket : at->second)
      if (has_address(socket->netns_, query.local)) able.push_back(socket);
    return choose(able, query);
  };
  if (query.local_port == 0) return nullptr;
  const uint64_t before = ambiguous_;
  auto found = look(query.local, true);
  // Who listens may have a connection that is refused, or waits; one under way is somebody's own.
  if (query.protocol == kTcp && !query.opens) return found;
  if (!found && before == ambiguous_) found = look(query.local, false);
  if (!found && before == ambiguous_) found = look({}, false);
  return found;
}

}  // namespace lookback::context
