#pragma once
// Classic BPF, prepared for running: operands decoded, jumps absolute and threaded, common pairs
// and triples of instructions fused into one operation.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/filter.hpp"

namespace lookback::packet {

// Opcodes of classic BPF (linux/bpf_common.h says the same; its header clashes with libpcap's).
namespace bpf {
inline constexpr uint16_t kLd = 0, kLdx = 1, kSt = 2, kStx = 3, kAlu = 4, kJmp = 5, kRet = 6,
                          kMisc = 7;
inline constexpr uint16_t kWord = 0x00, kHalf = 0x08, kByte = 0x10;
inline constexpr uint16_t kImm = 0x00, kAbs = 0x20, kInd = 0x40, kMem = 0x60, kLen = 0x80,
                          kMsh = 0xa0;
inline constexpr uint16_t kAdd = 0x00, kSub = 0x10, kMul = 0x20, kDiv = 0x30, kOr = 0x40,
                          kAnd = 0x50, kLsh = 0x60, kRsh = 0x70, kNeg = 0x80, kMod = 0x90,
                          kXor = 0xa0;
inline constexpr uint16_t kJa = 0x00, kJeq = 0x10, kJgt = 0x20, kJge = 0x30, kJset = 0x40;
inline constexpr uint16_t kK = 0x00, kX = 0x08, kA = 0x10;
inline constexpr uint16_t kTax = 0x00, kTxa = 0x80;
inline constexpr uint32_t kMemoryWords = 16;
/// Loads from here up ask the kernel, not the packet (SKF_AD_OFF).
inline constexpr uint32_t kAncillary = 0xfffff000;
}  // namespace bpf

// X(name). Loads are L<size><mode>; a suffix J... means "then jump", with the comparison's constant
// in `value`; AndJeq masks with `mask` first. A keeps the loaded (masked) value in every case.
// clang-format off
#define LOOKBACK_FILTER_OPERATIONS(X)                                                      \
  X(LoadWord) X(LoadHalf) X(LoadByte) X(LoadWordAt) X(LoadHalfAt) X(LoadByteAt)           \
  X(LoadHeaderLength)                                                                    \
  X(LoadWordJeq) X(LoadHalfJeq) X(LoadByteJeq) X(LoadHalfJset) X(LoadByteJset)           \
  X(LoadWordAndJeq) X(LoadHalfAndJeq) X(LoadByteAndJeq)                                  \
  X(LoadHalfJge) X(LoadHalfJgt) X(LoadByteJge) X(LoadByteJgt)                            \
  X(LoadHalfAtJeq) X(LoadByteAtJeq) X(LoadHalfAtJge) X(LoadHalfAtJgt)                    \
  X(LoadLength) X(LoadLengthX) X(LoadImm) X(LoadImmX)                                    \
  X(LoadMem) X(LoadMemX) X(Store) X(StoreX)                                              \
  X(AddK) X(SubK) X(MulK) X(DivK) X(ModK) X(AndK) X(OrK) X(XorK) X(LshK) X(RshK)         \
  X(AddX) X(SubX) X(MulX) X(DivX) X(ModX) X(AndX) X(OrX) X(XorX) X(LshX) X(RshX) X(Neg)  \
  X(Tax) X(Txa) X(Jump) X(Jeq) X(Jgt) X(Jge) X(Jset) X(JeqX) X(JgtX) X(JgeX) X(JsetX)    \
  X(ReturnTrue) X(ReturnFalse) X(ReturnA)
// clang-format on

enum class Operation : uint32_t {
#define X(name) k##name,
  LOOKBACK_FILTER_OPERATIONS(X)
#undef X
};

/// Stands at the index of the instruction that it begins with, so jumps need no translation.
struct FilterOp {
  Operation operation;
  uint32_t k = 0;      ///< offset or operand
  uint32_t value = 0;  ///< what a fused jump compares with
  uint32_t mask = 0;
  uint32_t next_true = 0, next_false = 0;
};

struct FilterCode {
  std::vector<FilterOp> ops;
  uint32_t absolute_bytes = 0;  ///< a packet this long satisfies every load at a fixed offset
  bool uses_memory = false;
  /// For packets whose first word is in the other byte order than this machine's: BSD loopback.
  std::shared_ptr<const FilterCode> other_order;
};

/// Checks that the program ends, stays inside itself and its 16 words of memory, and has known
/// instructions only.
[[nodiscard]] Result<FilterCode> prepare_filter(std::span<const BpfInstruction> program);

}  // namespace lookback::packet
