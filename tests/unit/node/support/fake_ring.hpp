#pragma once
// A packet source under the test's control: blocks as the kernel would leave them, from packets that the test gives.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lookback/capture/capture.hpp"

namespace lookback::test {

struct FakePacket {
  int64_t time_ns = 0;
  std::string data;             ///< without the tag
  uint32_t interface = 1;       ///< ifindex
  uint32_t original_length = 0; ///< 0: as long as data
  std::optional<uint32_t> vlan{}; ///< TPID << 16 | TCI
  uint8_t packet_type = 0;      ///< PACKET_HOST
};

class FakeRing final : public capture::Ring {
 public:
  static constexpr uint32_t kBlockBytes = 1 << 20;

  /// `reserve` as RingOptions::block_reserve.
  explicit FakeRing(uint32_t reserve, size_t blocks = 8);
  ~FakeRing() override;

  /// Hands one block with these packets to whoever calls next(); waits while all blocks are out.
  void give(const std::vector<FakePacket>& packets);
  void drop(uint64_t packets);
  void set_interfaces(std::vector<packet::Interface> interfaces);
  /// Makes next() fail from now on.
  void break_down();
  /// Everything given was taken and given back.
  [[nodiscard]] bool idle();
  [[nodiscard]] std::vector<capture::ExcludedConnection> excluded();

  std::span<std::byte> memory() const override { return memory_; }
  uint32_t block_bytes() const override { return kBlockBytes; }
  Result<capture::Block> next(int timeout_ms) override;
  void wake() override;
  capture::RingDrops take_drops() override;
  Result<bool> refresh_interfaces() override;
  std::vector<packet::Interface> interfaces() const override;
  bool selects(const std::string&) const override { return true; }
  Result<> set_excluded(std::vector<capture::ExcludedConnection> exclude) override;
  int retire_timeout_ms() const override { return 1; }

 private:
  const uint32_t reserve_;
  std::span<std::byte> memory_;
  std::unique_ptr<std::atomic<bool>[]> leases_;
  const size_t blocks_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<capture::Block> ready_;
  size_t next_block_ = 0;
  bool woken_ = false, broken_ = false, interfaces_changed_ = false;
  capture::RingDrops drops_;
  std::vector<packet::Interface> interfaces_;
  std::vector<capture::ExcludedConnection> excluded_;
};

}  // namespace lookback::test
