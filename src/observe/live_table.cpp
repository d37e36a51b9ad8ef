#include "observe/live_table.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace lookback::observe {
namespace {

constexpr size_t kMostSockets = 150'000, kMostProcesses = 150'000, kMostNetworks = 10'000;

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t value = (a ^ b) * 0x9e3779b97f4a7c15ULL;
  return value ^ value >> 32;
}

uint64_t halves(const Address& address) {
  uint64_t low = 0, high = 0;
  std::memcpy(&low, address.bytes.data(), sizeof low);
  std::memcpy(&high, address.bytes.data() + sizeof low, sizeof high);
  return mix(low, high + address.family);
}

}  // namespace

size_t EndsHash::operator()(const Ends& ends) const noexcept {
  const uint64_t ports = static_cast<uint64_t>(ends.netns) << 32 |
                         static_cast<uint64_t>(ends.local_port) << 16 | ends.remote_port;
  return mix(mix(halves(ends.local), halves(ends.remote) * 3), ports + ends.protocol);
}

void LiveTable::apply(const Event& event) {
  switch (event.kind) {
    case Kind::checkpoint:
      processes_.clear();
      sockets_.clear();
      by_ends_.clear();
      cgroups_.clear();
      networks_.clear();
      interfaces_.clear();
      return;
    case Kind::cgroup:
      cgroups_[event.cgroup] = event;
      return;
    case Kind::process:
    case Kind::exec: {
      if (processes_.size() >= kMostProcesses && processes_.count(event.pid) == 0) return;
      Event& process = processes_[event.pid];
      const int64_t start = event.start_ns != 0 ? event.start_ns : process.start_ns;
      process = event;
      process.kind = Kind::process;
      process.start_ns = start;
      return;
    }
    case Kind::fork: {
      if (processes_.size() >= kMostProcesses) return;
      Event child = event;
      child.kind = Kind::process;
      if (const Event* parent = process(event.ppid)) {
        child.exe = parent->exe;
        child.argv = parent->argv;
        child.argv_cut = parent->argv_cut;
      }
      processes_[event.pid] = std::move(child);
      return;
    }
    case Kind::move:
      if (const auto it = processes_.find(event.pid); it != processes_.end())
        it->second.cgroup = event.cgroup;
      return;
    case Kind::exit:
      processes_.erase(event.pid);
      return;
    case Kind::socket:
    case Kind::listen:
    case Kind::connect:
    case Kind::accept:
    case Kind::udp:
    case Kind::raw:
      add_socket(event);
      return;
    case Kind::owner:
      set_owner(event);
      return;
    case Kind::close:
      erase_socket(event.socket);
      return;
    case Kind::network:
      if (networks_.size() < kMostNetworks || networks_.contains(event.netns))
        networks_[event.netns] = event;
      return;
    case Kind::interface:
      if (interfaces_.size() < kMostNetworks || interfaces_.contains(event.interface))
        interfaces_[event.interface] = event;
      return;
    case Kind::oom:
    case Kind::retransmit:
    case Kind::reset:
    case Kind::drop:
    case Kind::lost:
      return;
  }
}

void LiveTable::add_socket(const Event& event) {
  // Whatever had these ends before is gone, even if nothing told of its end. Raw sockets all have the same.
  const auto ends = Ends::of(event);
  if (event.kind != Kind::listen && event.state != tcp_state::kListen && event.local_port != 0)
    if (const auto old = by_ends_.find(ends); old != by_ends_.end() && old->second != event.socket)
      erase_socket(old->second);
  if (sockets_.size() >= kMostSockets && sockets_.count(event.socket) == 0) {
    ++refused_;
    return;
  }
  erase_socket(event.socket);
  Event& socket = sockets_[event.socket];
  socket = event;
  socket.kind = Kind::socket;
  socket.first = false;
  if (socket.opened_ns == 0 && event.kind != Kind::socket) socket.opened_ns = event.time_ns;
  if (event.kind == Kind::listen) socket.state = tcp_state::kListen;
  if (event.kind == Kind::connect) socket.role = Role::client;
  if (event.kind == Kind::accept) socket.role = Role::server;
  by_ends_[ends] = event.socket;
}

void LiveTable::set_owner(const Event& event) {
  const auto it = sockets_.find(event.socket);
  if (it == sockets_.end()) {
    add_socket(event);
    return;
  }
  Event& socket = it->second;
  socket.pid = event.pid;
  socket.tid = event.tid;
  socket.uid = event.uid;
  socket.comm = event.comm;
  socket.cgroup = event.cgroup;
}

void LiveTable::erase_socket(uint64_t id) {
  const auto it = sockets_.find(id);
  if (it == sockets_.end()) return;
  if (const auto ends = by_ends_.find(Ends::of(it->second));
      ends != by_ends_.end() && ends->second == id)
    by_ends_.erase(ends);
  sockets_.erase(it);
}

const Event* LiveTable::socket_at(const Ends& ends) const {
  const auto it = by_ends_.find(ends);
  return it == by_ends_.end() ? nullptr : socket(it->second);
}

uint32_t LiveTable::listener_pid(const Event& connection) const {
  Ends ends;
  ends.netns = connection.netns;
  ends.protocol = connection.protocol;
  ends.local_port = connection.local_port;
  Address none4, none6;
  none4.family = 4;
  none6.family = 6;
  for (const auto& local : {connection.local, none4, none6})
    // A listening socket has no other end; how that is written depends on where it was found.
    for (const auto& remote : {Address{}, none4, none6}) {
      ends.local = local;
      ends.remote = remote;
      if (const Event* found = socket_at(ends);
          found != nullptr && found->state == tcp_state::kListen)
        return found->pid;
    }
  return 0;
}

void LiveTable::checkpoint(int64_t time_ns, const std::string& boot_id,
                           const std::function<void(const Event&)>& take) const {
  Event head;
  head.kind = Kind::checkpoint;
  head.time_ns = time_ns;
  head.text = boot_id;
  head.cgroups = cgroups_.size();
  head.processes = processes_.size();
  head.sockets = sockets_.size();
  take(head);
  const auto all = [&](const auto& map) {
    // In order, so that the same state makes the same bytes.
    std::vector<const Event*> sorted;
    sorted.reserve(map.size());
    for (const auto& [key, event] : map) sorted.push_back(&event);
    std::sort(sorted.begin(), sorted.end(), [](const Event* a, const Event* b) {
      const auto order = [](const Event& e) {
        return std::tuple(e.cgroup * (e.kind == Kind::cgroup), e.pid * (e.kind == Kind::process),
                          e.socket, e.netns * (e.kind == Kind::network), e.interface);
      };
      return order(*a) < order(*b);
    });
    for (const Event* event : sorted) {
      Event stamped = *event;
      stamped.time_ns = time_ns;
      take(stamped);
    }
  };
  all(cgroups_);
  all(processes_);
  all(sockets_);
  all(networks_);
  all(interfaces_);
}

void LiveTable::forget_unused_cgroups() {
  std::unordered_set<uint64_t> used;
  for (const auto& [pid, process] : processes_) used.insert(process.cgroup);
  for (const auto& [id, socket] : sockets_) used.insert(socket.cgroup);
  std::erase_if(cgroups_, [&](const auto& one) { return used.count(one.first) == 0; });
}

void LiveTable::keep_networks(const std::unordered_set<uint32_t>& networks,
                              const std::unordered_set<uint32_t>& interfaces) {
  std::erase_if(networks_, [&](const auto& one) { return !networks.contains(one.first); });
  std::erase_if(interfaces_, [&](const auto& one) { return !interfaces.contains(one.first); });
}

void LiveTable::each_process(const std::function<void(const Event&)>& take) const {
  for (const auto& [pid, process] : processes_) take(process);
}

void LiveTable::each_socket(const std::function<void(const Event&)>& take) const {
  for (const auto& [id, socket] : sockets_) take(socket);
}

}  // namespace lookback::observe
