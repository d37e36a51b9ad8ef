#include <algorithm>

#include "packet/filter_code.hpp"
#include "packet/load.hpp"

// Labels as values and "goto *" are extensions of GCC and clang.
#pragma GCC diagnostic ignored "-Wpedantic"

namespace lookback::packet {

namespace {

struct Input {
  const std::byte* data;
  uint32_t length;
  uint32_t original_length;
};

/// Runs a prepared program. With kChecked false the packet is known to reach every fixed offset;
/// offsets by X are held against its length in both cases. Loads outside end the program: no match,
/// as in libpcap. Each operation jumps to the next one's code itself, which gives the branch
/// predictor one jump per operation to learn instead of one for all.
template <bool kChecked>
bool run_code(const FilterOp* const ops, const Input input, uint32_t* const memory) {
  static const void* const kLabels[] = {
#define X(name) &&at_##name,
      LOOKBACK_FILTER_OPERATIONS(X)
#undef X
  };
  const std::byte* const data = input.data;
  const uint64_t length = input.length;
  const FilterOp* op = ops;
  uint32_t a = 0, x = 0;

#define DISPATCH() goto* kLabels[static_cast<uint32_t>(op->operation)]
#define NEXT()  \
  do {          \
    ++op;       \
    DISPATCH(); \
  } while (false)
#define JUMP(condition)                                        \
  do {                                                         \
    op = ops + ((condition) ? op->next_true : op->next_false); \
    DISPATCH();                                                \
  } while (false)
#define LOAD(bytes, value)                                            \
  do {                                                                \
    if (kChecked && uint64_t{op->k} + (bytes) > length) return false; \
    const std::byte* const from = data + op->k;                       \
    a = (value);                                                      \
  } while (false)
#define LOAD_AT(bytes, value)                    \
  do {                                           \
    const uint64_t offset = uint64_t{x} + op->k; \
    if (offset + (bytes) > length) return false; \
    const std::byte* const from = data + offset; \
    a = (value);                                 \
  } while (false)

  DISPATCH();

at_LoadWord:
  LOAD(4, load_be32(from));
  NEXT();
at_LoadHalf:
  LOAD(2, load_be16(from));
  NEXT();
at_LoadByte:
  LOAD(1, load8(from));
  NEXT();
at_LoadWordAt:
  LOAD_AT(4, load_be32(from));
  NEXT();
at_LoadHalfAt:
  LOAD_AT(2, load_be16(from));
  NEXT();
at_LoadByteAt:
  LOAD_AT(1, load8(from));
  NEXT();
at_LoadHeaderLength:
  if (kChecked && op->k >= length) return false;
  x = (load8(data + op->k) & 0x0fu) * 4;
  NEXT();

at_LoadWordJeq:
  LOAD(4, load_be32(from));
  JUMP(a == op->value);
at_LoadHalfJeq:
  LOAD(2, load_be16(from));
  JUMP(a == op->value);
at_LoadByteJeq:
  LOAD(1, load8(from));
  JUMP(a == op->value);
at_LoadHalfJset:
  LOAD(2, load_be16(from));
  JUMP((a & op->value) != 0);
at_LoadByteJset:
  LOAD(1, load8(from));
  JUMP((a & op->value) != 0);
at_LoadWordAndJeq:
  LOAD(4, load_be32(from) & op->mask);
  JUMP(a == op->value);
at_LoadHalfAndJeq:
  LOAD(2, load_be16(from) & op->mask);
  JUMP(a == op->value);
at_LoadByteAndJeq:
  LOAD(1, load8(from) & op->mask);
  JUMP(a == op->value);
at_LoadHalfJge:
  LOAD(2, load_be16(from));
  JUMP(a >= op->value);
at_LoadHalfJgt:
  LOAD(2, load_be16(from));
  JUMP(a > op->value);
at_LoadByteJge:
  LOAD(1, load8(from));
  JUMP(a >= op->value);
at_LoadByteJgt:
  LOAD(1, load8(from));
  JUMP(a > op->value);
at_LoadHalfAtJeq:
  LOAD_AT(2, load_be16(from));
  JUMP(a == op->value);
at_LoadByteAtJeq:
  LOAD_AT(1, load8(from));
  JUMP(a == op->value);
at_LoadHalfAtJge:
  LOAD_AT(2, load_be16(from));
  JUMP(a >= op->value);
at_LoadHalfAtJgt:
  LOAD_AT(2, load_be16(from));
  JUMP(a > op->value);

at_LoadLength:
  a = input.original_length;
  NEXT();
at_LoadLengthX:
  x = input.original_length;
  NEXT();
at_LoadImm:
  a = op->k;
  NEXT();
at_LoadImmX:
  x = op->k;
  NEXT();
at_LoadMem:
  a = memory[op->k];
  NEXT();
at_LoadMemX:
  x = memory[op->k];
  NEXT();
at_Store:
  memory[op->k] = a;
  NEXT();
at_StoreX:
  memory[op->k] = x;
  NEXT();

at_AddK:
  a += op->k;
  NEXT();
at_SubK:
  a -= op->k;
  NEXT();
at_MulK:
  a *= op->k;
  NEXT();
at_DivK:
  a /= op->k;
  NEXT();
at_ModK:
  a %= op->k;
  NEXT();
at_AndK:
  a &= op->k;
  NEXT();
at_OrK:
  a |= op->k;
  NEXT();
at_XorK:
  a ^= op->k;
  NEXT();
at_LshK:
  a <<= op->k;
  NEXT();
at_RshK:
  a >>= op->k;
  NEXT();
at_AddX:
  a += x;
  NEXT();
at_SubX:
  a -= x;
  NEXT();
at_MulX:
  a *= x;
  NEXT();
at_DivX:
  if (x == 0) return false;
  a /= x;
  NEXT();
at_ModX:
  if (x == 0) return false;
  a %= x;
  NEXT();
at_AndX:
  a &= x;
  NEXT();
at_OrX:
  a |= x;
  NEXT();
at_XorX:
  a ^= x;
  NEXT();
at_LshX:
  a = x < 32 ? a << x : 0;
  NEXT();
at_RshX:
  a = x < 32 ? a >> x : 0;
  NEXT();
at_Neg:
  a = 0u - a;
  NEXT();
at_Tax:
  x = a;
  NEXT();
at_Txa:
  a = x;
  NEXT();

at_Jump:
  JUMP(true);
at_Jeq:
  JUMP(a == op->value);
at_Jgt:
  JUMP(a > op->value);
at_Jge:
  JUMP(a >= op->value);
at_Jset:
  JUMP((a & op->value) != 0);
at_JeqX:
  JUMP(a == x);
at_JgtX:
  JUMP(a > x);
at_JgeX:
  JUMP(a >= x);
at_JsetX:
  JUMP((a & x) != 0);

at_ReturnTrue:
  return true;
at_ReturnFalse:
  return false;
at_ReturnA:
  return a != 0;

#undef DISPATCH
#undef NEXT
#undef JUMP
#undef LOAD
#undef LOAD_AT
}

bool run_for(const FilterCode& code, const Input& input, uint32_t* memory) {
  return input.length >= code.absolute_bytes ? run_code<false>(code.ops.data(), input, memory)
                                             : run_code<true>(code.ops.data(), input, memory);
}

}  // namespace

bool Filter::run(const FilterCode& code, std::span<const std::byte> data,
                 uint32_t original_length) {
  constexpr uint32_t kLargestFamily = 0xffff;
  if (code.other_order != nullptr && data.size() >= 4 && load<uint32_t>(data.data()) > kLargestFamily)
    return run(*code.other_order, data, original_length);
  const Input input{data.data(),
                    static_cast<uint32_t>(std::min<size_t>(data.size(), UINT32_MAX - 8)),
                    original_length};
  if (!code.uses_memory) return run_for(code, input, nullptr);
  uint32_t memory[bpf::kMemoryWords] = {};
  return run_for(code, input, memory);
}

}  // namespace lookback::packet
