#pragma once
/* Sockets: who opened, took and used them.
 *
 * There is no event where a process accepts a connection, so it is the first use that tells. A
 * program knows that it runs for the process that uses a TCP socket, and not in an interrupt over
 * some other process, by the socket's lock being held: only a process holds it, and what comes in
 * from the network meanwhile waits. */

#include "common.h"

enum {
  LB_ESTABLISHED = 1,
  LB_SYN_SENT,
  LB_SYN_RECV,
  LB_FIN_WAIT1,
  LB_FIN_WAIT2,
  LB_TIME_WAIT,
  LB_TCP_CLOSED,
  LB_CLOSE_WAIT,
  LB_LAST_ACK,
  LB_TCP_LISTEN,
  LB_CLOSING,
  LB_NEW_SYN_RECV
};

struct socket_entry {
  __u64 id;
  __u64 address; /* of the socket: cgroup programs may not read through the pointer that they have,
                    through this they may */
  __u64 opened, ended;
  __u64 changed;        /* when it changed hands last */
  __u64 sent, received; /* UDP */
  __u32 pid;
  __u16 port;
  __u8 told; /* the connect record is out */
  __u8 swaps;
};

/* By the address of the struct sock. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, struct socket_entry);
} tcp_sockets SEC(".maps");

/* Where nothing tells of a UDP socket's end, the least recently used one makes room. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, __u64);
  __type(value, struct socket_entry);
} udp_sockets SEC(".maps");

static __always_inline __u64 new_id(struct sock* sk) {
  __u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  struct lb_counters* c;
  if (cookie) return cookie;
  c = get_counters();
  if (!c) return 0;
  /* Kernel cookies are far smaller; a processor has 2^42 of these, and a later start goes on above.
   */
  return 1ULL << 52 | (__u64)(bpf_get_smp_processor_id() & 1023) << 42 |
         ((id_base + c->next_id++) & ((1ULL << 42) - 1));
}

static __always_inline void fill_ends(struct lb_endpoints* ends, struct sock* sk) {
  __u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
  ends->family = family == LB_AF_INET6 ? 6 : 4;
  ends->protocol = LB_TCP;
  ends->state = BPF_CORE_READ(sk, __sk_common.skc_state);
  ends->reserved = 0;
  ends->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
  ends->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
  ends->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
  __builtin_memset(ends->local, 0, 32);
  if (family == LB_AF_INET6) {
    BPF_CORE_READ_INTO(&ends->local, sk, __sk_common.skc_v6_rcv_saddr);
    BPF_CORE_READ_INTO(&ends->remote, sk, __sk_common.skc_v6_daddr);
  } else {
    BPF_CORE_READ_INTO(&ends->local, sk, __sk_common.skc_rcv_saddr);
    BPF_CORE_READ_INTO(&ends->remote, sk, __sk_common.skc_daddr);
  }
}

/* Of a full socket: one that is closing has given up skc_num, but still has the port it had. */
static __always_inline void fill_full_ends(struct lb_endpoints* ends, struct sock* sk) {
  fill_ends(ends, sk);
  ends->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock*)sk, inet_sport));
}

static __always_inline struct lb_socket_event* socket_event(__u32 kind, struct sock* sk,
                                                            const struct socket_entry* entry) {
  struct lb_socket_event* event = reserve_event(sizeof *event, kind);
  if (!event) return 0;
  fill_full_ends(&event->ends, sk);
  event->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  event->socket = entry ? entry->id : event->cookie;
  event->opened = entry ? entry->opened : 0;
  event->ended = entry ? entry->ended : 0;
  event->sent = event->received = 0;
  event->first = 0;
  event->reserved = 0;
  fill_nobody(&event->task);
  return event;
}

static __always_inline void fill_bytes(struct lb_socket_event* event, struct sock* sk) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  unsigned long flags = BPF_CORE_READ(sk, __sk_common.skc_flags);
  event->sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
  event->received = BPF_CORE_READ(tcp, bytes_received);
  /* The other side's FIN was counted as a byte. */
  if (event->received && flags & 1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE))
    event->received--;
}

static __always_inline bool held_by_current(struct sock* sk) {
  return BPF_CORE_READ(sk, sk_lock.owned) != 0;
}

static __always_inline struct socket_entry* add_tcp(struct sock* sk, __u32 pid) {
  __u64 key = (__u64)sk;
  struct socket_entry fresh = {};
  fresh.id = new_id(sk);
  fresh.address = key;
  fresh.opened = bpf_ktime_get_ns();
  fresh.changed = 0;
  fresh.pid = pid;
  if (bpf_map_update_elem(&tcp_sockets, &key, &fresh, BPF_ANY)) {
    struct lb_counters* c = get_counters();
    if (c) c->table_full++;
    return 0;
  }
  return bpf_map_lookup_elem(&tcp_sockets, &key);
}

/* A socket that several processes use in turns changes hands with every use; after a few times it
 * may do so ten times a second. */
#define LB_FREE_SWAPS 16
#define LB_SWAP_PAUSE_NS 100000000ULL

static __always_inline bool may_change_hands(struct socket_entry* entry, __u64 now) {
  struct lb_counters* c;
  if (entry->pid == 0) return 1;
  if (entry->swaps < LB_FREE_SWAPS) {
    entry->swaps++;
    return 1;
  }
  if (now - entry->changed >= LB_SWAP_PAUSE_NS) return 1;
  c = get_counters();
  if (c) c->owner_swaps++;
  return 0;
}

/* The current process uses a TCP socket. */
static __always_inline void use_tcp(struct sock* sk, struct socket_entry* entry) {
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  struct lb_socket_event* event;
  __u64 now;
  __u32 first;
  if (entry && entry->pid == pid) return;
  now = bpf_ktime_get_ns();
  if (entry) {
    if (!may_change_hands(entry, now)) return;
    first = entry->pid == 0;
  } else {
    entry = add_tcp(sk, pid); /* older than this program */
    if (!entry) return;
    entry->opened = 0;
    entry->told = 1;
    first = 1;
  }
  entry->pid = pid;
  entry->changed = now;
  event = socket_event(LB_USE, sk, entry);
  if (!event) return;
  fill_current(&event->task);
  event->first = first;
  submit_event(event);
}

static __always_inline void tell_connect(struct sock* sk, struct socket_entry* entry) {
  struct lb_socket_event* event = socket_event(LB_CONNECT, sk, entry);
  entry->told = 1;
  if (!event) return;
  /* Whoever runs now need not be who connected: the reader has that from the record before. */
  submit_event(event);
}

static __always_inline void close_tcp(struct sock* sk, struct socket_entry* entry, __u64 ended) {
  struct lb_socket_event* event = socket_event(LB_CLOSE, sk, entry);
  if (!event) return;
  fill_bytes(event, sk);
  event->ended = ended;
  if (entry && entry->pid == 0 && held_by_current(sk)) fill_current(&event->task);
  submit_event(event);
}

SEC("raw_tp/inet_sock_set_state")
int on_set_state(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  int from = (int)ctx->args[1], to = (int)ctx->args[2];
  __u64 key = (__u64)sk;
  struct lb_socket_event* event;
  struct socket_entry* entry;
  if (BPF_CORE_READ(sk, sk_protocol) != LB_TCP) return 0;
  if (to == LB_SYN_RECV || to == LB_FIN_WAIT2 || to == LB_CLOSE_WAIT || to == LB_CLOSING ||
      to == LB_TIME_WAIT)
    return 0;
  if (to == LB_SYN_SENT || to == LB_TCP_LISTEN) {
    entry = add_tcp(sk, bpf_get_current_pid_tgid() >> 32);
    /* When the state changes a connecting socket may have no port yet: the record that has it
     * follows as LB_CONNECT. This one tells who it is. */
    event = socket_event(to == LB_SYN_SENT ? LB_USE : LB_LISTEN, sk, entry);
    if (!event) return 0;
    fill_current(&event->task);
    event->ends.state = to;
    event->first = 1;
    submit_event(event);
    return 0;
  }
  entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (entry && from == LB_SYN_SENT && !entry->told) tell_connect(sk, entry);
  if (to == LB_ESTABLISHED) {
    if (entry || from != LB_SYN_RECV) return 0;
    entry = add_tcp(sk, 0);
    event = socket_event(LB_ACCEPT, sk, entry);
    if (event) {
      event->ends.state = LB_ESTABLISHED;
      submit_event(event);
    }
    return 0;
  }
  if (to == LB_FIN_WAIT1 || to == LB_LAST_ACK) {
    if (held_by_current(sk) && (!entry || entry->pid == 0)) use_tcp(sk, entry);
    return 0;
  }
  if (to == LB_TCP_CLOSED) {
    if (!entry) {
      /* Unknown: older than this program and never used since, or a connection that never came to
       * be. */
      if (from != LB_SYN_RECV && from != LB_NEW_SYN_RECV) close_tcp(sk, 0, 0);
      return 0;
    }
    if (entry->ended) return 0;
    entry->ended = bpf_ktime_get_ns();
    if (entry->pid == 0 && !held_by_current(sk)) return 0; /* told when whoever has it closes it */
    close_tcp(sk, entry, 0);
    entry->ended = 1;
  }
  return 0;
}

SEC("raw_tp/tcp_destroy_sock")
int on_tcp_destroy(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  __u64 key = (__u64)sk;
  struct socket_entry* entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (!entry) return 0;
  if (entry->ended != 1) close_tcp(sk, entry, entry->ended);
  bpf_map_delete_elem(&tcp_sockets, &key);
  return 0;
}

/* Data was copied to whoever reads. */
SEC("raw_tp/tcp_rcv_space_adjust")
int on_tcp_read(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  __u64 key = (__u64)sk;
  struct socket_entry* entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (entry && entry->pid == bpf_get_current_pid_tgid() >> 32) return 0;
  if (held_by_current(sk)) use_tcp(sk, entry);
  return 0;
}

static __always_inline void use_udp(struct sock* sk, struct socket_entry* entry, __u16 port,
                                    bool sending, int bytes) {
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  __u64 key = (__u64)sk, now = bpf_ktime_get_ns();
  struct lb_socket_event* event;
  __u32 kind = LB_USE;
  if (!entry) {
    struct socket_entry fresh = {};
    fresh.id = new_id(sk);
    fresh.address = key;
    fresh.opened = now;
    fresh.port = port;
    fresh.pid = pid;
    fresh.sent = sending ? bytes : 0;
    fresh.received = sending ? 0 : bytes;
    if (bpf_map_update_elem(&udp_sockets, &key, &fresh, BPF_ANY)) return;
    entry = bpf_map_lookup_elem(&udp_sockets, &key);
    if (!entry) return;
    kind = LB_UDP;
  } else {
    if (!may_change_hands(entry, now)) return;
    entry->pid = pid;
  }
  entry->changed = now;
  event = socket_event(kind, sk, entry);
  if (!event) return;
  event->ends.protocol = LB_UDP_PROTOCOL;
  fill_current(&event->task);
  event->first = kind == LB_UDP;
  submit_event(event);
}

static __always_inline int on_length(struct sock* sk, int bytes, bool sending) {
  __u64 key = (__u64)sk;
  struct socket_entry* entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  __u16 family, protocol, port;
  if (entry) {
    if (sending) use_tcp(sk, entry);
    return 0;
  }
  if (bytes < 0) return 0;
  family = BPF_CORE_READ(sk, __sk_common.skc_family);
  if (family != LB_AF_INET && family != LB_AF_INET6) return 0;
  protocol = BPF_CORE_READ(sk, sk_protocol);
  if (protocol == LB_TCP) {
    if (sending) use_tcp(sk, 0);
    return 0;
  }
  if (protocol != LB_UDP_PROTOCOL) return 0;
  port = bpf_ntohs(BPF_CORE_READ((struct inet_sock*)sk, inet_sport));
  entry = bpf_map_lookup_elem(&udp_sockets, &key);
  if (entry && entry->port != port) entry = 0; /* another socket at the same address */
  if (!entry || entry->pid != bpf_get_current_pid_tgid() >> 32) {
    use_udp(sk, entry, port, sending, bytes);
    return 0;
  }
  if (sending)
    __sync_fetch_and_add(&entry->sent, bytes);
  else
    __sync_fetch_and_add(&entry->received, bytes);
  return 0;
}

SEC("raw_tp/sock_send_length")
int on_send_length(struct bpf_raw_tracepoint_args* ctx) {
  return on_length((struct sock*)ctx->args[0], (int)ctx->args[1], 1);
}

SEC("raw_tp/sock_recv_length")
int on_receive_length(struct bpf_raw_tracepoint_args* ctx) {
  return on_length((struct sock*)ctx->args[0], (int)ctx->args[1], 0);
}

/* A connect has its port here, just before its first segment is sent. */
SEC("sockops")
int on_sock_ops(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk;
  struct socket_entry* entry;
  __u64 key;
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
  sk = ctx->sk;
  if (!sk) return 1;
  key = (__u64)sk;
  entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (entry && !entry->told) tell_connect((struct sock*)entry->address, entry);
  return 1;
}

SEC("cgroup/sock_release")
int on_sock_release(struct bpf_sock* ctx) {
  __u64 key = (__u64)ctx;
  struct lb_socket_event* event;
  struct socket_entry* entry = bpf_map_lookup_elem(&udp_sockets, &key);
  if (!entry) return 1;
  event = socket_event(LB_CLOSE, (struct sock*)entry->address, entry);
  if (event) {
    event->ends.protocol = LB_UDP_PROTOCOL;
    event->sent = entry->sent;
    event->received = entry->received;
    submit_event(event);
  }
  bpf_map_delete_elem(&udp_sockets, &key);
  return 1;
}
