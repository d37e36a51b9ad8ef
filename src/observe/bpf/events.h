#pragma once
/* What the kernel programs put into the ring buffer; C for them, C++ for the reader. Little-endian,
 * as the machine is. A record is as long as the ring says: of one with a text at its end only what
 * is used of that is there. */

#ifdef __cplusplus
#include <linux/types.h>
#endif

enum lb_kind {
  LB_FORK = 1,
  LB_EXEC,
  LB_EXIT,
  LB_CGROUP_NEW,
  LB_CGROUP_MOVE,
  LB_LISTEN,
  LB_CONNECT,
  LB_ACCEPT,
  LB_UDP,
  LB_USE,
  LB_CLOSE,
  LB_OOM,
  LB_RETRANSMIT,
  LB_RESET_SENT,
  LB_RESET_RECEIVED,
  LB_DROP,
};

#define LB_COMM 16
#define LB_EXE_BYTES 256
#define LB_ARGV_BYTES 1024
#define LB_PATH_BYTES 512
/* Of the reasons for dropping a packet that are counted one by one. */
#define LB_DROP_REASONS 256

struct lb_head {
  __u32 kind;
  __u32 reserved;
  __u64 time; /* CLOCK_MONOTONIC */
};

struct lb_task {
  __u32 pid, tid, uid; /* pid 0: not known */
  __u32 reserved;
  char comm[LB_COMM];
};

struct lb_endpoints {
  __u8 family; /* 4 or 6 */
  __u8 protocol;
  __u8 state; /* of TCP, as the kernel numbers it */
  __u8 v6only; /* bound to IPv6 alone */
  __u16 local_port, remote_port; /* host order */
  __u32 netns;
  __u8 local[16], remote[16]; /* IPv4: the first four */
};

struct lb_process_event {
  struct lb_head head;
  struct lb_task task;
  __u32 ppid;
  __u32 exit_code; /* as wait(2) has it */
  __u64 start;     /* CLOCK_BOOTTIME */
  __u64 cgroup_v2, cgroup_v1;
};

struct lb_exec_event {
  struct lb_process_event process;
  __u32 argv_bytes; /* behind exe; may be more than there is room for */
  __u32 reserved;
  char exe[LB_EXE_BYTES];
  char argv[LB_ARGV_BYTES]; /* each with its zero */
};

struct lb_cgroup_event {
  struct lb_head head;
  __u64 cgroup;
  __u32 hierarchy;
  __u32 pid; /* who was moved */
  char path[LB_PATH_BYTES];
};

struct lb_socket_event {
  struct lb_head head;
  __u64 socket;
  __u64 opened, ended; /* CLOCK_MONOTONIC; 0: not known, not over before */
  __u64 sent, received;
  struct lb_task task;
  struct lb_endpoints ends;
  __u32 first; /* nobody was known to own it; of a close: its bytes are not known */
};

struct lb_drop_event {
  struct lb_head head;
  struct lb_endpoints ends; /* local: the packet's source */
  __u32 reason;
  __u32 interface;
};

/* Per processor. */
struct lb_counters {
  __u64 lost;         /* the ring buffer was full */
  __u64 table_full;   /* sockets that the table had no room for */
  __u64 limited;      /* resets and retransmits beyond the limit */
  __u64 owner_swaps;  /* sockets that several processes use in turns: changes left out */
  __u64 window_start; /* of the limit */
  __u64 window_used;
  __u64 next_id;
};

#ifdef __cplusplus
static_assert(sizeof(lb_head) == 16);
static_assert(sizeof(lb_task) == 32);
static_assert(sizeof(lb_endpoints) == 44);
static_assert(sizeof(lb_process_event) == 80);
static_assert(sizeof(lb_exec_event) == 80 + 8 + LB_EXE_BYTES + LB_ARGV_BYTES);
static_assert(sizeof(lb_cgroup_event) == 32 + LB_PATH_BYTES);
static_assert(sizeof(lb_socket_event) == 136);
static_assert(sizeof(lb_drop_event) == 72);
static_assert(sizeof(lb_counters) == 56);
#endif
