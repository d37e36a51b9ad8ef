#pragma once
// pcap-filter(7) programs, compiled by libpcap and run over recorded packets, whose VLAN tags stand in the data.
// (Programs for the kernel's ring are the capture module's business: there a tag may be stripped.)

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lookback/base/result.hpp"

namespace lookback::packet {

/// One classic BPF instruction, layout of struct sock_filter (linux/filter.h).
struct BpfInstruction {
  uint16_t code;
  uint8_t jump_true, jump_false;
  uint32_t k;
};
static_assert(sizeof(BpfInstruction) == 8);

/// A compiled expression for one link type. Immutable; matches() may run on many threads at once.
class Filter {
 public:
  /// An empty expression matches everything. Errors are libpcap's own message, kind invalid. compile() is
  /// thread-safe (libpcap's compiler is not: it is locked inside).
  [[nodiscard]] static Result<Filter> compile(const std::string& expression, uint16_t link_type);
  [[nodiscard]] bool matches(std::span<const std::byte> data, uint32_t original_length) const;
  [[nodiscard]] bool matches_all() const { return program_.empty(); }
  [[nodiscard]] std::span<const BpfInstruction> program() const { return program_; }

 private:
  std::vector<BpfInstruction> program_;
};

}  // namespace lookback::packet
