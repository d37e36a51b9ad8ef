#pragma once
// clang-format off
// The binary form of a Summary, version 2. Bit strings are read from the highest bit of a byte down
// and end with zero bits up to the next whole byte; varint is LEB128.
//
//   summary   = %x02 flags addresses ports
//             / %x01 addresses ports           ; version 1: as if the flags were %x01
//   flags     = %x00 / %x01                    ; 1: some packets have addresses that nobody could read
//   addresses = %x00                           ; anything
//             / %x01 v4-set v6-count *v6       ; exact; v6 are 16 bytes, ascending
//             / %x02 bloom-bytes *OCTET        ; Bloom filter of bloom-bytes (varint) bytes
//   ports     = %x00                           ; anything
//             / %x01 set
//   v4-set    = set                            ; of 32-bit numbers
//   v6-count  = varint
//   set       = count [order deltas]           ; count: varint; the rest only where it is not 0
//
// order is one byte k. deltas has for each element, ascending, its distance to the one before less
// one (the first: its value) as an exponential Golomb code of order k: with q = (delta >> k) + 1 of
// n bits, n - 1 zero bits, the n bits of q, the k low bits of delta.
//
// A Bloom filter of m = 8 * bloom-bytes bits over 16-byte addresses: lo and hi are the address's
// first and last 8 bytes as little-endian numbers, h = mix(lo ^ mix(hi + 0x9e3779b97f4a7c15)), h1
// its low 32 bits, h2 its high 32 with the lowest set. For i = 0..6 the bit
// ((h1 + i * h2) mod 2^32) * m >> 32 is set; bit b is bit b mod 8, lowest first, of byte b / 8.
// mix(z): z ^= z >> 30; z *= 0xbf58476d1ce4e5b9; z ^= z >> 27; z *= 0x94d049bb133111eb;
// z ^= z >> 31
// clang-format on

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lookback/packet/ip_address.hpp"
#include "lookback/packet/summary.hpp"

namespace lookback::packet {

struct Summary::Impl {
  enum class Addresses : uint8_t { anything = 0, exact = 1, bloom = 2 };
  bool unread = false;
  Addresses addresses = Addresses::anything;
  std::vector<uint32_t> v4;   ///< ascending, host order
  std::vector<IpAddress> v6;  ///< ascending
  std::vector<uint8_t> bloom;
  bool any_port = true;
  std::vector<uint32_t> ports;  ///< ascending
};

inline constexpr uint8_t kSummaryVersion = 2;

class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}
  void put(uint64_t value, unsigned bits);  ///< the low `bits`, at most 40
  void flush();

 private:
  std::string& out_;
  uint64_t pending_ = 0;
  unsigned count_ = 0;
};

/// Bits that an ascending, duplicate-free set takes at the best order, which is returned through
/// `order`.
[[nodiscard]] uint64_t set_bits(std::span<const uint32_t> set, unsigned& order);
void append_varint(std::string& out, uint64_t value);
void append_set(std::string& out, std::span<const uint32_t> set);

/// Reads what the functions above wrote; nothing for a damaged form.
class SummaryReader {
 public:
  explicit SummaryReader(std::string_view bytes) : left_(bytes) {}
  [[nodiscard]] std::optional<uint64_t> varint();
  [[nodiscard]] std::optional<uint8_t> byte();
  [[nodiscard]] std::optional<std::string_view> bytes(size_t count);
  /// Elements at most `largest`, at most Summary::kMaxKeys of them.
  [[nodiscard]] std::optional<std::vector<uint32_t>> set(uint64_t largest);
  [[nodiscard]] bool at_end() const { return left_.empty(); }

 private:
  std::string_view left_;
};

void bloom_add(std::span<uint8_t> bloom, const IpAddress& address);
[[nodiscard]] bool bloom_has(std::span<const uint8_t> bloom, const IpAddress& address);

}  // namespace lookback::packet
