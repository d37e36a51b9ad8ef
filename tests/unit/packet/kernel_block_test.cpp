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
  CHECK(link_type_of_hardware(280) == 227);  // CAN
  CHECK(link_type_of_hardware(824) == 253);  // netlink
  CHECK(link_type_of_hardware(18) == 122);   // IP over Fibre Channel
  for (const uint16_t other : {32, 19, 805, 825, 827, 65535}) CHECK(link_type_of_hardware(other) == link_type::kLinuxSll2);
}

TEST_CASE("a header is made up where a link type has one and the device has not") {
  const auto made = [](uint16_t link_type, uint16_t protocol, const std::string& data, uint32_t own = 0) {
    auto block = make_block({{data, 1700000000, 5, 258, PACKET_OTHERHOST, 0, 0, 0}}, 24);
    auto* header = reinterpret_cast<tpacket3_hdr*>(block.data() + 24);
    header->tp_net = static_cast<uint16_t>(header->tp_mac + own);
    auto* address = reinterpret_cast<sockaddr_ll*>(block.data() + 24 + TPACKET_ALIGN(sizeof *header));
    address->sll_protocol = __builtin_bswap16(protocol);
    address->sll_hatype = 824;
    address->sll_halen = 6;
    std::memcpy(address->sll_addr, "\1\2\3\4\5\6\0\0", 8);
    KernelBlockWalker walker(block, 24, 1);
    auto packet = walker.next();
    REQUIRE(packet);
    put_link_header(*packet, link_type, block);
    CHECK(packet->view.original_length == packet->view.data.size() + 100);
    return std::string(reinterpret_cast<const char*>(packet->view.data.data()), packet->view.data.size());
  };
  const std::string address("\1\2\3\4\5\6\0\0", 8);
  CHECK(made(link_type::kLinuxSll2, 0x0800, "payload") ==
        std::string("\x08\x00\0\0\0\0\1\2\x03\x38\3\6", 12) + address + "payload");
  CHECK(made(link_type::kLinuxSll2, 0x0800, "ownpayload", 3) ==
        std::string("\x08\x00\0\0\0\0\1\2\x03\x38\3\6", 12) + address + "payload");
  CHECK(made(253, 16, "payload") == std::string("\0\3\x03\x38\0\6", 6) + address + std::string("\0\x10", 2) + "payload");
  CHECK(made(227, 0x000c, std::string("\x23\x01\0\x80\2\0\0\0ab", 10)) == std::string("\x80\0\x01\x23\2\0\0\0ab", 10));
  CHECK(made(227, 0x000d, std::string("\x23\x01\0\0\2\1\0\0ab", 10)) == std::string("\0\0\x01\x23\2\5\0\0ab", 10));
  CHECK(made(link_type::kEthernet, 0x0800, "payload") == "payload");
}
