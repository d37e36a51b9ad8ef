#pragma once
/* Processes and cgroups. */

#include "common.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct lb_exec_event);
} exec_scratch SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct lb_cgroup_event);
} cgroup_scratch SEC(".maps");

static __always_inline void fill_process(struct lb_process_event* event, struct task_struct* task) {
  struct css_set* set = BPF_CORE_READ(task, cgroups);
  event->task.pid = BPF_CORE_READ(task, tgid);
  event->task.tid = BPF_CORE_READ(task, pid);
  event->task.uid = BPF_CORE_READ(task, real_cred, uid.val);
  event->task.reserved = 0;
  BPF_CORE_READ_INTO(&event->task.comm, task, comm);
  event->ppid = BPF_CORE_READ(task, real_parent, tgid);
  event->exit_code = 0;
  event->start = BPF_CORE_READ(task, start_boottime);
  event->cgroup_v2 = BPF_CORE_READ(set, dfl_cgrp, kn, id);
  event->cgroup_v1 = 0;
  if (v1_subsystem >= 0) {
    struct cgroup_subsys_state* state = 0;
    const void* slot = (const char*)set +
                       __builtin_preserve_field_info(set->subsys, BPF_FIELD_BYTE_OFFSET) +
                       v1_subsystem * sizeof(void*);
    bpf_probe_read_kernel(&state, sizeof state, slot);
    event->cgroup_v1 = BPF_CORE_READ(state, cgroup, kn, id);
  }
}

SEC("raw_tp/sched_process_fork")
int on_process_fork(struct bpf_raw_tracepoint_args* ctx) {
  struct task_struct* child = (struct task_struct*)ctx->args[1];
  struct lb_process_event* event;
  if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid)) return 0; /* a thread */
  event = reserve_event(sizeof *event, LB_FORK);
  if (!event) return 0;
  fill_process(event, child);
  submit_event(event);
  return 0;
}

SEC("raw_tp/sched_process_exec")
int on_process_exec(struct bpf_raw_tracepoint_args* ctx) {
  struct task_struct* task = (struct task_struct*)ctx->args[0];
  struct linux_binprm* binary = (struct linux_binprm*)ctx->args[2];
  unsigned long start, end;
  __u32 zero = 0;
  __u64 bytes;
  struct lb_exec_event* event = bpf_map_lookup_elem(&exec_scratch, &zero);
  if (!event) return 0;
  event->process.head.kind = LB_EXEC;
  event->process.head.reserved = 0;
  event->process.head.time = bpf_ktime_get_ns();
  fill_process(&event->process, task);
  event->reserved = 0;
  event->exe[0] = 0;
  bpf_probe_read_kernel_str(event->exe, sizeof event->exe, BPF_CORE_READ(binary, filename));
  start = BPF_CORE_READ(task, mm, arg_start);
  end = BPF_CORE_READ(task, mm, arg_end);
  bytes = end > start ? end - start : 0;
  event->argv_bytes = (__u32)bytes;
  if (bytes > LB_ARGV_BYTES - 1) bytes = LB_ARGV_BYTES - 1;
  LB_BOUND(bytes, LB_ARGV_BYTES - 1);
  if (bytes && bpf_probe_read_user(event->argv, bytes, (const void*)start)) {
    event->argv_bytes = 0;
    bytes = 0;
  }
  if (bpf_ringbuf_output(&events, event, __builtin_offsetof(struct lb_exec_event, argv) + bytes,
                         LB_NO_WAKEUP))
    count_lost();
  return 0;
}

SEC("raw_tp/sched_process_exit")
int on_process_exit(struct bpf_raw_tracepoint_args* ctx) {
  struct task_struct* task = (struct task_struct*)ctx->args[0];
  struct lb_process_event* event;
  __u32 group_code;
  if (BPF_CORE_READ(task, signal, live.counter) > 0) return 0; /* other threads go on */
  event = reserve_event(sizeof *event, LB_EXIT);
  if (!event) return 0;
  fill_process(event, task);
  group_code = BPF_CORE_READ(task, signal, group_exit_code);
  event->exit_code = group_code ? group_code : BPF_CORE_READ(task, exit_code);
  submit_event(event);
  return 0;
}

static __always_inline int tell_cgroup(__u32 kind, struct cgroup* cgroup, const char* path,
                                       __u32 pid) {
  __u32 zero = 0;
  long length;
  struct lb_cgroup_event* event = bpf_map_lookup_elem(&cgroup_scratch, &zero);
  if (!event) return 0;
  event->head.kind = kind;
  event->head.reserved = 0;
  event->head.time = bpf_ktime_get_ns();
  event->cgroup = BPF_CORE_READ(cgroup, kn, id);
  event->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
  event->pid = pid;
  length = bpf_probe_read_kernel_str(event->path, sizeof event->path - 1, path);
  if (length < 0) length = 0;
  LB_BOUND(length, LB_PATH_BYTES - 1);
  if (bpf_ringbuf_output(&events, event, __builtin_offsetof(struct lb_cgroup_event, path) + length,
                         LB_NO_WAKEUP))
    count_lost();
  return 0;
}

SEC("raw_tp/cgroup_mkdir")
int on_cgroup_mkdir(struct bpf_raw_tracepoint_args* ctx) {
  return tell_cgroup(LB_CGROUP_NEW, (struct cgroup*)ctx->args[0], (const char*)ctx->args[1], 0);
}

SEC("raw_tp/cgroup_attach_task")
int on_cgroup_attach(struct bpf_raw_tracepoint_args* ctx) {
  struct task_struct* task = (struct task_struct*)ctx->args[2];
  return tell_cgroup(LB_CGROUP_MOVE, (struct cgroup*)ctx->args[0], (const char*)ctx->args[1],
                     BPF_CORE_READ(task, tgid));
}

SEC("raw_tp/mark_victim")
int on_oom_victim(struct bpf_raw_tracepoint_args* ctx) {
  struct lb_process_event* event = reserve_event(sizeof *event, LB_OOM);
  if (!event) return 0;
  if (bpf_core_field_exists(struct trace_event_raw_mark_victim, uid)) {
    fill_process(event, (struct task_struct*)ctx->args[0]);
  } else { /* before Linux 6.8 it is a number */
    __builtin_memset(&event->task, 0, sizeof *event - sizeof event->head);
    event->task.pid = (__u32)ctx->args[0];
  }
  submit_event(event);
  return 0;
}
