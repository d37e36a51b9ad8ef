#include "packet/summary_format.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "packet/load.hpp"

namespace lookback::packet {

namespace {

constexpr unsigned kBloomHashes = 7;

uint64_t mix(uint64_t z) {
  z ^= z >> 30;
  z *= 0xbf58476d1ce4e5b9;
  z ^= z >> 27;
  z *= 0x94d049bb133111eb;
  return z ^ z >> 31;
}

/// Calls `use` with each bit number of an address until it returns false.
template <class Use>
bool for_bloom_bits(size_t bytes, const IpAddress& address, const Use& use) {
  uint64_t halves[2];
  std::memcpy(halves, address.bytes.data(), sizeof halves);
  const uint64_t hash = mix(halves[0] ^ mix(halves[1] + 0x9e3779b97f4a7c15));
  const auto first = static_cast<uint32_t>(hash);
  const uint32_t step = static_cast<uint32_t>(hash >> 32) | 1;
  const uint64_t bits = 8 * uint64_t{bytes};
  for (unsigned i = 0; i < kBloomHashes; ++i) {
    const uint64_t bit = uint64_t{first + i * step} * bits >> 32;
    if (!use(static_cast<size_t>(bit))) return false;
  }
  return true;
}

unsigned golomb_bits(uint32_t delta, unsigned order) {
  const uint64_t q = (uint64_t{delta} >> order) + 1;
  return 2 * static_cast<unsigned>(std::bit_width(q)) - 1 + order;
}

/// Bits from the highest of each byte down, several at a time. Behind the end stand 1 bits, which
/// end every code; past_end() tells afterwards.
class BitReader {
 public:
  explicit BitReader(std::string_view bytes) : bytes_(bytes) {}

  /// How many 0 bits stand before the next 1, which is not looked for beyond 57; passes over them.
  unsigned zeros() {
    const auto zeros = static_cast<unsigned>(std::countl_zero(window() | 1u));
    position_ += zeros;
    return zeros;
  }
  /// The next bits, at most 57.
  uint64_t take(unsigned bits) {
    const uint64_t value = bits == 0 ? 0 : window() >> (64 - bits);
    position_ += bits;
    return value;
  }
  /// Up to the next whole byte; false where a bit of them is set.
  bool skip_zero_padding() { return take(static_cast<unsigned>(-position_ % 8)) == 0; }
  [[nodiscard]] bool past_end() const { return position_ > 8 * uint64_t{bytes_.size()}; }
  [[nodiscard]] size_t whole_bytes() const { return static_cast<size_t>(position_ / 8); }

 private:
  /// At least 57 bits from here on, left-aligned.
  [[nodiscard]] uint64_t window() const {
    const uint64_t at = position_ / 8;
    uint64_t word = UINT64_MAX;
    if (at + sizeof word <= bytes_.size()) {
      std::memcpy(&word, bytes_.data() + at, sizeof word);
    } else if (at < bytes_.size()) {
      std::memcpy(&word, bytes_.data() + at, bytes_.size() - at);
    }
    return __builtin_bswap64(word) << position_ % 8;
  }

  std::string_view bytes_;
  uint64_t position_ = 0;
};

}  // namespace

void BitWriter::put(uint64_t value, unsigned bits) {
  pending_ = pending_ << bits | (value & ((uint64_t{1} << bits) - 1));
  count_ += bits;
  while (count_ >= 8) {
    count_ -= 8;
    out_ += static_cast<char>(pending_ >> count_);
  }
}

void BitWriter::flush() {
  if (count_ > 0) put(0, 8 - count_);
}

uint64_t set_bits(std::span<const uint32_t> set, unsigned& order) {
  // How many deltas have how many bits tells nearly which order is best; the orders next to it are
  // tried on the deltas.
  std::array<uint64_t, 33> widths{};
  uint64_t expected = 0;
  for (const uint32_t element : set) {
    ++widths[static_cast<size_t>(std::bit_width(element - expected))];
    expected = uint64_t{element} + 1;
  }
  unsigned guess = 0;
  uint64_t guessed_bits = UINT64_MAX;
  for (unsigned candidate = 0; candidate < 32; ++candidate) {
    uint64_t bits = 0;
    for (unsigned width = 0; width < widths.size(); ++width)
      bits += widths[width] * (1 + candidate + 2 * (width > candidate ? width - candidate : 0));
    if (bits < guessed_bits) {
      guessed_bits = bits;
      guess = candidate;
    }
  }
  uint64_t best = UINT64_MAX;
  for (unsigned candidate = guess - (guess > 0); candidate <= std::min(guess + 1, 31u);
       ++candidate) {
    uint64_t bits = 0;
    expected = 0;
    for (const uint32_t element : set) {
      bits += golomb_bits(static_cast<uint32_t>(element - expected), candidate);
      expected = uint64_t{element} + 1;
    }
    if (bits < best) {
      best = bits;
      order = candidate;
    }
  }
  return best;
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_set(std::string& out, std::span<const uint32_t> set) {
  append_varint(out, set.size());
  if (set.empty()) return;
  unsigned order = 0;
  (void)set_bits(set, order);
  out += static_cast<char>(order);
  BitWriter bits(out);
  uint64_t expected = 0;
  for (const uint32_t element : set) {
    const uint64_t delta = element - expected;
    const uint64_t q = (delta >> order) + 1;
    const auto width = static_cast<unsigned>(std::bit_width(q));
    bits.put(0, width - 1);
    bits.put(q, width);
    bits.put(delta, order);
    expected = uint64_t{element} + 1;
  }
  bits.flush();
}

std::optional<uint64_t> SummaryReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 63; shift += 7) {
    const auto next = byte();
    if (!next) return std::nullopt;
    value |= uint64_t{*next & 0x7fu} << shift;
    if (*next < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<uint8_t> SummaryReader::byte() {
  if (left_.empty()) return std::nullopt;
  const auto value = static_cast<uint8_t>(left_.front());
  left_.remove_prefix(1);
  return value;
}

std::optional<std::string_view> SummaryReader::bytes(size_t count) {
  if (count > left_.size()) return std::nullopt;
  const std::string_view taken = left_.substr(0, count);
  left_.remove_prefix(count);
  return taken;
}

std::optional<std::vector<uint32_t>> SummaryReader::set(uint64_t largest) {
  const auto count = varint();
  if (!count || *count > Summary::kMaxKeys) return std::nullopt;
  std::vector<uint32_t> elements;
  if (*count == 0) return elements;
  const auto order = byte();
  if (!order || *order > 31) return std::nullopt;
  elements.reserve(*count);
  BitReader bits(left_);
  uint64_t expected = 0;
  for (uint64_t i = 0; i < *count; ++i) {
    const unsigned zeros = bits.zeros();
    if (zeros > 32) return std::nullopt;
    const uint64_t q = bits.take(zeros + 1) - 1;
    if (q > largest >> *order)
      return std::nullopt;  // too large, and the shift below could overflow
    const uint64_t element = expected + (q << *order | bits.take(*order));
    if (bits.past_end() || element > largest) return std::nullopt;
    elements.push_back(static_cast<uint32_t>(element));
    expected = element + 1;
  }
  if (!bits.skip_zero_padding()) return std::nullopt;
  left_.remove_prefix(bits.whole_bytes());
  return elements;
}

void bloom_add(std::span<uint8_t> bloom, const IpAddress& address) {
  for_bloom_bits(bloom.size(), address, [&](size_t bit) {
    bloom[bit / 8] |= static_cast<uint8_t>(1u << bit % 8);
    return true;
  });
}

bool bloom_has(std::span<const uint8_t> bloom, const IpAddress& address) {
  return for_bloom_bits(bloom.size(), address,
                        [&](size_t bit) { return (bloom[bit / 8] >> bit % 8 & 1) != 0; });
}

}  // namespace lookback::packet
