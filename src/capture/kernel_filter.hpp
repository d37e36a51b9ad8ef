#pragma once
// The one classic BPF program of the ring's socket, composed of libpcap's programs for each link type:
//
//   loopback's outgoing copy? drop           each loopback packet passes the socket twice
//   interface not selected?   drop
//   excluded connection?      drop
//   which hardware type?      jump to its rule
//   rule: user's program:     match → accept, else drop
//
// Joining programs instead of expressions keeps the user's program exactly as libpcap compiled it (in an expression, `vlan`
// shifts the offsets of all that follows it), and lets the exclusions change without compiling the user's filter again.
//
// Exclusions are written by hand, from the network header on (SKF_NET_OFF), once for all link types: what libpcap makes of `host` and
// `port`, for each link type again, passes the kernel's limit on a machine with a handful of addresses.

#include <cstdint>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/filter.hpp"
#include "lookback/packet/ip_address.hpp"

namespace lookback::capture {

using Program = std::vector<packet::BpfInstruction>;

/// What happens to frames of some ARPHRD_ hardware types.
struct LinkRule {
  std::vector<uint16_t> hardware_types;  ///< empty: all that no other rule names; exactly one rule, the last, is so
  Program include;                       ///< a match is accepted; empty: all that is left
  bool reject = false;                   ///< nothing of these types can match
};

/// TCP connections between two ends of one family. A port of 0 stands for any.
struct Exclusion {
  packet::IpAddress local, remote;
  uint16_t local_port = 0, remote_port = 0;
};

struct FilterPlan {
  bool select_interfaces = false;
  std::vector<uint32_t> interface_indexes;  ///< with select_interfaces
  std::vector<Exclusion> exclusions;
  std::vector<LinkRule> rules;
  uint32_t snaplen = 0;                     ///< 0: whole packets, as far as packet::kMaxCapturedBytes
};

/// invalid: more instructions than the kernel takes (BPF_MAXINSNS, 4096).
[[nodiscard]] Result<Program> compose_filter(const FilterPlan& plan);

}  // namespace lookback::capture
