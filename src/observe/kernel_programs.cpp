#include "observe/kernel_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "observe/bpf/events.h"
#include "observe/cgroup_files.hpp"
#include "observe/proc_files.hpp"
#include "observe/record_ring.hpp"
#include "observe_bpf.skel.h"

namespace lookback::observe {
namespace {

constexpr const char* kBtfPath = "/sys/kernel/btf/vmlinux";
// Since Linux 6.3.
constexpr const char* kSendTracepoint = "sock_send_length";
constexpr const char* kReceiveTracepoint = "sock_recv_length";

std::mutex load_mutex;
std::string warnings;  // libbpf's, while something is loaded

int keep_warning(libbpf_print_level level, const char* format, va_list arguments) {
  constexpr size_t kMostKept = 256 << 10;
  if (level != LIBBPF_WARN || warnings.size() > kMostKept) return 0;
  char* text = nullptr;
  const int length = vasprintf(&text, format, arguments);
  if (length < 0) return 0;
  warnings.append(text, static_cast<size_t>(length));
  free(text);
  return 0;
}

/// What libbpf's warnings come down to: what the verifier said last, or else the first of them.
std::string gist_of_warnings() {
  constexpr std::string_view kLogBegin = "BEGIN PROG LOAD LOG --\n",
                             kLogEnd = "-- END PROG LOAD LOG";
  constexpr std::string_view kStatistics = "processed ", kOwnName = "libbpf: ";
  std::string_view rest = warnings, gist;
  const bool has_log = rest.find(kLogBegin) != std::string_view::npos;
  if (has_log) rest = rest.substr(rest.find(kLogBegin) + kLogBegin.size());
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.starts_with(kOwnName)) line.remove_prefix(kOwnName.size());
    if (line.starts_with(kLogEnd)) break;
    if (line.empty() || line.starts_with(kStatistics)) continue;
    gist = line;
    if (!has_log) break;
  }
  return std::string(gist.substr(0, 200));
}

enum class Hook { tracepoint, function_exit, cgroup };

struct Part {
  bpf_program* program;
  Hook hook;
  const char* target;  ///< null: a cgroup hook
  /// What is not seen without the program; null: all depends on it.
  const char* lost;
  /// The tracepoint that is better, where there is one: then this program is not needed.
  const char* stands_in_for = nullptr;
};

std::vector<Part> parts_of(const observe_bpf& skeleton) {
  const auto& p = skeleton.progs;
  constexpr auto kTracepoint = Hook::tracepoint, kFunction = Hook::function_exit;
  return {
      {p.on_process_fork, kTracepoint, "sched_process_fork", nullptr},
      {p.on_process_exec, kTracepoint, "sched_process_exec", nullptr},
      {p.on_process_exit, kTracepoint, "sched_process_exit", nullptr},
      {p.on_set_state, kTracepoint, "inet_sock_set_state", nullptr},
      {p.on_tcp_destroy, kTracepoint, "tcp_destroy_sock", nullptr},
      {p.on_tcp_read, kTracepoint, "tcp_rcv_space_adjust",
       "who reads from accepted sockets before they are closed"},
      {p.on_send_length, kTracepoint, kSendTracepoint, "who writes to sockets, and UDP"},
      {p.on_receive_length, kTracepoint, kReceiveTracepoint, "who receives by UDP"},
      {p.on_inet_send, kFunction, "inet_sendmsg", "who writes to sockets, and UDP, over IPv4",
       kSendTracepoint},
      {p.on_inet6_send, kFunction, "inet6_sendmsg", "who writes to sockets, and UDP, over IPv6",
       kSendTracepoint},
      {p.on_inet_receive, kFunction, "inet_recvmsg", "who receives by UDP over IPv4",
       kReceiveTracepoint},
      {p.on_inet6_receive, kFunction, "inet6_recvmsg", "who receives by UDP over IPv6",
       kReceiveTracepoint},
      {p.on_cgroup_mkdir, kTracepoint, "cgroup_mkdir", "cgroups made later"},
      {p.on_cgroup_attach, kTracepoint, "cgroup_attach_task", "processes that change their cgroup"},
      {p.on_oom_victim, kTracepoint, "mark_victim", "kills for want of memory"},
      {p.on_retransmit, kTracepoint, "tcp_retransmit_skb", "retransmits"},
      {p.on_receive_reset, kTracepoint, "tcp_receive_reset", "resets received"},
      {p.on_send_reset, kTracepoint, "tcp_send_reset", "resets sent"},
      {p.on_packet_drop, kTracepoint, "kfree_skb", "packets dropped by the kernel"},
      {p.on_sock_release, Hook::cgroup, nullptr, "the end of UDP, ping and raw sockets"},
  };
}

/// Why what was just tried does not load.
std::string reason_for(int error) {
  const std::string gist = gist_of_warnings();
  const std::string lockdown = read_small_file("/sys/kernel/security/lockdown", 4096).value_or("");
  // The file is not to be seen in every mount namespace; the helper is there on every kernel else.
  if (lockdown.find("[confidentiality]") != std::string::npos ||
      gist.find(" bpf_probe_read") != std::string::npos)
    return "the kernel is locked down (confidentiality): eBPF may not read its memory";
  if (error == EPERM)
    return "not permitted: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root) are needed";
  std::string text = errno_error(error, "the kernel does not take it").message;
  if (!gist.empty()) text += " (" + gist + ")";
  return text;
}

class Programs final : public KernelPrograms {
 public:
  ~Programs() override {
    for (auto* link : links_) bpf_link__destroy(link);
    if (skeleton_ != nullptr) observe_bpf__destroy(skeleton_);
    if (kernel_btf_ != nullptr) btf__free(kernel_btf_);
  }

  [[nodiscard]] Result<> open(const Options& options);
  const std::vector<std::string>& missing() const override { return missing_; }
  void drain(const std::function<void(std::span<const std::byte>)>& take) override {
    ring_->consume(take);
  }
  KernelCounters counters() const override;
  std::string drop_reason(uint32_t reason) const override;

 private:
  using Choice = std::function<bool(const Part&)>;
  [[nodiscard]] bool has_tracepoint(const char* name) const;
  [[nodiscard]] Result<> load_what_is_taken(const Options& options);
  [[nodiscard]] Result<> load(const Options& options, const Choice& is_chosen);
  void set_constants();
  [[nodiscard]] Result<> attach();
  void learn_drop_reasons();

  btf* kernel_btf_ = nullptr;
  observe_bpf* skeleton_ = nullptr;
  std::optional<RecordRing> ring_;
  std::vector<bpf_link*> links_;
  std::vector<std::string> missing_;
  std::map<uint32_t, std::string> drop_reasons_;
};

Result<> Programs::open(const Options& options) {
  if (access(kBtfPath, R_OK) != 0)
    return fail(ErrorKind::failed, "this kernel has no BTF ({}; CONFIG_DEBUG_INFO_BTF)", kBtfPath);
  kernel_btf_ = btf__load_vmlinux_btf();
  if (kernel_btf_ == nullptr)
    return fail(ErrorKind::failed, "{} cannot be read: {}", kBtfPath, std::strerror(errno));
  TRY(load_what_is_taken(options));
  TRY(attach());
  learn_drop_reasons();
  btf__free(std::exchange(kernel_btf_, nullptr));  // several MB that nobody asks again
  TRY_ASSIGN(auto ring, RecordRing::map(bpf_map__fd(skeleton_->maps.events), options.ring_bytes));
  ring_.emplace(std::move(ring));
  return {};
}

bool Programs::has_tracepoint(const char* name) const {
  return btf__find_by_name_kind(kernel_btf_, (std::string("btf_trace_") + name).c_str(),
                                BTF_KIND_TYPEDEF) > 0;
}

/// Loads all; where the kernel refuses that, all that it takes of it: each program that can be done
/// without is tried by itself, together with those that all depends on.
Result<> Programs::load_what_is_taken(const Options& options) {
  std::set<std::string_view> refused;
  const Choice all_taken = [&](const Part& part) {
    return refused.count(bpf_program__name(part.program)) == 0;
  };
  if (load(options, all_taken)) return {};
  TRY(load(options, [](const Part& part) { return part.lost == nullptr; }));
  std::vector<std::string> optional;
  for (const auto& part : parts_of(*skeleton_))
    if (part.lost != nullptr) optional.emplace_back(bpf_program__name(part.program));
  std::map<std::string, std::string> why;
  for (const auto& name : optional) {
    auto loaded = load(options, [&](const Part& part) {
      return part.lost == nullptr || bpf_program__name(part.program) == name;
    });
    if (!loaded) {
      why[name] = loaded.error().message;
      refused.insert(name);
    }
  }
  TRY(load(options, all_taken));
  for (const auto& part : parts_of(*skeleton_))
    if (const auto found = why.find(bpf_program__name(part.program)); found != why.end())
      missing_.push_back(fmt::format("{}: {}", part.lost, found->second));
  return {};
}

/// Of the programs that this kernel has a place for, those that are chosen.
Result<> Programs::load(const Options& options, const Choice& is_chosen) {
  if (skeleton_ != nullptr) observe_bpf__destroy(skeleton_);
  missing_.clear();
  warnings.clear();
  skeleton_ = observe_bpf__open();
  if (skeleton_ == nullptr) return fail(ErrorKind::failed, "{}", reason_for(errno));
  set_constants();
  bpf_map__set_max_entries(skeleton_->maps.events, options.ring_bytes);
  bpf_map__set_max_entries(skeleton_->maps.tcp_sockets, options.tcp_sockets);
  // Linux 6.1 began to give programs memory from stocks of their own; before, what programs like
  // these need has to be there beforehand.
  if (btf__find_by_name_kind(kernel_btf_, "bpf_mem_alloc", BTF_KIND_STRUCT) > 0)
    bpf_map__set_map_flags(skeleton_->maps.tcp_sockets, BPF_F_NO_PREALLOC);
  const auto parts = parts_of(*skeleton_);
  const auto has_stand_in = [&](const Part& part) {
    return std::any_of(parts.begin(), parts.end(), [&](const Part& other) {
      return other.stands_in_for != nullptr && part.target != nullptr &&
             std::string_view(other.stands_in_for) == part.target;
    });
  };
  for (const auto& part : parts) {
    const bool exists = part.hook != Hook::tracepoint || has_tracepoint(part.target);
    const bool is_needed = part.stands_in_for == nullptr || !has_tracepoint(part.stands_in_for);
    if (exists && is_needed && is_chosen(part)) continue;
    bpf_program__set_autoload(part.program, false);
    if (exists || has_stand_in(part)) continue;
    if (part.lost == nullptr)
      return fail(ErrorKind::failed,
                  "this kernel has no tracepoint {}: Linux 5.8 or later is needed", part.target);
    missing_.push_back(fmt::format("{}: this kernel has no tracepoint {}", part.lost, part.target));
  }
  if (options.before_load) options.before_load(skeleton_->obj);
  if (const int error = observe_bpf__load(skeleton_); error != 0)
    return fail(ErrorKind::failed, "{}", reason_for(-error));
  return {};
}

void Programs::set_constants() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  skeleton_->rodata->id_base = static_cast<uint64_t>(now.tv_sec) * 65536;
  skeleton_->rodata->v1_subsystem = -1;
  const auto controller = v1_controller();
  if (!controller) return;
  const int type = btf__find_by_name_kind(kernel_btf_, "cgroup_subsys_id", BTF_KIND_ENUM);
  const btf_type* ids =
      type > 0 ? btf__type_by_id(kernel_btf_, static_cast<uint32_t>(type)) : nullptr;
  for (uint16_t i = 0; ids != nullptr && i < btf_vlen(ids); ++i)
    if (controller->name + "_cgrp_id" ==
        btf__name_by_offset(kernel_btf_, btf_enum(ids)[i].name_off))
      skeleton_->rodata->v1_subsystem = btf_enum(ids)[i].val;
}

Result<> Programs::attach() {
  auto cgroup = open_unified_cgroup();
  for (const auto& part : parts_of(*skeleton_)) {
    if (!bpf_program__autoload(part.program)) continue;
    bpf_link* link = nullptr;
    std::string why;
    if (part.hook == Hook::tracepoint) {
      link = bpf_program__attach_raw_tracepoint(part.program, part.target);
    } else if (part.hook == Hook::function_exit) {
      link = bpf_program__attach_trace(part.program);
    } else if (cgroup) {
      link = bpf_program__attach_cgroup(part.program, cgroup->get());
    } else {
      why = cgroup.error().message;
    }
    if (link != nullptr) {
      links_.push_back(link);
      continue;
    }
    if (why.empty()) why = std::strerror(errno);
    if (part.lost == nullptr)
      return fail(ErrorKind::failed, "the tracepoint {} cannot be attached to: {}", part.target,
                  why);
    missing_.push_back(fmt::format("{}: cannot be attached: {}", part.lost, why));
  }
  return {};
}

void Programs::learn_drop_reasons() {
  constexpr std::string_view kPrefix = "SKB_DROP_REASON_";
  const int type = btf__find_by_name_kind(kernel_btf_, "skb_drop_reason", BTF_KIND_ENUM);
  if (type <= 0) return;
  const btf_type* reasons = btf__type_by_id(kernel_btf_, static_cast<uint32_t>(type));
  for (uint16_t i = 0; i < btf_vlen(reasons); ++i) {
    const auto& one = btf_enum(reasons)[i];
    const std::string_view name = btf__name_by_offset(kernel_btf_, one.name_off);
    if (name.starts_with(kPrefix))
      drop_reasons_[static_cast<uint32_t>(one.val)] = name.substr(kPrefix.size());
  }
}

KernelCounters Programs::counters() const {
  KernelCounters sums;
  const int processors = libbpf_num_possible_cpus();
  if (processors <= 0) return sums;
  const uint32_t zero = 0;
  std::vector<lb_counters> each(static_cast<size_t>(processors));
  if (bpf_map__lookup_elem(skeleton_->maps.counters, &zero, sizeof zero, each.data(),
                           each.size() * sizeof each[0], 0) == 0)
    for (const auto& one : each) {
      sums.lost += one.lost;
      sums.table_full += one.table_full;
      sums.limited += one.limited;
      sums.owner_swaps += one.owner_swaps;
    }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->obj) {
    bpf_prog_info info{};
    uint32_t length = sizeof info;
    if (const int fd = bpf_program__fd(program);
        fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
      sums.missed += info.recursion_misses;
  }
  sums.drops_over_limit.resize(LB_DROP_REASONS);
  std::vector<uint64_t> counts(static_cast<size_t>(processors));
  if (!bpf_program__autoload(skeleton_->progs.on_packet_drop)) return sums;
  for (uint32_t reason = 0; reason < LB_DROP_REASONS; ++reason)
    if (bpf_map__lookup_elem(skeleton_->maps.drops_over_limit, &reason, sizeof reason,
                             counts.data(), counts.size() * sizeof counts[0], 0) == 0)
      for (const uint64_t count : counts) sums.drops_over_limit[reason] += count;
  return sums;
}

std::string Programs::drop_reason(uint32_t reason) const {
  if (const auto found = drop_reasons_.find(reason); found != drop_reasons_.end())
    return found->second;
  constexpr uint32_t kSubsystemShift = 16;
  if (reason >> kSubsystemShift != 0)
    return fmt::format("subsystem {} reason {}", reason >> kSubsystemShift, reason & 0xffff);
  return reason == 0 ? "NOT_SPECIFIED" : fmt::format("reason {}", reason);
}

}  // namespace

Result<std::unique_ptr<KernelPrograms>> KernelPrograms::load(const Options& options) {
  const std::lock_guard lock(load_mutex);
  libbpf_set_print(keep_warning);
  auto programs = std::make_unique<Programs>();
  TRY(programs->open(options));
  return programs;
}

}  // namespace lookback::observe
