#include "observe/translator.hpp"

#include <cstring>

#include "observe/bpf/events.h"
#include "observe/cgroup_files.hpp"
#include "observe/read_as.hpp"

namespace lookback::observe {
namespace {

constexpr size_t kMostCgroups = 100'000;

/// A name of fixed length that may end before it.
std::string name_of(const char* text, size_t room) {
  return {text, strnlen(text, room)};
}

void fill_ends(Event& event, const lb_endpoints& ends) {
  const uint8_t family = ends.family == 6 ? 6 : 4;
  event.protocol = ends.protocol;
  event.state = ends.state;
  event.netns = ends.netns;
  event.local_port = ends.local_port;
  event.remote_port = ends.remote_port;
  event.v6only = ends.v6only != 0;
  event.local = Address::make(family, ends.local);
  event.remote = Address::make(family, ends.remote);
  // One end at any address: the other is written in the family of the first.
  if (event.local.any()) event.local.family = event.remote.any() ? family : event.remote.family;
  if (event.remote_port == 0 && event.remote.any()) event.remote = Address{};
}

}  // namespace

bool Translator::take(std::span<const std::byte> bytes) {
  lb_head head;
  if (!read_as(bytes, head)) return false;
  switch (head.kind) {
    case LB_FORK:
    case LB_EXEC:
    case LB_EXIT:
    case LB_OOM: {
      lb_process_event record;
      return read_as(bytes, record) && take_process(record, bytes);
    }
    case LB_CGROUP_NEW:
    case LB_CGROUP_MOVE:
      return take_cgroup(bytes);
    case LB_DROP:
      return take_drop(bytes);
    default:
      return take_socket(bytes);
  }
}

bool Translator::take_process(const lb_process_event& record, std::span<const std::byte> bytes) {
  Event event;
  event.time_ns = real(record.head.time);
  event.pid = record.task.pid;
  if (event.pid == 0) return false;
  if (record.head.kind == LB_EXIT) {
    constexpr uint32_t kSignalMask = 0x7f, kCodeShift = 8, kCodeMask = 0xff;
    event.kind = Kind::exit;
    event.signal = static_cast<int32_t>(record.exit_code & kSignalMask);
    if (event.signal == 0)
      event.exit_code = static_cast<int32_t>(record.exit_code >> kCodeShift & kCodeMask);
    emit(std::move(event));
    return true;
  }
  event.comm = name_of(record.task.comm, sizeof record.task.comm);
  if (record.head.kind == LB_OOM) {
    event.kind = Kind::oom;
    if (const Event* known = table_.process(event.pid); event.comm.empty() && known != nullptr)
      event.comm = known->comm;
    emit(std::move(event));
    return true;
  }
  event.ppid = record.ppid;
  event.uid = record.task.uid;
  if (record.start != 0)
    event.start_ns = static_cast<int64_t>(record.start) + clock_.boot_to_real_ns;
  event.cgroup = choose_cgroup(
      record.cgroup_v2 == 0 ? 0 : cgroup_key(0, record.cgroup_v2),
      record.cgroup_v1 == 0 ? 0 : cgroup_key(around_.v1_hierarchy, record.cgroup_v1), event.pid);
  event.kind = Kind::fork;
  if (record.head.kind == LB_EXEC) {
    constexpr size_t kArgv = offsetof(lb_exec_event, argv);
    if (bytes.size() < kArgv) return false;
    lb_exec_event exec{};
    std::memcpy(&exec, bytes.data(), std::min(bytes.size(), sizeof exec));
    event.kind = Kind::exec;
    // The clocks' distance is measured again and again, and never the same to the nanosecond; the
    // start of a process is.
    constexpr uint64_t kSameStartNs = 100'000'000;
    if (const Event* known = table_.process(event.pid);
        known != nullptr && static_cast<uint64_t>(known->start_ns) -
                                    static_cast<uint64_t>(event.start_ns) + kSameStartNs <
                                2 * kSameStartNs)
      event.start_ns = known->start_ns;
    event.exe = name_of(exec.exe, sizeof exec.exe);
    const size_t kept =
        std::min<size_t>(std::min<size_t>(exec.argv_bytes, sizeof exec.argv), bytes.size() - kArgv);
    event.argv.assign(exec.argv, kept);
    event.argv_cut = exec.argv_bytes > kept;
  }
  emit(std::move(event));
  return true;
}

bool Translator::take_cgroup(std::span<const std::byte> bytes) {
  constexpr size_t kPath = offsetof(lb_cgroup_event, path);
  if (bytes.size() < kPath) return false;
  lb_cgroup_event record{};
  std::memcpy(&record, bytes.data(), std::min(bytes.size(), sizeof record));
  if (record.hierarchy != 0 && record.hierarchy != around_.v1_hierarchy) return true;
  const uint64_t key = cgroup_key(record.hierarchy, record.cgroup);
  around_.on_cgroup_path(key, name_of(record.path, sizeof record.path));
  if (record.head.kind == LB_CGROUP_NEW) return true;
  const Event* process = table_.process(record.pid);
  if (process == nullptr || process->cgroup == key) return true;
  const bool of_v1 = record.hierarchy != 0;
  const bool now_v1 = process->cgroup >= cgroup_key(1, 0);
  // What it stays in on the other side may tell more.
  const uint64_t other = now_v1 == of_v1 ? 0 : process->cgroup;
  const uint64_t chosen =
      of_v1 ? choose_cgroup(other, key, record.pid) : choose_cgroup(key, other, record.pid);
  if (chosen == process->cgroup) return true;
  Event event;
  event.kind = Kind::move;
  event.time_ns = real(record.head.time);
  event.pid = record.pid;
  event.cgroup = chosen;
  emit(std::move(event));
  return true;
}

bool Translator::take_drop(std::span<const std::byte> bytes) {
  lb_drop_event record;
  if (!read_as(bytes, record)) return false;
  Event event;
  event.kind = Kind::drop;
  event.time_ns = real(record.head.time);
  fill_ends(event, record.ends);
  event.local.family = event.remote.family = record.ends.family == 6 ? 6 : 4;
  event.state = 0;
  event.interface = record.interface;
  event.text = around_.drop_reason(record.reason);
  emit(std::move(event));
  return true;
}

void Translator::fill_owner(Event& event, const lb_socket_event& record) {
  event.pid = record.task.pid;
  if (event.pid != 0) {
    event.tid = record.task.tid;
    event.uid = record.task.uid;
    event.comm = name_of(record.task.comm, sizeof record.task.comm);
  } else if (const Event* socket = table_.socket(event.socket)) {
    event.pid = socket->pid;
    event.tid = socket->tid;
    event.uid = socket->uid;
    event.comm = socket->comm;
  }
}

bool Translator::take_socket(std::span<const std::byte> bytes) {
  lb_socket_event record;
  if (!read_as(bytes, record)) return false;
  Event event;
  event.time_ns = real(record.head.time);
  event.socket = record.socket;
  fill_ends(event, record.ends);
  if (event.socket == 0 && record.head.kind != LB_RESET_SENT) {
    // Without an id of its own it can be one that was found at the start.
    if (const Event* known = table_.socket_at(Ends::of(event))) event.socket = known->socket;
  }
  event.opened_ns = real(record.opened);
  fill_owner(event, record);
  switch (record.head.kind) {
    case LB_LISTEN:
      event.kind = Kind::listen;
      event.remote = Address{};
      break;
    case LB_CONNECT:
      event.kind = Kind::connect;
      break;
    case LB_ACCEPT:
      event.kind = Kind::accept;
      event.listener_pid = table_.listener_pid(event);
      break;
    case LB_UDP:
      event.kind = event.protocol == kProtocolUdp && event.local_port != 0 ? Kind::udp : Kind::raw;
      break;
    case LB_USE:
      take_use(std::move(event), record);
      return true;
    case LB_CLOSE:
      event.kind = Kind::close;
      event.ended_ns = real(record.ended);
      event.has_bytes = record.first == 0;
      event.sent_bytes = record.sent;
      event.received_bytes = record.received;
      if (event.socket == 0) return true;  // nothing ever told of it
      break;
    case LB_RETRANSMIT:
      event.kind = Kind::retransmit;
      break;
    case LB_RESET_SENT:
    case LB_RESET_RECEIVED:
      event.kind = Kind::reset;
      event.sent_reset = record.head.kind == LB_RESET_SENT;
      break;
    default:
      return false;
  }
  if (event.kind != Kind::close)
    event.opened_ns = event.kind == Kind::connect ? event.opened_ns : 0;
  if (event.kind != Kind::retransmit) event.state = 0;
  emit(std::move(event));
  return true;
}

void Translator::take_use(Event event, const lb_socket_event& record) {
  const Event* known = table_.socket(event.socket);
  if (known != nullptr && known->pid == event.pid)
    return;  // found at the start, and as it was found
  event.kind = Kind::owner;
  event.state = 0;
  event.first = known == nullptr ? record.first != 0 : known->pid == 0;
  emit(std::move(event));
}

uint64_t Translator::choose_cgroup(uint64_t v2_key, uint64_t v1_key, uint32_t pid) {
  if (v1_key == 0) return v2_key;
  if (v2_key == 0) return v1_key;
  const Event& v1 = know_cgroup(v1_key, pid);
  if (!v1.container.empty()) return v1_key;
  const bool v1_is_root = v1.text.size() <= 1;
  const Event& v2 = know_cgroup(v2_key, pid);
  if (!v2.container.empty() || v1_is_root) return v2_key;
  return v2.text.size() <= 1 ? v1_key : v2_key;
}

const Event& Translator::know_cgroup(uint64_t key, uint32_t pid) {
  if (const Event* told = table_.cgroup(key)) return *told;
  auto it = cgroups_.find(key);
  if (it == cgroups_.end() || it->second.text.empty()) {
    if (cgroups_.size() >= kMostCgroups) cgroups_.clear();
    it = cgroups_.insert_or_assign(key, around_.look_up_cgroup(key, pid)).first;
  }
  return it->second;
}

void Translator::know_process(const Event& event) {
  if (event.pid == 0 || table_.process(event.pid) != nullptr) return;
  switch (event.kind) {
    case Kind::listen:
    case Kind::connect:
    case Kind::udp:
    case Kind::raw:
    case Kind::owner:
    case Kind::close:
      break;
    default:
      return;
  }
  Event process;
  if (auto found = around_.look_up_process(event.pid)) {
    process = std::move(*found);
  } else {
    process.uid = event.uid;
    process.comm = event.comm;
  }
  process.kind = Kind::process;
  process.pid = event.pid;
  process.time_ns = event.time_ns;
  emit(std::move(process));
}

void Translator::emit(Event event) {
  know_process(event);
  const bool of_socket = event.kind == Kind::raw || (event.kind >= Kind::listen && event.kind <= Kind::reset && event.kind != Kind::oom);
  if (event.cgroup == 0 && event.pid != 0 && of_socket)
    if (const Event* process = table_.process(event.pid)) event.cgroup = process->cgroup;
  if (event.cgroup != 0 && event.kind != Kind::cgroup && table_.cgroup(event.cgroup) == nullptr) {
    Event cgroup = know_cgroup(event.cgroup, event.pid);
    cgroup.kind = Kind::cgroup;
    cgroup.time_ns = event.time_ns;
    cgroup.cgroup = event.cgroup;
    cgroups_.erase(event.cgroup);
    table_.apply(cgroup);
    sink_(cgroup);
  }
  table_.apply(event);
  sink_(event);
}

}  // namespace lookback::observe
