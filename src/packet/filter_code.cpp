#include "packet/filter_code.hpp"

#include <algorithm>
#include <optional>

namespace lookback::packet {

namespace {

using enum Operation;

constexpr uint16_t class_of(uint16_t code) {
  return code & 0x07;
}

std::optional<Operation> load_operation(uint16_t code) {
  switch (code) {
    case bpf::kLd | bpf::kWord | bpf::kAbs:
      return kLoadWord;
    case bpf::kLd | bpf::kHalf | bpf::kAbs:
      return kLoadHalf;
    case bpf::kLd | bpf::kByte | bpf::kAbs:
      return kLoadByte;
    case bpf::kLd | bpf::kWord | bpf::kInd:
      return kLoadWordAt;
    case bpf::kLd | bpf::kHalf | bpf::kInd:
      return kLoadHalfAt;
    case bpf::kLd | bpf::kByte | bpf::kInd:
      return kLoadByteAt;
    case bpf::kLdx | bpf::kByte | bpf::kMsh:
      return kLoadHeaderLength;
    case bpf::kLd | bpf::kWord | bpf::kLen:
      return kLoadLength;
    case bpf::kLdx | bpf::kWord | bpf::kLen:
      return kLoadLengthX;
    case bpf::kLd | bpf::kImm:
      return kLoadImm;
    case bpf::kLdx | bpf::kImm:
      return kLoadImmX;
    case bpf::kLd | bpf::kMem:
      return kLoadMem;
    case bpf::kLdx | bpf::kMem:
      return kLoadMemX;
    case bpf::kSt:
      return kStore;
    case bpf::kStx:
      return kStoreX;
    default:
      return std::nullopt;
  }
}

std::optional<Operation> arithmetic_operation(uint16_t code) {
  const bool by_x = (code & bpf::kX) != 0;
  switch (code & 0xf0) {
    case bpf::kAdd:
      return by_x ? kAddX : kAddK;
    case bpf::kSub:
      return by_x ? kSubX : kSubK;
    case bpf::kMul:
      return by_x ? kMulX : kMulK;
    case bpf::kDiv:
      return by_x ? kDivX : kDivK;
    case bpf::kMod:
      return by_x ? kModX : kModK;
    case bpf::kAnd:
      return by_x ? kAndX : kAndK;
    case bpf::kOr:
      return by_x ? kOrX : kOrK;
    case bpf::kXor:
      return by_x ? kXorX : kXorK;
    case bpf::kLsh:
      return by_x ? kLshX : kLshK;
    case bpf::kRsh:
      return by_x ? kRshX : kRshK;
    case bpf::kNeg:
      return kNeg;
    default:
      return std::nullopt;
  }
}

std::optional<Operation> jump_operation(uint16_t code) {
  const bool by_x = (code & bpf::kX) != 0;
  switch (code & 0xf0) {
    case bpf::kJa:
      return kJump;
    case bpf::kJeq:
      return by_x ? kJeqX : kJeq;
    case bpf::kJgt:
      return by_x ? kJgtX : kJgt;
    case bpf::kJge:
      return by_x ? kJgeX : kJge;
    case bpf::kJset:
      return by_x ? kJsetX : kJset;
    default:
      return std::nullopt;
  }
}

/// The load and the jump in one, where there is such an operation.
std::optional<Operation> fused(Operation load, Operation jump) {
  switch (load) {
    case kLoadWord:
      return jump == kJeq ? std::optional(kLoadWordJeq) : std::nullopt;
    case kLoadHalf:
      if (jump == kJeq) return kLoadHalfJeq;
      if (jump == kJset) return kLoadHalfJset;
      if (jump == kJge) return kLoadHalfJge;
      if (jump == kJgt) return kLoadHalfJgt;
      return std::nullopt;
    case kLoadByte:
      if (jump == kJeq) return kLoadByteJeq;
      if (jump == kJset) return kLoadByteJset;
      if (jump == kJge) return kLoadByteJge;
      if (jump == kJgt) return kLoadByteJgt;
      return std::nullopt;
    case kLoadHalfAt:
      if (jump == kJeq) return kLoadHalfAtJeq;
      if (jump == kJge) return kLoadHalfAtJge;
      if (jump == kJgt) return kLoadHalfAtJgt;
      return std::nullopt;
    case kLoadByteAt:
      return jump == kJeq ? std::optional(kLoadByteAtJeq) : std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<Operation> fused_with_mask(Operation load) {
  switch (load) {
    case kLoadWord:
      return kLoadWordAndJeq;
    case kLoadHalf:
      return kLoadHalfAndJeq;
    case kLoadByte:
      return kLoadByteAndJeq;
    default:
      return std::nullopt;
  }
}

class Preparer {
 public:
  explicit Preparer(std::span<const BpfInstruction> program) : program_(program) {}

  Result<FilterCode> prepare() {
    if (program_.empty() || program_.size() > UINT32_MAX / 2)
      return bad(0, "of an impossible length");
    for (size_t i = 0; i < program_.size(); ++i) TRY(decode(i));
    if (class_of(program_.back().code) != bpf::kRet)
      return bad(program_.size() - 1, "at the end is no return");
    for (FilterOp& op : code_.ops) {
      op.next_true = threaded(op.next_true);
      op.next_false = threaded(op.next_false);
    }
    for (size_t i = 0; i + 1 < code_.ops.size(); ++i) fuse(i);
    return std::move(code_);
  }

 private:
  static tl::unexpected<Error> bad(size_t index, std::string_view what) {
    return fail(ErrorKind::invalid, "filter program: instruction {} {}", index, what);
  }

  Result<> decode(size_t i) {
    const BpfInstruction& instruction = program_[i];
    FilterOp op{};
    op.k = instruction.k;
    op.next_true = op.next_false = static_cast<uint32_t>(i + 1);
    std::optional<Operation> operation;
    switch (class_of(instruction.code)) {
      case bpf::kLd:
      case bpf::kLdx:
      case bpf::kSt:
      case bpf::kStx:
        operation = load_operation(instruction.code);
        if (operation) TRY(check_memory(i, *operation, instruction.k));
        break;
      case bpf::kAlu:
        operation = arithmetic_operation(instruction.code);
        if ((operation == kDivK || operation == kModK) && instruction.k == 0)
          return bad(i, "divides by zero");
        if ((operation == kLshK || operation == kRshK) && instruction.k >= 32) {
          operation = kAndK;  // all bits gone, as with a shift by X
          op.k = 0;
        }
        break;
      case bpf::kJmp:
        operation = jump_operation(instruction.code);
        TRY(set_targets(i, operation == kJump, op));
        break;
      case bpf::kRet:
        if ((instruction.code & 0x18) == bpf::kA) {
          operation = kReturnA;
        } else if ((instruction.code & 0x18) == bpf::kK) {
          operation = instruction.k != 0 ? kReturnTrue : kReturnFalse;
        }
        break;
      default:
        operation = (instruction.code & 0xf8) == bpf::kTxa ? kTxa : kTax;
        break;
    }
    if (!operation) return bad(i, fmt::format("is unknown: {:#x}", instruction.code));
    op.operation = *operation;
    code_.ops.push_back(op);
    return {};
  }

  Result<> set_targets(size_t i, bool unconditional, FilterOp& op) const {
    const BpfInstruction& instruction = program_[i];
    const auto far = static_cast<int32_t>(instruction.k);
    TRY_ASSIGN(op.next_true, target(i, unconditional ? far : instruction.jump_true));
    TRY_ASSIGN(op.next_false, target(i, unconditional ? far : instruction.jump_false));
    op.value = instruction.k;
    return {};
  }

  Result<> check_memory(size_t i, Operation operation, uint32_t k) {
    uint32_t bytes = 0;
    switch (operation) {
      case kLoadMem:
      case kLoadMemX:
      case kStore:
      case kStoreX:
        if (k >= bpf::kMemoryWords) return bad(i, "uses memory that is not there");
        code_.uses_memory = true;
        return {};
      case kLoadWord:
        bytes = 4;
        break;
      case kLoadHalf:
        bytes = 2;
        break;
      case kLoadByte:
      case kLoadHeaderLength:
        bytes = 1;
        break;
      default:
        return {};
    }
    // A load that no packet is long enough for makes every packet take the checked way.
    const uint32_t end = k > UINT32_MAX - bytes ? UINT32_MAX : k + bytes;
    code_.absolute_bytes = std::max(code_.absolute_bytes, end);
    return {};
  }

  /// libpcap's "protochain" loops: only JA jumps back, each time further into the packet.
  [[nodiscard]] Result<uint32_t> target(size_t i, int32_t distance) const {
    const int64_t to = static_cast<int64_t>(i) + 1 + distance;
    if (to < 0 || to >= static_cast<int64_t>(program_.size()))
      return bad(i, "jumps out of the program");
    return static_cast<uint32_t>(to);
  }

  /// Where a jump ends up when the unconditional jumps at its target are followed.
  [[nodiscard]] uint32_t threaded(uint32_t at) const {
    for (size_t hops = 0; hops < 16 && at < code_.ops.size(); ++hops) {
      if (code_.ops[at].operation != kJump) break;
      at = code_.ops[at].next_true;
    }
    return at;
  }

  /// Operations that follow stay where they are: another jump may lead to them.
  void fuse(size_t i) {
    FilterOp& op = code_.ops[i];
    const FilterOp& next = code_.ops[i + 1];
    if (next.operation == kAndK && i + 2 < code_.ops.size() && code_.ops[i + 2].operation == kJeq) {
      if (const auto operation = fused_with_mask(op.operation)) {
        op.operation = *operation;
        op.mask = next.k;
        take_jump(op, code_.ops[i + 2]);
        return;
      }
    }
    if (const auto operation = fused(op.operation, next.operation)) {
      op.operation = *operation;
      take_jump(op, next);
    }
  }
  static void take_jump(FilterOp& op, const FilterOp& jump) {
    op.value = jump.value;
    op.next_true = jump.next_true;
    op.next_false = jump.next_false;
  }

  std::span<const BpfInstruction> program_;
  FilterCode code_;
};

}  // namespace

Result<FilterCode> prepare_filter(std::span<const BpfInstruction> program) {
  return Preparer(program).prepare();
}

}  // namespace lookback::packet
