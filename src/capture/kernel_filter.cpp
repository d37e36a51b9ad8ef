#include "capture/kernel_filter.hpp"

#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>

#include <algorithm>

#include "lookback/packet/limits.hpp"

namespace lookback::capture {
namespace {

static_assert(sizeof(sock_filter) == sizeof(packet::BpfInstruction));

constexpr uint16_t kLoadAbsolute = BPF_LD | BPF_W | BPF_ABS;
constexpr uint16_t kJumpEqual = BPF_JMP | BPF_JEQ | BPF_K;
constexpr uint16_t kJumpAlways = BPF_JMP | BPF_JA;
constexpr uint16_t kReturn = BPF_RET | BPF_K;

constexpr uint32_t ancillary(int what) {
  return static_cast<uint32_t>(SKF_AD_OFF + what);
}

/// Emits instructions with far jumps to labels that are placed later. Conditional jumps reach 255
/// instructions only, so every far one is "if not equal skip one; jump always".
class Assembler {
 public:
  using Label = size_t;

  Label new_label() {
    targets_.push_back(kUnplaced);
    return targets_.size() - 1;
  }
  void place(Label label) { targets_[label] = code_.size(); }
  void load(int what) { code_.push_back({kLoadAbsolute, 0, 0, ancillary(what)}); }
  void load_length() { code_.push_back({BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}); }
  /// From the network header on.
  void load_network(uint16_t size, uint32_t offset) {
    code_.push_back({static_cast<uint16_t>(BPF_LD | size | BPF_ABS), 0, 0,
                     static_cast<uint32_t>(SKF_NET_OFF) + offset});
  }
  void jump_unless_equal(uint32_t value, Label label) {
    code_.push_back({kJumpEqual, 1, 0, value});
    jump(label);
  }
  void jump_if_less(uint32_t value, Label label) {
    code_.push_back({BPF_JMP | BPF_JGE | BPF_K, 1, 0, value});
    jump(label);
  }
  void jump_if_any_bit(uint32_t bits, Label label) {
    code_.push_back({BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits});
    jump(label);
  }
  void jump(Label label) {
    fixups_.push_back({code_.size(), label});
    code_.push_back({kJumpAlways, 0, 0, 0});
  }
  void jump_if_equal(uint32_t value, Label label) {
    code_.push_back({kJumpEqual, 0, 1, value});
    jump(label);
  }
  void give(uint32_t bytes) { code_.push_back({kReturn, 0, 0, bytes}); }

  /// Puts a whole program in; its returns become jumps, which leaves its inner distances as they
  /// are.
  void inline_program(const Program& program, Label on_match, Label on_mismatch) {
    for (const auto& instruction : program) {
      if (BPF_CLASS(instruction.code) == BPF_RET && BPF_RVAL(instruction.code) == BPF_K)
        jump(instruction.k != 0 ? on_match : on_mismatch);
      else
        code_.push_back(instruction);
    }
  }

  Program finish() {
    for (const auto& [at, label] : fixups_) {
      LOOKBACK_CHECK(targets_[label] != kUnplaced && targets_[label] > at);
      code_[at].k = static_cast<uint32_t>(targets_[label] - at - 1);
    }
    return std::move(code_);
  }

 private:
  static constexpr size_t kUnplaced = SIZE_MAX;
  struct Fixup {
    size_t at;
    Label label;
  };
  Program code_;
  std::vector<size_t> targets_;
  std::vector<Fixup> fixups_;
};

/// The shortest frames that are looked at: 22 bytes of link layer and the headers up to the ports.
/// A shorter one is none of ours, and a load behind its end would drop it.
constexpr uint32_t kShortestV4 = 22 + 24, kShortestV6 = 22 + 44;

uint32_t word(const packet::IpAddress& address, size_t at) {
  const uint8_t* p = address.bytes.data() + at;
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 |
         static_cast<uint32_t>(p[2]) << 8 | p[3];
}

/// From "it is TCP of this version" on. Ports come first: they tell most packets apart.
void exclude_tcp(Assembler& code, const std::vector<Exclusion>& exclusions, bool v6,
                 Assembler::Label drop) {
  const uint32_t source_port = v6 ? 40 : 20, target_port = source_port + 2;
  const uint32_t source = v6 ? 8 : 12, target = v6 ? 24 : 16;
  for (const Exclusion& exclusion : exclusions) {
    if (exclusion.local.is_v4() == v6) continue;
    for (const bool outgoing : {true, false}) {
      const auto next = code.new_label();
      const auto match_port = [&](uint16_t port, uint32_t at) {
        if (port == 0) return;
        code.load_network(BPF_H, at);
        code.jump_unless_equal(port, next);
      };
      const auto match_address = [&](const packet::IpAddress& address, uint32_t at) {
        for (uint32_t i = v6 ? 0 : 12; i < 16; i += 4) {
          code.load_network(BPF_W, at + (v6 ? i : 0));
          code.jump_unless_equal(word(address, i), next);
        }
      };
      match_port(exclusion.local_port, outgoing ? source_port : target_port);
      match_port(exclusion.remote_port, outgoing ? target_port : source_port);
      match_address(exclusion.remote, outgoing ? target : source);
      match_address(exclusion.local, outgoing ? source : target);
      code.jump(drop);
      code.place(next);
    }
  }
}

/// Our own connections have neither IP options nor extension headers nor fragments.
void exclude(Assembler& code, const std::vector<Exclusion>& exclusions, Assembler::Label drop) {
  const auto done = code.new_label();
  const auto v4 = code.new_label();
  const auto v6 = code.new_label();
  code.load(SKF_AD_PROTOCOL);
  code.jump_if_equal(ETH_P_IP, v4);
  code.jump_if_equal(ETH_P_IPV6, v6);
  code.jump(done);

  code.place(v4);
  code.load_length();
  code.jump_if_less(kShortestV4, done);
  code.load_network(BPF_B, 0);
  code.jump_unless_equal(0x45, done);
  code.load_network(BPF_B, 9);
  code.jump_unless_equal(IPPROTO_TCP, done);
  code.load_network(BPF_H, 6);
  code.jump_if_any_bit(0x1fff, done);
  exclude_tcp(code, exclusions, false, drop);
  code.jump(done);

  code.place(v6);
  code.load_length();
  code.jump_if_less(kShortestV6, done);
  code.load_network(BPF_B, 6);
  code.jump_unless_equal(IPPROTO_TCP, done);
  exclude_tcp(code, exclusions, true, drop);
  code.place(done);
}

}  // namespace

Result<Program> compose_filter(const FilterPlan& plan) {
  Assembler code;
  const auto drop = code.new_label();
  const auto accept = code.new_label();

  // A sent loopback packet is seen as outgoing and again as incoming.
  const auto from_loopback = code.new_label();
  const auto wanted_direction = code.new_label();
  code.load(SKF_AD_HATYPE);
  code.jump_if_equal(ARPHRD_LOOPBACK, from_loopback);
  code.jump(wanted_direction);
  code.place(from_loopback);
  code.load(SKF_AD_PKTTYPE);
  code.jump_if_equal(PACKET_OUTGOING, drop);
  code.place(wanted_direction);

  if (plan.select_interfaces) {
    const auto selected = code.new_label();
    code.load(SKF_AD_IFINDEX);
    for (const uint32_t index : plan.interface_indexes) code.jump_if_equal(index, selected);
    code.jump(drop);
    code.place(selected);
  }

  if (!plan.exclusions.empty()) exclude(code, plan.exclusions, drop);

  std::vector<Assembler::Label> rule_labels;
  code.load(SKF_AD_HATYPE);
  for (const auto& rule : plan.rules) {
    rule_labels.push_back(code.new_label());
    for (const uint16_t type : rule.hardware_types) code.jump_if_equal(type, rule_labels.back());
    if (rule.hardware_types.empty()) code.jump(rule_labels.back());
  }
  if (plan.rules.empty()) code.jump(accept);
  for (size_t i = 0; i < plan.rules.size(); ++i) {
    const auto& rule = plan.rules[i];
    code.place(rule_labels[i]);
    if (rule.reject) {
      code.jump(drop);
      continue;
    }
    if (rule.include.empty())
      code.jump(accept);
    else
      code.inline_program(rule.include, accept, drop);
  }
  code.place(drop);
  code.give(0);
  code.place(accept);
  code.give(plan.snaplen == 0 ? packet::kMaxCapturedBytes : std::min(plan.snaplen, packet::kMaxCapturedBytes));

  Program program = code.finish();
  if (program.size() > BPF_MAXINSNS)
    return fail(ErrorKind::invalid,
                "the kernel takes filters of at most {} instructions, this one has {}: shorten the "
                "filter or the list of interfaces",
                BPF_MAXINSNS, program.size());
  return program;
}

}  // namespace lookback::capture
