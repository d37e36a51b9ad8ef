#pragma once
/* What goes wrong with packets: retransmits, resets, drops. */

#include "socket.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, LB_DROP_REASONS);
  __type(key, __u32);
  __type(value, __u64);
} drops_over_limit SEC(".maps");

static __always_inline int tell_trouble(__u32 kind, struct sock* sk) {
  __u64 key = (__u64)sk;
  struct lb_socket_event* event;
  struct tcp_entry* entry;
  __u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
  entry = bpf_map_lookup_elem(&tcp_sockets, &key);
  /* A connect that is not answered is told of when it is tried again. */
  if (entry && state == LB_SYN_SENT && !entry->socket.told) tell_connect(sk, entry);
  if (over_limit()) {
    struct lb_counters* c = get_counters();
    if (c) c->limited++;
    return 0;
  }
  event = socket_event(kind, entry ? &entry->socket : 0);
  if (!event) return 0;
  /* Small sockets (waiting out, half open) have nothing but the common part. */
  if (state == LB_TIME_WAIT || state == LB_NEW_SYN_RECV)
    fill_ends(&event->ends, sk);
  else
    fill_full_ends(&event->ends, sk);
  if (!entry) event->socket = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
  submit_event(event);
  return 0;
}

SEC("raw_tp/tcp_retransmit_skb")
int on_retransmit(struct bpf_raw_tracepoint_args* ctx) {
  return tell_trouble(LB_RETRANSMIT, (struct sock*)ctx->args[0]);
}

SEC("raw_tp/tcp_receive_reset")
int on_receive_reset(struct bpf_raw_tracepoint_args* ctx) {
  return tell_trouble(LB_RESET_RECEIVED, (struct sock*)ctx->args[0]);
}

static __always_inline bool is_ip(struct sk_buff* skb) {
  __u16 protocol = BPF_CORE_READ(skb, protocol);
  return protocol == bpf_htons(0x0800) || protocol == bpf_htons(0x86dd);
}

/* Addresses and ports as the packet has them; false where it is not an IP packet. */
static __always_inline bool fill_packet(struct lb_endpoints* ends, struct sk_buff* skb) {
  unsigned char* head = BPF_CORE_READ(skb, head);
  __u16 at = BPF_CORE_READ(skb, network_header);
  __u16 ports[2] = {};
  __u8 first = 0, next = 0;
  unsigned char *ip = head + at, *transport;
  if (!head || at == 0xffff || at == 0) return 0;
  if (!is_ip(skb)) return 0;
  __builtin_memset(ends, 0, sizeof *ends);
  if (bpf_probe_read_kernel(&first, 1, ip)) return 0;
  if (first >> 4 == 4) {
    __u16 fragment = 0;
    ends->family = 4;
    bpf_probe_read_kernel(&next, 1, ip + 9);
    bpf_probe_read_kernel(&fragment, 2, ip + 6);
    bpf_probe_read_kernel(ends->local, 4, ip + 12);
    bpf_probe_read_kernel(ends->remote, 4, ip + 16);
    transport = ip + (first & 15) * 4;
    if (fragment & bpf_htons(0x1fff)) transport = 0;
  } else if (first >> 4 == 6) {
    ends->family = 6;
    bpf_probe_read_kernel(&next, 1, ip + 6);
    bpf_probe_read_kernel(ends->local, 16, ip + 8);
    bpf_probe_read_kernel(ends->remote, 16, ip + 24);
    transport = ip + 40;
  } else {
    return 0;
  }
  ends->protocol = next;
  if (transport && (next == LB_TCP || next == LB_UDP_PROTOCOL)) {
    bpf_probe_read_kernel(ports, sizeof ports, transport);
    ends->local_port = bpf_ntohs(ports[0]);
    ends->remote_port = bpf_ntohs(ports[1]);
  }
  return 1;
}

SEC("raw_tp/tcp_send_reset")
int on_send_reset(struct bpf_raw_tracepoint_args* ctx) {
  struct sock* sk = (struct sock*)ctx->args[0];
  struct sk_buff* skb = (struct sk_buff*)ctx->args[1];
  struct lb_socket_event* event;
  struct lb_endpoints ends;
  if (sk) return tell_trouble(LB_RESET_SENT, sk);
  if (!skb || over_limit()) return 0;
  /* The answer to a packet that no socket is for. */
  if (!fill_packet(&ends, skb)) return 0;
  event = reserve_event(sizeof *event, LB_RESET_SENT);
  if (!event) return 0;
  __builtin_memset(&event->socket, 0, sizeof *event - sizeof event->head);
  event->ends = ends;
  event->ends.local_port = ends.remote_port;
  event->ends.remote_port = ends.local_port;
  __builtin_memcpy(event->ends.local, ends.remote, 16);
  __builtin_memcpy(event->ends.remote, ends.local, 16);
  event->ends.netns = BPF_CORE_READ(skb, dev, nd_net.net, ns.inum);
  submit_event(event);
  return 0;
}

SEC("raw_tp/kfree_skb")
int on_packet_drop(struct bpf_raw_tracepoint_args* ctx) {
  struct sk_buff* skb = (struct sk_buff*)ctx->args[0];
  struct lb_drop_event* event;
  struct lb_endpoints ends;
  struct net_device* device;
  __u32 reason = 0;
  /* Linux 5.17 began to say why. */
  if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NO_SOCKET))
    reason = (__u32)ctx->args[2];
  /* A connection's end that nobody had read: it brings no data, and nothing is lost with it. */
  if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_QUEUE_PURGE) &&
      reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_QUEUE_PURGE) &&
      BPF_CORE_READ(skb, len) == 0)
    return 0;
  if (!is_ip(skb)) return 0;
  /* Asked before the packet is taken apart: where all that comes is dropped, that costs the most. */
  if (over_limit()) {
    __u32 slot = reason < LB_DROP_REASONS ? reason : 0;
    __u64* count = bpf_map_lookup_elem(&drops_over_limit, &slot);
    if (count) (*count)++;
    return 0;
  }
  if (!fill_packet(&ends, skb)) return 0;
  event = reserve_event(sizeof *event, LB_DROP);
  if (!event) return 0;
  event->ends = ends;
  event->reason = reason;
  device = BPF_CORE_READ(skb, dev);
  event->interface = device ? BPF_CORE_READ(device, ifindex) : 0;
  if (device) {
    event->ends.netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
  } else {
    struct sock* sk = BPF_CORE_READ(skb, sk);
    if (sk) event->ends.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
  }
  submit_event(event);
  return 0;
}
