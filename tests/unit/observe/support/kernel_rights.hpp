#pragma once

#include <unistd.h>

#include "unit/support/skip.hpp"

namespace lookback::test {

/// Whether this process may load BPF programs here (root, and a kernel with BTF). Where not, notes the running test case as skipped; it
/// returns next.
[[nodiscard]] inline bool can_load_kernel_programs() {
  if (geteuid() == 0 && access("/sys/kernel/btf/vmlinux", R_OK) == 0) return true;
  note_skip("loading BPF programs needs root and a kernel with BTF");
  return false;
}

}  // namespace lookback::test
