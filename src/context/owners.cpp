#include "lookback/context/owners.hpp"

#include <algorithm>
#include <cstring>

#include "context/addresses.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::context {

namespace {

uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

/// What keeping one costs beside its texts, its place in a list included.
template <typename T>
constexpr uint64_t kBytesOf = sizeof(T) + 128;

}  // namespace

OwnerTable::Held::Held(std::shared_ptr<std::atomic<uint64_t>> sum, uint64_t bytes) : sum_(std::move(sum)), bytes_(bytes) {
  *sum_ += bytes_;
}

OwnerTable::Held::Held(Held&& other) noexcept : sum_(std::move(other.sum_)), bytes_(other.bytes_) {}

OwnerTable::Held& OwnerTable::Held::operator=(Held&& other) noexcept {
  std::swap(sum_, other.sum_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

OwnerTable::Held::~Held() {
  if (sum_) *sum_ -= bytes_;
}

std::optional<OwnerTable::Held> OwnerTable::hold(uint64_t bytes) {
  if (*held_ + bytes <= kMostBytes) return Held(held_, bytes);
  ++refused_;
  return std::nullopt;
}

template <typename T>
std::shared_ptr<const T> OwnerTable::keep(T value, uint64_t bytes) {
  struct Kept {
    Held held;
    T value;
  };
  auto held = hold(kBytesOf<T> + bytes);
  if (!held) return nullptr;
  auto kept = std::make_shared<const Kept>(Kept{std::move(*held), std::move(value)});
  return {kept, &kept->value};
}

std::shared_ptr<const Owner> OwnerTable::keep_owner(Owner owner) {
  const uint64_t bytes = owner.comm.size() + owner.exe.size();
  return keep(std::move(owner), bytes);
}

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
      containers_[record.cgroup] =
          keep(Container{record.container, record.runtime, record.name, record.image, record.pod_uid},
               record.container.size() + record.runtime.size() + record.name.size() + record.image.size() + record.pod_uid.size());
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
  ++version_;
  auto held = hold(kBytesOf<Addresses> + record.addresses.size() * sizeof(Address));
  if (!held) {
    addresses_.erase(record.netns);
    return;
  }
  Addresses& known = addresses_[record.netns];
  known = {std::move(*held), record.addresses};
  std::sort(known.sorted.begin(), known.sorted.end());
}

void OwnerTable::interface(const Record& record) {
  if (interfaces_.size() >= kMostNetworks && !interfaces_.contains(record.name))
    interfaces_.clear();
  ++version_;
  auto held = hold(kBytesOf<Interface> + record.name.size() + record.addresses.size() * sizeof(Address));
  if (!held) {
    interfaces_.erase(record.name);
    return;
  }
  Interface& known = interfaces_[record.name];
  known = {{std::move(*held), record.addresses}, record.netns, record.peer_netns, record.loopback};
  std::sort(known.addresses.sorted.begin(), known.addresses.sorted.end());
}

void OwnerTable::checkpoint(const Record& record) {
  ++generation_;
  state_sockets_left_ = record.sockets;
  if (state_sockets_left_ == 0) close_unseen(record.time_ns);
}

/// After a checkpoint's last socket: what it does not name has gone, and its close was lost.
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
  process.held = {};
  if (auto held = hold(kBytesOf<Process> + process.comm.size() + process.exe.size())) {
    process.held = std::move(*held);
  } else {
    process.comm = process.exe = {};
  }
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
  ++version_;
  auto kept = keep_owner(std::move(owner));
  if (kept == nullptr && !history.empty() && history.back().second == nullptr) return;  // unknown as before
  history.emplace_back(time_ns, std::move(kept));
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
  return keep_owner(std::move(owner));
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
  auto owner = owner_of(record);
  if (owner == nullptr) {
    // Nobody is named from here on, whatever becomes of the process.
    if (possessions.empty() || possessions.back().owner != nullptr) possessions.push_back({from_ns, record.time_ns, nullptr, nullptr});
    return;
  }
  possessions.push_back({from_ns, record.time_ns, std::move(owner),
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

}  // namespace lookback::context
