#pragma once
// Packet sources. A source hands over blocks of packets with at most one copy and knows no disk.

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lookback/base/result.hpp"
#include "lookback/packet/packet.hpp"

namespace lookback::capture {

/// TCP connections that are not recorded (the daemon's own): between exactly these two ends, in both directions.
struct ExcludedConnection {
  std::string local;         ///< address, a zone is passed over
  uint16_t local_port = 0;   ///< 0: any, but not at both ends
  std::string remote;
  uint16_t remote_port = 0;
  friend bool operator==(const ExcludedConnection&, const ExcludedConnection&) = default;
};

struct RingOptions {
  std::vector<std::string> interfaces{};  ///< names (escaped as by name_to_text(), or bytes) or globs; empty: all
  bool promiscuous = true;              ///< of interfaces that are named; where all are recorded none becomes promiscuous
  std::string filter{};                 ///< pcap-filter; where it makes no sense for a link type, nothing of that type matches
  uint32_t snaplen = 0;                 ///< 0: whole packets
  uint64_t ring_bytes = 64ULL << 20;
  std::vector<ExcludedConnection> exclude{};
  uint32_t block_reserve = 0;           ///< bytes to leave free behind the kernel's block header (tp_sizeof_priv)
};

/// The size of the ring's blocks for a ring of that size: a power of two, 256 KiB to 4 MiB.
[[nodiscard]] uint32_t ring_block_bytes(uint64_t ring_bytes);

/// Kernel counters since the last call.
struct RingDrops {
  uint64_t received = 0;   ///< packets that passed the filter, dropped ones included
  uint64_t dropped = 0;
  uint64_t stalls = 0;     ///< times the ring was full (tp_freeze_q_cnt)
};

/// A packet that is let through reaches the ring at most this long after it was stamped: a queue of the kernel lies in between.
/// What is said to be lost, or to be all there, allows for that.
inline constexpr int64_t kMaxStampDelayNs = 100'000'000;

/// One block that the kernel handed over. Destroying it gives it back, in any order and from any thread.
///
/// The memory is the holder's to change, with one exception: the lowest bit of the status word (bytes 8 to 11, struct
/// tpacket_hdr_v1 in linux/if_packet.h) must stay set, because the kernel looks there whether the block is still in use.
class Block {
 public:
  Block() = default;
  /// `lease`, where given, is cleared after `status`: it tells the ring that the block is no longer out.
  Block(std::span<std::byte> memory, uint32_t* status, std::atomic<bool>* lease = nullptr)
      : memory_(memory), status_(status), lease_(lease) {}
  Block(Block&& other) noexcept { *this = std::move(other); }
  Block& operator=(Block&& other) noexcept;
  ~Block() { give_back(); }
  [[nodiscard]] explicit operator bool() const { return status_ != nullptr; }
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }  ///< the whole block, kernel header first

  uint32_t packets = 0;
  uint32_t used_bytes = 0;    ///< up to the end of the last packet
  uint32_t first_packet = 0;  ///< offset of the first tpacket3_hdr
  /// When the kernel opened the block, and its last packet's stamp. No bounds: packets are stamped before they are
  /// queued, so a block may hold slightly older ones, and they are in order only as far as one processor goes.
  int64_t first_ns = 0, last_ns = 0;

 private:
  void give_back();

  std::span<std::byte> memory_;
  uint32_t* status_ = nullptr;
  std::atomic<bool>* lease_ = nullptr;
};

/// AF_PACKET, TPACKET_V3, all selected interfaces in one ring. next() belongs to one thread; everything else may be called
/// from any.
class Ring {
 public:
  /// Compiles the filter per link type with the kernel's VLAN extensions, attaches it before the first packet can come in.
  /// invalid: filter syntax, impossible interface names or sizes. Needs CAP_NET_RAW.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> open(const RingOptions& options);
  virtual ~Ring() = default;  ///< every Block must have been given back

  [[nodiscard]] virtual std::span<std::byte> memory() const = 0;
  [[nodiscard]] virtual uint32_t block_bytes() const = 0;
  /// The next filled block, waiting up to timeout_ms (0: only looks); an empty Block on timeout, after wake(), and when an
  /// interface changed (then call refresh_interfaces()). Several blocks may be out at a time.
  [[nodiscard]] virtual Result<Block> next(int timeout_ms) = 0;
  virtual void wake() = 0;  ///< ends a waiting next(), or the coming one
  [[nodiscard]] virtual RingDrops take_drops() = 0;
  /// Takes in interfaces that came, went or were renamed (netlink) and renews the kernel filter; true when the table
  /// changed. Costs one system call when nothing did: call it after every next().
  [[nodiscard]] virtual Result<bool> refresh_interfaces() = 0;
  /// All present interfaces, and those that went away or were renamed within the last minute. Where an index occurs
  /// twice, the later entry is the one that has it now.
  [[nodiscard]] virtual std::vector<packet::Interface> interfaces() const = 0;
  /// True for an interface of that name (present or not) that the options select.
  [[nodiscard]] virtual bool selects(const std::string& interface_name) const = 0;
  [[nodiscard]] virtual Result<> set_excluded(std::vector<ExcludedConnection> exclude) = 0;
  /// Milliseconds after which the kernel has surely handed over a packet (twice the block retire timeout).
  [[nodiscard]] virtual int retire_timeout_ms() const = 0;
};

}  // namespace lookback::capture
