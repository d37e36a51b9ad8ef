/* The kernel's side of what is observed: raw tracepoints and a cgroup hook, since these load on
 * every kernel from 5.8 on; ends of functions only where a kernel is older than a tracepoint. The
 * kernel lets only programs under a licence that goes with its own read its memory: this folder is
 * offered under the MIT licence too. */

#include "process.h"
#include "socket.h"
#include "trouble.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
