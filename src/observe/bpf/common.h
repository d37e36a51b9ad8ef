#pragma once
/* Maps and helpers that the programs share. */

/* clang-format off: the libraries' headers need types that they do not define. */
#include "kernel_types.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "events.h"
/* clang-format on */

#define LB_AF_INET 2
#define LB_AF_INET6 10
#define LB_TCP 6
#define LB_UDP_PROTOCOL 17
#define LB_ICMP 1
#define LB_ICMPV6 58
#define LB_SOCK_RAW 3

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4 << 20);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct lb_counters);
} counters SEC(".maps");

/* Set by the loader. */
const volatile __u64 id_base = 0;
/* Index of the v1 controller whose cgroups are told; -1: none. */
const volatile __s32 v1_subsystem = -1;

/* The reader looks several times a second by itself: waking it for each event would cost more than
 * the event. */
#define LB_NO_WAKEUP BPF_RB_NO_WAKEUP

/* Says to the verifier what the code before has seen to; the compiler would leave it out. `most` is
 * a power of two less one. */
#define LB_BOUND(value, most)       \
  do {                              \
    asm volatile("" : "+r"(value)); \
    (value) &= (most);              \
  } while (0)

static __always_inline struct lb_counters* get_counters(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&counters, &zero);
}

static __always_inline void count_lost(void) {
  struct lb_counters* c = get_counters();
  if (c) c->lost++;
}

static __always_inline void* reserve_event(__u64 size, __u32 kind) {
  struct lb_head* head = bpf_ringbuf_reserve(&events, size, 0);
  if (!head) {
    count_lost();
    return 0;
  }
  head->kind = kind;
  head->reserved = 0;
  head->time = bpf_ktime_get_ns();
  return head;
}

static __always_inline void submit_event(void* event) {
  bpf_ringbuf_submit(event, LB_NO_WAKEUP);
}

static __always_inline void fill_current(struct lb_task* task) {
  __u64 both = bpf_get_current_pid_tgid();
  task->pid = both >> 32;
  task->tid = (__u32)both;
  task->uid = (__u32)bpf_get_current_uid_gid();
  task->reserved = 0;
  bpf_get_current_comm(task->comm, sizeof task->comm);
}

static __always_inline void fill_nobody(struct lb_task* task) {
  __builtin_memset(task, 0, sizeof *task);
}

/* Resets, retransmits and drops may come in floods: this many of them in 100 ms, then they are only
 * counted. */
#define LB_LIMIT_WINDOW_NS 100000000ULL
#define LB_LIMIT_EVENTS 500

static __always_inline bool over_limit(void) {
  struct lb_counters* c = get_counters();
  __u64 now;
  if (!c) return 1;
  now = bpf_ktime_get_ns();
  if (now - c->window_start >= LB_LIMIT_WINDOW_NS) {
    c->window_start = now;
    c->window_used = 0;
  }
  return c->window_used++ >= LB_LIMIT_EVENTS;
}
