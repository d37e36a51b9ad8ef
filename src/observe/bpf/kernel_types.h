#pragma once
/* The few kernel types that are read, with no more of their fields than that: CO-RE finds where
 * they are in the kernel that runs. Nothing here depends on the kernel of the machine that builds.
 */

#include <linux/bpf.h>
#include <linux/types.h>

typedef _Bool bool;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
  __u64 id;
};

struct cgroup_root {
  int hierarchy_id;
};

struct cgroup {
  struct kernfs_node* kn;
  struct cgroup_root* root;
};

struct cgroup_subsys_state {
  struct cgroup* cgroup;
};

struct css_set {
  struct cgroup_subsys_state* subsys[1];
  struct cgroup* dfl_cgrp;
};

typedef struct {
  unsigned int val;
} kuid_t;

struct cred {
  kuid_t uid;
};

typedef struct {
  int counter;
} atomic_t;

typedef struct {
  __s64 counter;
} atomic64_t;

struct signal_struct {
  atomic_t live;
  int group_exit_code;
};

struct mm_struct {
  unsigned long arg_start, arg_end;
};

struct task_struct {
  int pid, tgid;
  int exit_code;
  __u64 start_boottime;
  struct task_struct* real_parent;
  struct mm_struct* mm;
  struct signal_struct* signal;
  struct css_set* cgroups;
  const struct cred* real_cred;
  char comm[16];
};

struct linux_binprm {
  const char* filename;
};

struct ns_common {
  unsigned int inum;
};

struct net {
  struct ns_common ns;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct in6_addr {
  union {
    __u8 u6_addr8[16];
  } in6_u;
};

struct sock_common {
  union {
    struct {
      __be32 skc_daddr;
      __be32 skc_rcv_saddr;
    };
  };
  union {
    struct {
      __be16 skc_dport;
      __u16 skc_num;
    };
  };
  unsigned short skc_family;
  unsigned char skc_state;
  unsigned char skc_ipv6only : 1;
  possible_net_t skc_net;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
  atomic64_t skc_cookie;
  union {
    unsigned long skc_flags;
  };
};

typedef struct {
  int owned;
} socket_lock_t;

struct sock {
  struct sock_common __sk_common;
  socket_lock_t sk_lock;
  __u16 sk_type;
  __u16 sk_protocol;
};

struct socket {
  struct sock* sk;
};

struct inet_sock {
  struct sock sk;
  __be16 inet_sport;
};

struct tcp_sock {
  __u64 bytes_received;
  __u64 bytes_sent;
  __u64 bytes_retrans;
};

struct net_device {
  int ifindex;
  possible_net_t nd_net;
};

struct sk_buff {
  struct net_device* dev;
  struct sock* sk;
  unsigned int len;
  __be16 protocol;
  __u16 transport_header, network_header;
  unsigned char* head;
};

/* Only asked for being there. */
struct trace_event_raw_mark_victim {
  unsigned int uid;
};

#pragma clang attribute pop

enum sock_flags {
  SOCK_DONE = 1,
};

enum skb_drop_reason {
  SKB_DROP_REASON_NO_SOCKET = 3,
  SKB_DROP_REASON_QUEUE_PURGE = 4,
};
