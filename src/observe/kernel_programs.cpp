#include "observe/kernel_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <mutex>

#include "lookback/base/fd.hpp"
#include "lookback/base/file.hpp"
#include "lookback/base/log.hpp"
#include "observe/bpf/events.h"
#include "observe/cgroup_files.hpp"
#include "observe/proc_files.hpp"
#include "observe_bpf.skel.h"

namespace lookback::observe {
namespace {

constexpr const char* kBtfPath = "/sys/kernel/btf/vmlinux";

std::mutex load_mutex;
std::string last_warning;  // libbpf's, while something is loaded

int keep_warning(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  std::string line(text, strcspn(text, "\n"));
  constexpr std::string_view kOwnName = "libbpf: ";
  if (line.starts_with(kOwnName)) line.erase(0, kOwnName.size());
  last_warning = std::move(line);
  return 0;
}

/// What is lost where a program cannot be attached. A program without such words is one that all
/// depends on.
struct Part {
  bpf_program* program;
  const char* tracepoint;  ///< null: a cgroup hook
  const char* lost;
};

std::vector<Part> parts_of(const observe_bpf& skeleton) {
  const auto& p = skeleton.progs;
  return {
      {p.on_process_fork, "sched_process_fork", nullptr},
      {p.on_process_exec, "sched_process_exec", nullptr},
      {p.on_process_exit, "sched_process_exit", nullptr},
      {p.on_set_state, "inet_sock_set_state", nullptr},
      {p.on_tcp_destroy, "tcp_destroy_sock", nullptr},
      {p.on_tcp_read, "tcp_rcv_space_adjust",
       "who reads from accepted sockets before they are closed"},
      {p.on_send_length, "sock_send_length",
       "who writes to sockets, and UDP (Linux 6.3 and later)"},
      {p.on_receive_length, "sock_recv_length", "who receives by UDP (Linux 6.3 and later)"},
      {p.on_cgroup_mkdir, "cgroup_mkdir", "cgroups made later"},
      {p.on_cgroup_attach, "cgroup_attach_task", "processes that change their cgroup"},
      {p.on_oom_victim, "mark_victim", "kills for want of memory"},
      {p.on_retransmit, "tcp_retransmit_skb", "retransmits"},
      {p.on_receive_reset, "tcp_receive_reset", "resets received"},
      {p.on_send_reset, "tcp_send_reset", "resets sent"},
      {p.on_packet_drop, "kfree_skb", "packets dropped by the kernel"},
      {p.on_sock_release, nullptr, "the end of UDP sockets"},
  };
}

std::string reason_for(int error) {
  const std::string lockdown = read_small_file("/sys/kernel/security/lockdown", 4096).value_or("");
  if (lockdown.find("[confidentiality]") != std::string::npos)
    return "the kernel is locked down (confidentiality), which forbids eBPF";
  if (error == EPERM)
    return "not permitted: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root) are needed";
  std::string text = errno_error(error, "eBPF programs do not load").message;
  if (!last_warning.empty()) text += " (" + last_warning + ")";
  return text;
}

class Programs final : public KernelPrograms {
 public:
  ~Programs() override {
    for (auto* link : links_) bpf_link__destroy(link);
    if (ring_ != nullptr) ring_buffer__free(ring_);
    if (skeleton_ != nullptr) observe_bpf__destroy(skeleton_);
    if (kernel_btf_ != nullptr) btf__free(kernel_btf_);
  }

  [[nodiscard]] Result<> open(const Options& options);
  const std::vector<std::string>& missing() const override { return missing_; }
  void drain(const std::function<void(std::span<const std::byte>)>& take) override {
    take_ = &take;
    ring_buffer__consume(ring_);
    take_ = nullptr;
  }
  KernelCounters counters() const override;
  std::string drop_reason(uint32_t reason) const override;

 private:
  [[nodiscard]] Result<> load(const Options& options, bool essential_only);
  [[nodiscard]] Result<> attach();
  void learn_drop_reasons();
  static int on_record(void* self, void* data, size_t size) {
    const auto* programs = static_cast<Programs*>(self);
    (*programs->take_)({static_cast<const std::byte*>(data), size});
    return 0;
  }

  btf* kernel_btf_ = nullptr;
  observe_bpf* skeleton_ = nullptr;
  ring_buffer* ring_ = nullptr;
  std::vector<bpf_link*> links_;
  std::vector<std::string> missing_;
  std::map<uint32_t, std::string> drop_reasons_;
  const std::function<void(std::span<const std::byte>)>* take_ = nullptr;
};

Result<> Programs::open(const Options& options) {
  if (access(kBtfPath, R_OK) != 0)
    return fail(ErrorKind::failed, "this kernel has no BTF ({}; CONFIG_DEBUG_INFO_BTF)", kBtfPath);
  kernel_btf_ = btf__load_vmlinux_btf();
  if (kernel_btf_ == nullptr)
    return fail(ErrorKind::failed, "{} cannot be read: {}", kBtfPath, std::strerror(errno));
  if (auto loaded = load(options, false); !loaded) {
    // One program that this kernel refuses should not cost all of them.
    const std::string reason = loaded.error().message;
    if (!load(options, true)) return loaded;
    missing_.push_back("all but processes and TCP connections: " + reason);
  }
  TRY(attach());
  learn_drop_reasons();
  ring_ = ring_buffer__new(bpf_map__fd(skeleton_->maps.events), on_record, this, nullptr);
  if (ring_ == nullptr) return fail_errno(errno, "the eBPF ring buffer cannot be mapped");
  return {};
}

Result<> Programs::load(const Options& options, bool essential_only) {
  if (skeleton_ != nullptr) observe_bpf__destroy(skeleton_);
  missing_.clear();
  last_warning.clear();
  skeleton_ = observe_bpf__open();
  if (skeleton_ == nullptr) return fail(ErrorKind::failed, "{}", reason_for(errno));
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  skeleton_->rodata->id_base = static_cast<uint64_t>(now.tv_sec) * 65536;
  skeleton_->rodata->v1_subsystem = -1;
  if (const auto controller = v1_controller()) {
    const int type = btf__find_by_name_kind(kernel_btf_, "cgroup_subsys_id", BTF_KIND_ENUM);
    const btf_type* ids =
        type > 0 ? btf__type_by_id(kernel_btf_, static_cast<uint32_t>(type)) : nullptr;
    for (uint16_t i = 0; ids != nullptr && i < btf_vlen(ids); ++i)
      if (controller->name + "_cgrp_id" ==
          btf__name_by_offset(kernel_btf_, btf_enum(ids)[i].name_off))
        skeleton_->rodata->v1_subsystem = btf_enum(ids)[i].val;
  }
  bpf_map__set_max_entries(skeleton_->maps.events, options.ring_bytes);
  bpf_map__set_max_entries(skeleton_->maps.tcp_sockets, options.tcp_sockets);
  for (const auto& part : parts_of(*skeleton_)) {
    const bool exists =
        part.tracepoint == nullptr ||
        btf__find_by_name_kind(kernel_btf_, (std::string("btf_trace_") + part.tracepoint).c_str(),
                               BTF_KIND_TYPEDEF) > 0;
    if (!exists || (essential_only && part.lost != nullptr)) {
      bpf_program__set_autoload(part.program, false);
      if (!exists && part.lost == nullptr)
        return fail(ErrorKind::failed,
                    "this kernel has no tracepoint {}: Linux 5.8 or later is needed",
                    part.tracepoint);
      if (!exists) missing_.emplace_back(part.lost);
    }
  }
  if (const int error = observe_bpf__load(skeleton_); error != 0)
    return fail(ErrorKind::failed, "{}", reason_for(-error));
  return {};
}

Result<> Programs::attach() {
  auto cgroup = open_unified_cgroup();
  for (const auto& part : parts_of(*skeleton_)) {
    if (!bpf_program__autoload(part.program)) continue;
    bpf_link* link = nullptr;
    std::string why;
    if (part.tracepoint != nullptr) {
      link = bpf_program__attach_raw_tracepoint(part.program, part.tracepoint);
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
      return fail(ErrorKind::failed, "the tracepoint {} cannot be attached to: {}", part.tracepoint,
                  why);
    missing_.push_back(fmt::format("{}: {}", part.lost, why));
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
