#include "unit/node/support/fake_ring.hpp"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "lookback/base/time.hpp"

namespace lookback::test {

FakeRing::FakeRing(uint32_t reserve, size_t blocks)
    : reserve_(reserve),
      leases_(std::make_unique<std::atomic<bool>[]>(blocks)),
      blocks_(blocks),
      interfaces_{{1, "eth0", packet::link_type::kEthernet, "02:00:00:00:00:01", 1500}} {
  void* const address = mmap(nullptr, blocks * kBlockBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) std::abort();
  memory_ = {static_cast<std::byte*>(address), blocks * kBlockBytes};
}

FakeRing::~FakeRing() {
  ready_.clear();
  munmap(memory_.data(), memory_.size());
}

void FakeRing::give(const std::vector<FakePacket>& packets) {
  while (leases_[next_block_].load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  leases_[next_block_].store(true);
  const auto memory = memory_.subspan(next_block_ * kBlockBytes, kBlockBytes);
  next_block_ = (next_block_ + 1) % blocks_;
  auto* const descriptor = reinterpret_cast<tpacket_block_desc*>(memory.data());
  descriptor->hdr.bh1.block_status = TP_STATUS_USER;

  capture::Block block(memory, &descriptor->hdr.bh1.block_status, &leases_[(next_block_ + blocks_ - 1) % blocks_]);
  size_t at = (sizeof(tpacket_block_desc) + reserve_ + 15) / 16 * 16;
  block.first_packet = static_cast<uint32_t>(at);
  block.packets = static_cast<uint32_t>(packets.size());
  for (const auto& packet : packets) {
    constexpr uint16_t kMac = TPACKET_ALIGN(TPACKET3_HDRLEN) + 2;
    tpacket3_hdr header{};
    header.tp_sec = static_cast<uint32_t>(packet.time_ns / kNsPerSecond);
    header.tp_nsec = static_cast<uint32_t>(packet.time_ns % kNsPerSecond);
    header.tp_snaplen = static_cast<uint32_t>(packet.data.size());
    header.tp_len = packet.original_length != 0 ? packet.original_length : header.tp_snaplen;
    header.tp_status = TP_STATUS_USER;
    header.tp_mac = kMac;
    header.tp_net = kMac + ETH_HLEN;
    if (packet.vlan) {
      header.tp_status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
      header.hv1.tp_vlan_tci = *packet.vlan & 0xffff;
      header.hv1.tp_vlan_tpid = static_cast<uint16_t>(*packet.vlan >> 16);
    }
    header.tp_next_offset = TPACKET_ALIGN(kMac + header.tp_snaplen);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(packet.interface);
    address.sll_hatype = ARPHRD_ETHER;
    address.sll_pkttype = packet.packet_type;
    if (at + header.tp_next_offset > kBlockBytes) std::abort();
    std::memcpy(memory.data() + at, &header, sizeof header);
    std::memcpy(memory.data() + at + TPACKET_ALIGN(sizeof header), &address, sizeof address);
    std::memcpy(memory.data() + at + kMac, packet.data.data(), packet.data.size());
    at += header.tp_next_offset;
  }
  block.used_bytes = static_cast<uint32_t>(at);
  if (!packets.empty()) {
    block.first_ns = packets.front().time_ns;
    block.last_ns = packets.back().time_ns;
  }
  const std::lock_guard lock(mutex_);
  ready_.push_back(std::move(block));
  changed_.notify_all();
}

void FakeRing::drop(uint64_t packets) {
  const std::lock_guard lock(mutex_);
  drops_.dropped += packets;
  drops_.received += packets;
  ++drops_.stalls;
  woken_ = true;
  changed_.notify_all();
}

void FakeRing::set_interfaces(std::vector<packet::Interface> interfaces) {
  const std::lock_guard lock(mutex_);
  interfaces_ = std::move(interfaces);
  interfaces_changed_ = true;
  woken_ = true;
  changed_.notify_all();
}

void FakeRing::break_down() {
  const std::lock_guard lock(mutex_);
  broken_ = true;
  changed_.notify_all();
}

bool FakeRing::idle() {
  const std::lock_guard lock(mutex_);
  return ready_.empty() && std::none_of(leases_.get(), leases_.get() + blocks_, [](const auto& lease) { return lease.load(); });
}

std::vector<capture::ExcludedConnection> FakeRing::excluded() {
  const std::lock_guard lock(mutex_);
  return excluded_;
}

Result<capture::Block> FakeRing::next(int timeout_ms) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                    [&] { return broken_ || woken_ || !ready_.empty(); });
  if (broken_) return fail(ErrorKind::failed, "the ring broke");
  woken_ = false;
  if (ready_.empty()) return capture::Block{};
  capture::Block block = std::move(ready_.front());
  ready_.pop_front();
  return block;
}

void FakeRing::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

capture::RingDrops FakeRing::take_drops() {
  const std::lock_guard lock(mutex_);
  return std::exchange(drops_, {});
}

Result<bool> FakeRing::refresh_interfaces() {
  const std::lock_guard lock(mutex_);
  return std::exchange(interfaces_changed_, false);
}

std::vector<packet::Interface> FakeRing::interfaces() const {
  const std::lock_guard lock(mutex_);
  return interfaces_;
}

Result<> FakeRing::set_excluded(std::vector<capture::ExcludedConnection> exclude) {
  const std::lock_guard lock(mutex_);
  excluded_ = std::move(exclude);
  return {};
}

}  // namespace lookback::test
