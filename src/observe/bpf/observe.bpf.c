/* The kernel's side of what is observed: raw tracepoints and two cgroup hooks, since these load on
 * every kernel from 5.8 on. The kernel lets only programs under a licence that goes with its own
 * read its memory: this folder is offered under the MIT licence too. */

#include "process.h"
#include "socket.h"
#include "trouble.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
