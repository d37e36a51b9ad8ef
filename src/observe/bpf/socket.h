#pragma once
/* Sockets: who opened, took and used them.
 *
 * A program does not run while it runs already on the same processor: what comes in from the
 * network in an interrupt of it is missed. Every step is prepared for the one before not having
 * been seen.
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

/* Of a socket whose owner is watched. */
struct socket_entry {
  __u64 id;
  __u64 opened, ended;
  __u64 changed; /* when it changed hands last */
  __u32 pid;
  __u16 port; /* of sockets without connections, in the kernel's inet_sport */
  __u8 told;  /* no connect record is due */
  __u8 swaps;
};

/* What its records say of it is put together once, from the kernel's structures, and copied from
 * here then. */
struct tcp_entry {
  struct socket_entry socket;
  __u32 tid, uid; /* who opened it */
  char comm[LB_COMM];
  struct lb_endpoints ends; /* family 0: not known yet */
  __u32 reserved;
};

/* Of UDP, ping sockets and raw ones. */
struct udp_entry {
  struct socket_entry socket;
  __u64 address; /* of the socket: cgroup programs may not read through the pointer that they have,
                    through this they may */
  __u64 sent, received;
  __u8 protocol;
  __u8 raw; /* gets all of its protocol, and has no port */
  __u8 reserved[6];
};

/* By the address of the struct sock. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, struct tcp_entry);
} tcp_sockets SEC(".maps");

/* Where nothing tells of a UDP socket's end, the least recently used one makes room. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, __u64);
  __type(value, struct udp_entry);
} udp_sockets SEC(".maps");

/* Kernel cookies are far smaller; a processor has 2^42 of these, and a later start goes on above.
 */
static __always_inline __u64 new_id(void) {
  struct lb_counters* c = get_counters();
  if (!c) return 0;
  return 1ULL << 52 | (__u64)(bpf_get_smp_processor_id() & 1023) << 42 |
         ((id_base + c->next_id++) & ((1ULL << 42) - 1));
}

/* A socket that is older than this program may be known by its cookie. */
static __always_inline __u64 old_id(struct sock* sk) {
  __u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  return cookie ? cookie : new_id();
}

/* The start of a socket, read in one go: each read of kernel memory costs more than the rest of a
 * record. */
struct sock_start {
  __u8 bytes[128];
} __attribute__((aligned(8)));

/* A field of the common part that starts every socket: from the copy, where it is within. */
#define LB_COMMON(to, copy, sk, field)                                       \
  do {                                                                       \
    const __u32 at = bpf_core_field_offset(((struct sock_common*)0)->field); \
    if (at + sizeof(to) <= sizeof(copy)->bytes)                              \
      (to) = *(const typeof(to)*)((copy)->bytes + at);                       \
    else                                                                     \
      bpf_probe_read_kernel(&(to), sizeof(to), (const char*)(sk) + at);      \
  } while (0)

static __always_inline void fill_ends(struct lb_endpoints* ends, struct sock* sk) {
  struct sock_start copy;
  __u16 family, port;
  struct net* net;
  if (bpf_probe_read_kernel(&copy, sizeof copy, sk)) {
    __builtin_memset(ends, 0, sizeof *ends);
    return;
  }
  LB_COMMON(family, &copy, sk, skc_family);
  ends->family = family == LB_AF_INET6 ? 6 : 4;
  ends->protocol = LB_TCP;
  LB_COMMON(ends->state, &copy, sk, skc_state);
  ends->v6only = 0;
  LB_COMMON(ends->local_port, &copy, sk, skc_num);
  LB_COMMON(port, &copy, sk, skc_dport);
  ends->remote_port = bpf_ntohs(port);
  LB_COMMON(net, &copy, sk, skc_net.net);
  ends->netns = BPF_CORE_READ(net, ns.inum);
  if (family == LB_AF_INET6) {
    struct in6_addr address;
    LB_COMMON(address, &copy, sk, skc_v6_rcv_saddr);
    __builtin_memcpy(ends->local, &address, 16);
    LB_COMMON(address, &copy, sk, skc_v6_daddr);
    __builtin_memcpy(ends->remote, &address, 16);
    /* Of a connection the ends say it. */
    if (!port)
      ends->v6only = BPF_CORE_READ_BITFIELD_PROBED((struct sock_common*)sk, skc_ipv6only);
  } else {
    __be32 address;
    __builtin_memset(ends->local, 0, 32);
    LB_COMMON(address, &copy, sk, skc_rcv_saddr);
    __builtin_memcpy(ends->local, &address, 4);
    LB_COMMON(address, &copy, sk, skc_daddr);
    __builtin_memcpy(ends->remote, &address, 4);
  }
}

/* Of a full socket: one that is closing has given up skc_num, but still has the port it had. */
static __always_inline void fill_full_ends(struct lb_endpoints* ends, struct sock* sk) {
  fill_ends(ends, sk);
  if (!ends->local_port)
    ends->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock*)sk, inet_sport));
}

static __always_inline struct lb_socket_event* socket_event(__u32 kind,
                                                            const struct socket_entry* entry) {
  struct lb_socket_event* event = reserve_event(sizeof *event, kind);
  if (!event) return 0;
  event->socket = entry ? entry->id : 0;
  event->opened = entry ? entry->opened : 0;
  event->ended = entry ? entry->ended : 0;
  event->sent = event->received = 0;
  event->first = 0;
  fill_nobody(&event->task);
  return event;
}

/* Without an entry the socket has no id but its cookie. */
static __always_inline struct lb_socket_event* tcp_event(__u32 kind, struct sock* sk,
                                                         const struct tcp_entry* entry) {
  struct lb_socket_event* event = socket_event(kind, entry ? &entry->socket : 0);
  if (!event) return 0;
  if (entry && entry->ends.family) {
    event->ends = entry->ends;
  } else {
    fill_full_ends(&event->ends, sk);
    if (!entry) event->socket = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  }
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

static __always_inline bool is_tcp(struct sock* sk) {
  return BPF_CORE_READ(sk, sk_protocol) == LB_TCP;
}

static __always_inline bool keep_tcp(struct sock* sk, const struct tcp_entry* fresh) {
  __u64 key = (__u64)sk;
  struct lb_counters* c;
  if (!bpf_map_update_elem(&tcp_sockets, &key, fresh, BPF_ANY)) return 1;
  c = get_counters();
  if (c) c->table_full++;
  return 0;
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

/* Whoever runs now need not be who connected. */
static __always_inline void tell_connect(struct sock* sk, struct tcp_entry* entry) {
  struct lb_socket_event* event;
  entry->socket.told = 1;
  fill_full_ends(&entry->ends, sk);
  event = tcp_event(LB_CONNECT, sk, entry);
  if (!event) return;
  event->task.pid = entry->socket.pid;
  event->task.tid = entry->tid;
  event->task.uid = entry->uid;
  __builtin_memcpy(event->task.comm, entry->comm, sizeof entry->comm);
  submit_event(event);
}

/* The connection stands, and nothing was seen of how it came to. */
static __always_inline void tell_late(struct sock* sk, struct tcp_entry* entry) {
  if (!entry->socket.told && BPF_CORE_READ(sk, __sk_common.skc_state) != LB_SYN_SENT)
    tell_connect(sk, entry);
}

/* The current process uses a TCP socket. */
static __always_inline void use_tcp(struct sock* sk, struct tcp_entry* entry) {
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  struct lb_socket_event* event;
  __u64 now;
  __u32 first;
  if (entry) tell_late(sk, entry);
  if (entry && entry->socket.pid == pid) return;
  now = bpf_ktime_get_ns();
  if (entry) {
    if (!may_change_hands(&entry->socket, now)) return;
    first = entry->socket.pid == 0;
  } else { /* older than this program */
    __u64 key = (__u64)sk;
    struct tcp_entry fresh = {};
    fresh.socket.id = old_id(sk);
    fresh.socket.told = 1;
    fill_full_ends(&fresh.ends, sk);
    if (!keep_tcp(sk, &fresh)) return;
    entry = bpf_map_lookup_elem(&tcp_sockets, &key);
    if (!entry) return;
    first = 1;
  }
  entry->socket.pid = pid;
  entry->socket.changed = now;
  event = tcp_event(LB_USE, sk, entry);
  if (!event) return;
  fill_current(&event->task);
  event->first = first;
  submit_event(event);
}

static __always_inline void close_tcp(struct sock* sk, struct tcp_entry* entry, __u64 ended) {
  struct lb_socket_event* event = tcp_event(LB_CLOSE, sk, entry);
  if (!event) return;
  fill_bytes(event, sk);
  event->ended = ended;
  if (entry && entry->socket.pid == 0 && held_by_current(sk)) fill_current(&event->task);
  submit_event(event);
}

/* The socket that was at this address before is gone, and nothing was seen of its end. */
static __always_inline void end_unseen(const struct tcp_entry* entry) {
  struct lb_socket_event* event;
  if (entry->socket.ended == 1 || !entry->ends.family) return;
  event = socket_event(LB_CLOSE, &entry->socket);
  if (!event) return;
  event->ends = entry->ends;
  event->first = 1;
  submit_event(event);
}

/* A process begins to connect. It may have no port yet: the record that tells of it follows with
 * the answer, or with what comes in its place. */
static __always_inline void begin_connect(struct sock* sk) {
  struct tcp_entry fresh = {};
  __u64 both = bpf_get_current_pid_tgid();
  fresh.socket.id = new_id();
  fresh.socket.opened = bpf_ktime_get_ns();
  fresh.socket.pid = both >> 32;
  fresh.tid = (__u32)both;
  fresh.uid = (__u32)bpf_get_current_uid_gid();
  bpf_get_current_comm(fresh.comm, sizeof fresh.comm);
  keep_tcp(sk, &fresh);
}

static __always_inline void begin_listen(struct sock* sk) {
  struct lb_socket_event* event;
  struct tcp_entry fresh = {};
  bool kept;
  fresh.socket.id = new_id();
  fresh.socket.opened = bpf_ktime_get_ns();
  fresh.socket.pid = bpf_get_current_pid_tgid() >> 32;
  fresh.socket.told = 1;
  fill_full_ends(&fresh.ends, sk);
  kept = keep_tcp(sk, &fresh);
  event = tcp_event(LB_LISTEN, sk, kept ? &fresh : 0);
  if (!event) return;
  fill_current(&event->task);
  event->first = 1;
  submit_event(event);
}

/* A connection comes in. It has nobody yet. */
static __always_inline void begin_accepted(struct sock* sk) {
  struct lb_socket_event* event;
  struct tcp_entry fresh = {};
  bool kept;
  fresh.socket.id = new_id();
  fresh.socket.opened = bpf_ktime_get_ns();
  fresh.socket.told = 1;
  fill_full_ends(&fresh.ends, sk);
  kept = keep_tcp(sk, &fresh);
  event = tcp_event(LB_ACCEPT, sk, kept ? &fresh : 0);
  if (event) submit_event(event);
}

/* Of two that connect to each other at once neither accepts. */
static __always_inline bool has_connected(struct sock* sk, const struct tcp_entry* entry) {
  return entry->tid && entry->socket.ended != 1 &&
         entry->ends.local_port == BPF_CORE_READ(sk, __sk_common.skc_num) &&
         entry->ends.remote_port == bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

/* The states that something is done about; a connection goes through as many others. */
#define LB_STATES                                                                      \
  (1U << LB_ESTABLISHED | 1U << LB_SYN_SENT | 1U << LB_FIN_WAIT1 | 1U << LB_LAST_ACK | \
   1U << LB_TCP_LISTEN | 1U << LB_TCP_CLOSED)

SEC("raw_tp/inet_sock_set_state")
int on_set_state(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  __u32 from = (__u32)ctx->args[1], to = (__u32)ctx->args[2];
  __u64 key = (__u64)sk;
  struct tcp_entry* entry;
  if (!(LB_STATES >> (to & 31) & 1)) return 0;
  entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (to == LB_SYN_SENT || to == LB_TCP_LISTEN) {
    if (!is_tcp(sk)) return 0;
    if (entry) end_unseen(entry);
    if (to == LB_SYN_SENT)
      begin_connect(sk);
    else
      begin_listen(sk);
    return 0;
  }
  if (!entry && !is_tcp(sk)) return 0;
  if (entry && !entry->socket.told) tell_connect(sk, entry);
  if (to == LB_ESTABLISHED) {
    if (from != LB_SYN_RECV || (entry && has_connected(sk, entry))) return 0;
    if (entry) end_unseen(entry);
    begin_accepted(sk);
    return 0;
  }
  if (to == LB_FIN_WAIT1 || to == LB_LAST_ACK) {
    if ((!entry || entry->socket.pid == 0) && held_by_current(sk)) use_tcp(sk, entry);
    return 0;
  }
  if (!entry) {
    /* Unknown: older than this program and never used since, or a connection that never came to
     * be. */
    if (from != LB_SYN_RECV && from != LB_NEW_SYN_RECV) close_tcp(sk, 0, 0);
    return 0;
  }
  if (entry->socket.ended) return 0;
  entry->socket.ended = bpf_ktime_get_ns();
  /* told when whoever has it closes it */
  if (entry->socket.pid == 0 && !held_by_current(sk)) return 0;
  close_tcp(sk, entry, 0);
  entry->socket.ended = 1;
  return 0;
}

SEC("raw_tp/tcp_destroy_sock")
int on_tcp_destroy(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  __u64 key = (__u64)sk;
  struct tcp_entry* entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (!entry) return 0;
  if (!entry->socket.told) tell_connect(sk, entry);
  if (entry->socket.ended != 1) close_tcp(sk, entry, entry->socket.ended);
  bpf_map_delete_elem(&tcp_sockets, &key);
  return 0;
}

/* Data was copied to whoever reads. */
SEC("raw_tp/tcp_rcv_space_adjust")
int on_tcp_read(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  __u64 key = (__u64)sk;
  struct tcp_entry* entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  if (entry && entry->socket.pid == bpf_get_current_pid_tgid() >> 32 && entry->socket.told)
    return 0;
  if (held_by_current(sk)) use_tcp(sk, entry);
  return 0;
}

static __always_inline void fill_udp_ends(struct lb_endpoints* ends, struct sock* sk,
                                          const struct udp_entry* entry) {
  fill_full_ends(ends, sk);
  ends->protocol = entry->protocol;
  if (entry->raw) ends->local_port = ends->remote_port = 0;
}

static __always_inline bool is_raw(struct sock* sk) {
  return BPF_CORE_READ(sk, sk_type) == LB_SOCK_RAW;
}

static __always_inline void use_udp(struct sock* sk, struct udp_entry* entry, __u16 protocol,
                                    __u16 port, bool sending, int bytes) {
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  __u64 key = (__u64)sk, now = bpf_ktime_get_ns();
  struct lb_socket_event* event;
  __u32 kind = LB_USE;
  if (!entry) {
    struct udp_entry fresh = {};
    fresh.socket.id = old_id(sk);
    fresh.socket.opened = now;
    fresh.socket.port = port;
    fresh.socket.pid = pid;
    fresh.address = key;
    fresh.protocol = (__u8)protocol;
    fresh.raw = is_raw(sk);
    fresh.sent = sending ? bytes : 0;
    fresh.received = sending ? 0 : bytes;
    if (bpf_map_update_elem(&udp_sockets, &key, &fresh, BPF_ANY)) return;
    entry = bpf_map_lookup_elem(&udp_sockets, &key);
    if (!entry) return;
    kind = LB_UDP;
  } else {
    if (!may_change_hands(&entry->socket, now)) return;
    entry->socket.pid = pid;
  }
  entry->socket.changed = now;
  event = socket_event(kind, &entry->socket);
  if (!event) return;
  fill_udp_ends(&event->ends, sk, entry);
  fill_current(&event->task);
  event->first = kind == LB_UDP;
  submit_event(event);
}

static __always_inline int on_length(struct sock* sk, int bytes, bool sending) {
  __u64 key = (__u64)sk;
  struct udp_entry* entry;
  __u16 family, protocol = BPF_CORE_READ(sk, sk_protocol), port;
  if (protocol != LB_TCP && protocol != LB_UDP_PROTOCOL) {
    /* Every raw socket is given all of its protocol: only who sends is told. Sockets of other
     * families have no protocol mostly. */
    if (protocol == 0 || protocol > 255 || !sending) return 0;
    if (protocol != LB_ICMP && protocol != LB_ICMPV6 && !is_raw(sk)) return 0;
  }
  if (protocol == LB_TCP) {
    struct tcp_entry* known;
    if (!sending) return 0; /* told by on_tcp_read */
    known = bpf_map_lookup_elem(&tcp_sockets, &key);
    if (known) {
      use_tcp(sk, known);
      return 0;
    }
  }
  if (bytes < 0) return 0;
  family = BPF_CORE_READ(sk, __sk_common.skc_family);
  if (family != LB_AF_INET && family != LB_AF_INET6) return 0;
  if (protocol == LB_TCP && !is_raw(sk)) {
    use_tcp(sk, 0);
    return 0;
  }
  port = bpf_ntohs(BPF_CORE_READ((struct inet_sock*)sk, inet_sport));
  entry = bpf_map_lookup_elem(&udp_sockets, &key);
  if (entry && entry->socket.port != port) entry = 0; /* another socket at the same address */
  if (!entry || entry->socket.pid != bpf_get_current_pid_tgid() >> 32) {
    use_udp(sk, entry, protocol, port, sending, bytes);
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

/* Before Linux 6.3 there are no such tracepoints: the functions that they stand behind are watched.
 */
SEC("fexit/inet_sendmsg")
int on_inet_send(__u64* arguments) {
  return on_length(BPF_CORE_READ((struct socket*)arguments[0], sk), (int)arguments[3], 1);
}

SEC("fexit/inet6_sendmsg")
int on_inet6_send(__u64* arguments) {
  return on_length(BPF_CORE_READ((struct socket*)arguments[0], sk), (int)arguments[3], 1);
}

SEC("fexit/inet_recvmsg")
int on_inet_receive(__u64* arguments) {
  return on_length(BPF_CORE_READ((struct socket*)arguments[0], sk), (int)arguments[4], 0);
}

SEC("fexit/inet6_recvmsg")
int on_inet6_receive(__u64* arguments) {
  return on_length(BPF_CORE_READ((struct socket*)arguments[0], sk), (int)arguments[4], 0);
}

/* Every socket's end comes here; that of TCP is told of elsewhere. */
SEC("cgroup/sock_release")
int on_sock_release(struct bpf_sock* ctx) {
  __u64 key = (__u64)ctx;
  struct lb_socket_event* event;
  struct udp_entry* entry;
  if (ctx->protocol == LB_TCP) return 1;
  entry = bpf_map_lookup_elem(&udp_sockets, &key);
  if (!entry) return 1;
  event = socket_event(LB_CLOSE, &entry->socket);
  if (event) {
    fill_udp_ends(&event->ends, (struct sock*)entry->address, entry);
    event->sent = entry->sent;
    event->received = entry->received;
    submit_event(event);
  }
  bpf_map_delete_elem(&udp_sockets, &key);
  return 1;
}
