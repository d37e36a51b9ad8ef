#pragma once
// The programs in the kernel: loaded, attached, and read from. One thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

struct bpf_object;

namespace lookback::observe {

/// Sums over all processors since the programs were loaded.
struct KernelCounters {
  uint64_t lost = 0, table_full = 0, limited = 0, owner_swaps = 0;
  uint64_t missed = 0;  ///< calls in an interrupt of the same program, which the kernel leaves out
  std::vector<uint64_t> drops_over_limit;  ///< by reason
};

class KernelPrograms {
 public:
  struct Options {
    uint32_t ring_bytes = 4 << 20;  ///< a power of two
    uint32_t tcp_sockets = 65536;
    /// Sees the programs before the kernel does; null: nobody. Tests spoil some of them here.
    std::function<void(bpf_object*)> before_load;
  };
  /// Attaches what this kernel takes, judging each program that can be done without by itself. An
  /// error says why there is nothing at all, for an operator to act on.
  [[nodiscard]] static Result<std::unique_ptr<KernelPrograms>> load(const Options& options);
  virtual ~KernelPrograms() = default;

  /// What is not seen, and why, in words: an entry for each program that the kernel has not taken;
  /// empty where all is seen.
  [[nodiscard]] virtual const std::vector<std::string>& missing() const = 0;
  /// Hands over every record that waits (struct lb_head first, see bpf/events.h). The spans live
  /// during the call.
  virtual void drain(const std::function<void(std::span<const std::byte>)>& take) = 0;
  [[nodiscard]] virtual KernelCounters counters() const = 0;
  /// The kernel's word for a reason to drop a packet: "NO_SOCKET".
  [[nodiscard]] virtual std::string drop_reason(uint32_t reason) const = 0;
};

}  // namespace lookback::observe
