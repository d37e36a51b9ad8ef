#pragma once
// What the store's tests share: a clock that is told the time, packets that can be told apart,
// blocks made of them as the kernel and the recorder make them, and what comes back.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/store/compact.hpp"
#include "lookback/store/store.hpp"
#include "store/aligned_buffer.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::store::testing {

using test::TemporaryDirectory;

class FakeClock final : public Clock {
 public:
  int64_t now_ns = 1'700'000'000 * kNsPerSecond;
  [[nodiscard]] int64_t realtime_ns() const override { return now_ns; }
  [[nodiscard]] int64_t monotonic_ns() const override { return now_ns; }
};

/// A packet by value.
struct TestPacket {
  int64_t time_ns = 0;
  std::vector<std::byte> data;
  uint32_t original_length = 0;
  uint32_t interface = 0;
  packet::Direction direction = packet::Direction::inbound;
  packet::Reception reception = packet::Reception::unicast;
  friend bool operator==(const TestPacket&, const TestPacket&) = default;
};

/// `bytes` long, every 4 bytes of it naming `mark` and the number, so that any piece tells where it
/// is from.
[[nodiscard]] TestPacket marked_packet(uint16_t mark, uint16_t number, size_t bytes,
                                       int64_t time_ns);

struct Tag {
  bool present = false;
  uint16_t tpid = 0x8100, tci = 0;
};

/// A block in page-aligned memory of its own.
struct TestBlock {
  AlignedBuffer memory;
  std::span<std::byte> block;
  BlockInfo info;
};

/// A TPACKET_V3 chain in `capacity` bytes; every packet must fit. `interface` of the packets is the
/// ifindex.
[[nodiscard]] TestBlock kernel_block(const std::vector<TestPacket>& packets, uint32_t capacity,
                                     Tag tag = {}, uint16_t hardware_type = 1);
[[nodiscard]] TestBlock compact_block(const std::vector<TestPacket>& packets,
                                      uint32_t capacity = 64 << 10);

struct ReadResult {
  std::vector<TestPacket> packets;
  std::vector<packet::Interface> interfaces;
  uint64_t damaged_blocks = 0;
  std::vector<Gap> damage;
};
[[nodiscard]] ReadResult read_all(RunReader& reader);
/// All runs of a freeze, one after the other; those given up are left out. Interfaces are those of
/// the last run.
[[nodiscard]] ReadResult read_freeze(const Store& store, const Freeze& freeze);

[[nodiscard]] std::unique_ptr<Store> open_store(const StoreOptions& options, const Clock& clock);
[[nodiscard]] StoreOptions small_store(
    const std::filesystem::path& directory);  ///< 32 MiB in segments of 256 KiB
[[nodiscard]] FreezeRequest everything(const std::string& id);

/// As du -s and du -s --apparent-size count, whichever is more, in bytes.
[[nodiscard]] uint64_t disk_usage(const std::filesystem::path& directory);

/// The path of a segment of a store's directory.
[[nodiscard]] std::filesystem::path segment_file(const std::filesystem::path& directory,
                                                 uint64_t sequence);

}  // namespace lookback::store::testing
