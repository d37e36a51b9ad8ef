#include "lookback/packet/kernel_block.hpp"

#include <linux/if_packet.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

using namespace lookback::packet;

namespace {

struct Spec {
  std::string data;
  uint32_t seconds = 0, nanoseconds = 0;
  int ifindex = 1;
  uint8_t type = PACKET_HOST;
  uint32_t status = 0;
  uint16_t tci = 0, tpid = 0;
};

/// A block as the kernel would leave it, `front` bytes before the first packet.
std::vector<std::byte> make_block(const std::vector<Spec>& packets, size_t front) {
  std::vector<std::byte> block(front);
  for (size_t i = 0; i < packets.size(); ++i) {
    const Spec& spec = packets[i];
    tpacket3_hdr header{};
    header.tp_mac = 82;
    header.tp_net = 96;
    header.tp_sec = spec.seconds;
    header.tp_nsec = spec.nanoseconds;
    header.tp_snaplen = static_cast<uint32_t>(spec.data.size());
    header.tp_len = header.tp_snaplen + 100;
    header.tp_status = TP_STATUS_USER | spec.status;
    header.hv1.tp_vlan_tci = spec.tci;
    header.hv1.tp_vlan_tpid = spec.tpid;
    const size_t total = TPACKET_ALIGN(82 + spec.data.size());
    header.tp_next_offset = i + 1 == packets.size() ? 0 : static_cast<uint32_t>(total);
    sockaddr_ll address{};
    address.sll_ifindex = spec.ifindex;
    address.sll_pkttype = spec.type;
    address.sll_hatype = 772;
    const size_t at = block.size();
    block.resize(at + total);
    std::memcpy(block.data() + at, &header, sizeof header);
    std::memcpy(block.data() + at + TPACKET_ALIGN(sizeof header), &address, sizeof address);
    std::memcpy(block.data() + at + 82, spec.data.data(), spec.data.size());
  }
  return block;
}

const std::vector<Spec> kPackets = {
    {"first", 1700000000, 5, 2, PACKET_OUTGOING, 0, 0, 0},
    {"", 1700000000, 6, 3, PACKET_MULTICAST, TP_STATUS_VLAN_VALID, 7, 0},
    {"third packet", 4000000000u, 999999999, 4, PACKET_OTHERHOST,
     TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, 0x6001, 0x88a8},
};

}  // namespace

TEST_CASE("the packets of a kernel block are walked") {
  const auto block = make_block(kPackets, 48);
  KernelBlockWalker walker(block, 48, 3);
  auto packet = walker.next();
  REQUIRE(packet);
  CHECK(packet->view.time_ns == 1700000000000000005);
  CHECK(packet->view.data.size() == 5);
  CHECK(std::memcmp(packet->view.data.data(), "first", 5) == 0);
  CHECK(packet->view.original_length == 105);
  CHECK(packet->view.interface == 2);
  CHECK(packet->view.direction == Direction::outbound);
  CHECK(packet->view.reception == Reception::unspecified);
  CHECK(packet->hardware_type == 772);
  CHECK_FALSE(packet->has_vlan);
  packet = walker.next();
  REQUIRE(packet);
  CHECK(packet->view.data.empty());
  CHECK(packet->view.direction == Direction::inbound);
  CHECK(packet->view.reception == Reception::multicast);
  CHECK(packet->has_vlan);
  CHECK(packet->vlan_tci == 7);
  CHECK(packet->vlan_tpid == 0x8100);
  packet = walker.next();
  REQUIRE(packet);
  CHECK(packet->view.time_ns == 4000000000999999999);
  CHECK(packet->view.reception == Reception::promiscuous);
  CHECK(packet->vlan_tci == 0x6001);
  CHECK(packet->vlan_tpid == 0x88a8);
  CHECK_FALSE(walker.next());
  CHECK_FALSE(walker.damaged());
}

TEST_CASE("a chain that leaves its block is damaged, wherever it is cut") {
  const auto whole = make_block(kPackets, 48);
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    // A copy of its own, so that the sanitizer sees every byte read too far.
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    KernelBlockWalker walker(cut, 48, 3);
    size_t packets = 0;
    while (walker.next()) ++packets;
    // The alignment behind the last packet belongs to nobody.
    const bool all = length >= whole.size() - 2;
    CHECK(walker.damaged() != all);
    CHECK((packets == 3) == all);
  }
  KernelBlockWalker too_many(whole, 48, 4);
  size_t packets = 0;
  while (too_many.next()) ++packets;
  CHECK(packets == 2);  // the third says that nothing follows it
  CHECK(too_many.damaged());
  KernelBlockWalker beyond(whole, 0xfffffff0u, 1);
  CHECK_FALSE(beyond.next());
  CHECK(beyond.damaged());
}

TEST_CASE("any damage to a kernel block stays inside it") {
  const auto whole = make_block(kPackets, 48);
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    auto block = whole;
    for (int i = 0; i < 4; ++i) block[random() % block.size()] = static_cast<std::byte>(random());
    KernelBlockWalker walker(block, 48, 3 + random() % 2);
    const std::byte* last_end = block.data();
    while (const auto packet = walker.next()) {
      REQUIRE(packet->view.data.data() >= last_end);
      last_end = packet->view.data.data() + packet->view.data.size();
      REQUIRE(last_end <= block.data() + block.size());
      REQUIRE(packet->view.data.size() <= packet->view.original_length);
    }
  }
}

TEST_CASE("hardware types become link types") {
  CHECK(link_type_of_hardware(1) == link_type::kEthernet);
  CHECK(link_type_of_hardware(772) == link_type::kEthernet);
  CHECK(link_type_of_hardware(65534) == link_type::kRaw);
  CHECK(link_type_of_hardware(768) == link_type::kRaw);
  CHECK(link_type_of_hardware(803) == link_type::kIeee80211Radiotap);
  CHECK(link_type_of_hardware(824) == link_type::kUser0);
}
