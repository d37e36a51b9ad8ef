#pragma once
// pcap-filter(7) programs, compiled by libpcap and run over recorded packets, whose VLAN tags stand
// in the data. (Programs for the kernel's ring are the capture module's business: there a tag may
// be stripped.)

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

struct FilterCode;  // the program as the interpreter wants it

/// A compiled expression for one link type. Immutable; copies share the program; matches() may run
/// on many threads at once.
class Filter {
 public:
  /// Matches everything.
  Filter() = default;

  /// What an expression may have, so that compiling it ends within about a second: libpcap's time grows with the square of the terms
  /// (words and numbers that neither join others nor qualify them: addresses, ports, "vlan").
  static constexpr size_t kMaxBytes = 4096, kMaxTerms = 256;
  /// Kind invalid for an expression beyond these bounds.
  [[nodiscard]] static Result<> check_size(std::string_view expression);

  /// Gives what `tcpdump -r` would take. An empty expression matches everything. Errors are libpcap's own message, kind invalid; so is
  /// an expression that is too large. Thread-safe and lock-free. Names of hosts and networks ("host web-1") are refused: nobody is
  /// asked for them. An expression that no packet of this link type can satisfy ("arp" on raw IP) compiles to matches_nothing(): a
  /// capture may have interfaces of several kinds. "inbound", "ifindex" and the like are refused where the link type does not record
  /// them.
  [[nodiscard]] static Result<Filter> compile(const std::string& expression, uint16_t link_type);

  /// Checks a program and takes it over; kind invalid for one that jumps or stores out of bounds.
  [[nodiscard]] static Result<Filter> from_program(std::vector<BpfInstruction> program);

  /// `data` begins at the link layer; `original_length` is what "len", "greater" and "less" see.
  [[nodiscard]] bool matches(std::span<const std::byte> data, uint32_t original_length) const {
    return code_ == nullptr || run(*code_, data, original_length);
  }
  [[nodiscard]] bool matches_all() const { return code_ == nullptr; }
  [[nodiscard]] bool matches_nothing() const {
    return program_.size() == 1 && program_[0].code == kReturn && program_[0].k == 0;
  }
  /// As libpcap made it; empty when everything matches.
  [[nodiscard]] std::span<const BpfInstruction> program() const { return program_; }

 private:
  static constexpr uint16_t kReturn = 0x06;  // BPF_RET | BPF_K
  static bool run(const FilterCode& code, std::span<const std::byte> data,
                  uint32_t original_length);

  std::vector<BpfInstruction> program_;
  std::shared_ptr<const FilterCode> code_;
};

}  // namespace lookback::packet
