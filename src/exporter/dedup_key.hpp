#pragma once
// By what two sightings of one packet are recognised: the packet from its outermost IP (or ARP)
// header on, without what changes on the way or depends on where it was recorded (link layer, TTL
// and hop limit, checksums).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace lookback::exporter {

/// A universal hash (NH, as in RFC 4418 5.2, on 64-bit words) under a key drawn at random for each
/// export, so that nobody can make two different packets look alike on purpose. Two texts collide
/// with a probability of about 2^-64. Immutable; any number of threads.
class KeyedHash {
 public:
  static constexpr size_t kMaxHeader = 512, kMaxBody = 256 << 10;

  KeyedHash();
  /// Of a header (at most kMaxHeader bytes, in a buffer of kMaxHeader) and a body (at most
  /// kMaxBody); their lengths count.
  [[nodiscard]] uint64_t operator()(std::span<const std::byte> header,
                                    std::span<const std::byte> body) const;

 private:
  std::unique_ptr<uint64_t[]> key_;
};

struct DedupKey {
  enum class Kind : uint8_t {
    none,    ///< not comparable: always kept
    whole,   ///< equal where `content` is equal
    stream,  ///< TCP with payload: equal content, or equal bytes of the same stretch of sequence
             ///< numbers
  };
  int64_t hub_ns = 0;           ///< the packet's time on the hub's clock
  int64_t error_ns = 0;         ///< to which that is known
  uint64_t content = 0;         ///< of everything that must be equal in an exact copy
  uint64_t flow = 0;            ///< stream: of what segments cut from one super-packet share
  uint32_t sequence = 0;        ///< stream: of the first payload byte
  uint32_t length = 0;          ///< stream: payload bytes
  uint32_t payload_offset = 0;  ///< stream: of the payload in the packet's data
  uint32_t ifindex = 0;  ///< where one interface of the output stands for several of the host
  Kind kind = Kind::none;
  bool fin = false;
};

/// The times are left for the caller to fill in.
[[nodiscard]] DedupKey make_dedup_key(const KeyedHash& hash, uint16_t link_type,
                                      std::span<const std::byte> data);

}  // namespace lookback::exporter
