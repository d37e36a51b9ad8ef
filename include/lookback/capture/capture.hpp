#pragma once
// Packet sources. A source hands over blocks of packets with at most one copy and knows no disk.
// Threading: one thread polls; the rest is said at each function.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/result.hpp"
#include "lookback/base/time.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::capture {

/// TCP connections that are not recorded: between `address` and any of `ports` (the daemons' own traffic).
struct ExcludedPeer {
  std::string address;
  std::vector<uint16_t> ports;
  friend bool operator==(const ExcludedPeer&, const ExcludedPeer&) = default;
};

struct RingOptions {
  std::vector<std::string> interfaces;  ///< names or globs; empty: all
  std::string filter;                   ///< pcap-filter
  uint32_t snaplen = 0;                 ///< 0: whole packets
  uint64_t ring_bytes = 64ULL << 20;
  std::vector<ExcludedPeer> exclude;
  uint32_t block_reserve = 0;           ///< bytes to leave free behind the kernel's block header (tp_sizeof_priv)
};

/// Kernel counters since the last call.
struct RingDrops {
  uint64_t received = 0;   ///< packets that passed the filter, dropped ones included
  uint64_t dropped = 0;
  uint64_t stalls = 0;     ///< times the ring was full (tp_freeze_q_cnt)
};

/// One block that the kernel handed over. Destroying it gives it back to the kernel. The memory may be changed.
class Block {
 public:
  Block() = default;
  Block(std::span<std::byte> memory, uint32_t* status) : memory_(memory), status_(status) {}
  Block(Block&& other) noexcept : memory_(other.memory_), status_(std::exchange(other.status_, nullptr)) {}
  Block& operator=(Block&& other) noexcept;
  ~Block();
  [[nodiscard]] explicit operator bool() const { return status_ != nullptr; }
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }  ///< the whole block, kernel header first
  uint32_t packets = 0;
  uint32_t used_bytes = 0;       ///< up to the end of the last packet
  uint32_t first_packet = 0;     ///< offset of the first tpacket3_hdr
  int64_t first_ns = 0, last_ns = 0;

 private:
  std::span<std::byte> memory_;
  uint32_t* status_ = nullptr;
};

/// AF_PACKET, TPACKET_V3, all selected interfaces in one ring.
class Ring {
 public:
  /// Compiles the filter per link type with the kernel's VLAN extensions, attaches it before the first packet can come in.
  /// invalid: filter syntax, no interface matches and none could ever. Needs CAP_NET_RAW.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> open(const RingOptions& options);
  virtual ~Ring() = default;

  [[nodiscard]] virtual std::span<std::byte> memory() const = 0;
  [[nodiscard]] virtual uint32_t block_bytes() const = 0;
  /// The next filled block, waiting up to timeout_ms; an empty Block on timeout or after wake().
  [[nodiscard]] virtual Result<Block> next(int timeout_ms) = 0;
  virtual void wake() = 0;                                    ///< any thread
  [[nodiscard]] virtual RingDrops take_drops() = 0;
  /// Looks for interfaces that came, went or were renamed (netlink) and renews the kernel filter; true when the table changed.
  [[nodiscard]] virtual Result<bool> refresh_interfaces() = 0;
  [[nodiscard]] virtual std::vector<packet::Interface> interfaces() const = 0;
  [[nodiscard]] virtual Result<> set_excluded(std::vector<ExcludedPeer> exclude) = 0;
  /// Milliseconds after which the kernel has surely handed over a packet (twice the block retire timeout).
  [[nodiscard]] virtual int retire_timeout_ms() const = 0;
};

}  // namespace lookback::capture
