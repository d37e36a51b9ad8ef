// The ring against the kernel, each test in a network namespace of its own.

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "capture/link_programs.hpp"
#include "capture/ring_filter.hpp"
#include "lookback/base/clock.hpp"
#include "lookback/base/time.hpp"
#include "lookback/capture/capture.hpp"
#include "lookback/packet/kernel_block.hpp"
#include "unit/capture/support/network_namespace.hpp"

namespace lookback::capture {
namespace {

using test::NetworkNamespace;
using test::send_frame;
using test::tcp_frame;
using test::udp_frame;

struct Seen {
  std::string interface, text;  ///< text: all captured bytes
  uint32_t original_length = 0;
  int64_t time_ns = 0;
  bool has_vlan = false;
  uint16_t vlan_tci = 0, vlan_tpid = 0, hardware_type = 0;
  packet::Direction direction{};
};

std::unique_ptr<Ring> open_ring(RingOptions options) {
  options.ring_bytes = 4 << 20;
  auto ring = Ring::open(options);
  if (!ring) FAIL(ring.error().message);
  return std::move(*ring);
}

/// Everything that has arrived by now.
std::vector<Seen> drain(Ring& ring) {
  std::vector<Seen> all;
  std::this_thread::sleep_for(std::chrono::milliseconds(ring.retire_timeout_ms() + 5));
  for (;;) {
    auto block = ring.next(0);
    REQUIRE(block);
    if (!*block) break;
    REQUIRE(ring.refresh_interfaces());
    std::map<uint32_t, std::string> names;
    for (const auto& interface : ring.interfaces()) names[interface.index] = interface.name;
    packet::KernelBlockWalker walker(block->memory().first(block->used_bytes), block->first_packet,
                                     block->packets);
    while (const auto packet = walker.next()) {
      const auto& view = packet->view;
      all.push_back({names[view.interface], std::string(as_text(view.data)), view.original_length,
                     view.time_ns, packet->has_vlan, packet->vlan_tci, packet->vlan_tpid,
                     packet->hardware_type, view.direction});
    }
    CHECK_FALSE(walker.damaged());
  }
  return all;
}

/// How many of the packets contain `text`, by interface.
std::map<std::string, int> count(const std::vector<Seen>& seen, std::string_view text) {
  std::map<std::string, int> counts;
  for (const auto& packet : seen)
    if (packet.text.find(text) != std::string::npos) ++counts[packet.interface];
  return counts;
}

void veth_pair(const NetworkNamespace& net) {
  // No address, no IPv6: nothing but the tests' frames.
  net.ip("link add va type veth peer name vb");
  for (const char* name : {"va", "vb"}) {
    net.ip(std::string("link set dev ") + name + " addrgenmode none");
    net.ip(std::string("link set dev ") + name + " up");
  }
}

/// The next block, news of interfaces taken in on the way.
Block wait_for_block(Ring& ring) {
  for (int i = 0; i < 100; ++i) {
    auto block = ring.next(1000);
    REQUIRE(block);
    REQUIRE(ring.refresh_interfaces());
    if (*block) return std::move(*block);
  }
  FAIL("no block came");
  return {};
}

using Counts = std::map<std::string, int>;

}  // namespace

TEST_CASE("a frame over a veth pair is seen at both ends, whole and stamped", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ring = open_ring({});
  const int64_t before = Clock::system().realtime_ns();
  send_frame("va", udp_frame(1000, 2000, "over the wire"));
  const auto seen = drain(*ring);
  const int64_t after = Clock::system().realtime_ns();
  REQUIRE(count(seen, "over the wire") == Counts{{"va", 1}, {"vb", 1}});
  for (const auto& packet : seen) {
    CHECK(packet.text == as_text(udp_frame(1000, 2000, "over the wire")));
    CHECK(packet.original_length == packet.text.size());
    CHECK(packet.time_ns >= before);
    CHECK(packet.time_ns <= after);
    CHECK(packet.direction == (packet.interface == "va" ? packet::Direction::outbound
                                                        : packet::Direction::inbound));
  }
}

TEST_CASE("a loopback packet is seen once", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  const auto ring = open_ring({});
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 10; ++i)
    REQUIRE(sendto(fd.get(), "ping pong", 9, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) == 9);
  // Each is answered by an ICMP error that quotes it: told apart by its length.
  int sent = 0;
  for (const auto& packet : drain(*ring)) sent += packet.text.size() == 14 + 20 + 8 + 9;
  CHECK(sent == 10);
}

TEST_CASE("interfaces are selected by name and glob, and picked up when they appear", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ring = open_ring({.interfaces = {"va", "late*"}});
  CHECK(ring->selects("va"));
  CHECK(ring->selects("late7"));
  CHECK_FALSE(ring->selects("vb"));
  send_frame("va", udp_frame(1, 2, "first"));
  CHECK(count(drain(*ring), "first") == Counts{{"va", 1}});

  net.ip("link add late1 type veth peer name other1");
  net.ip("link set late1 up");
  net.ip("link set other1 up");
  // The news of it end the wait.
  const int64_t asked = Clock::system().monotonic_ns();
  REQUIRE(ring->next(60'000));
  CHECK(Clock::system().monotonic_ns() - asked < 30 * kNsPerSecond);
  const auto changed = ring->refresh_interfaces();
  REQUIRE(changed);
  CHECK(*changed);
  send_frame("other1", udp_frame(1, 2, "second"));
  CHECK(count(drain(*ring), "second") == Counts{{"late1", 1}});
}

TEST_CASE("renamed and removed interfaces keep their entries for a while", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ring = open_ring({});
  const auto index = if_nametoindex("va");
  net.ip("link set va down");
  net.ip("link set va name renamed");
  net.ip("link set renamed up");
  REQUIRE(ring->refresh_interfaces());
  std::vector<std::string> names;
  for (const auto& interface : ring->interfaces())
    if (interface.index == index) names.push_back(interface.name);
  CHECK(names == std::vector<std::string>{"va", "renamed"});
  send_frame("renamed", udp_frame(1, 2, "new name"));
  CHECK(count(drain(*ring), "new name") == Counts{{"renamed", 1}, {"vb", 1}});

  net.ip("link del renamed");
  REQUIRE(ring->refresh_interfaces());
  names.clear();
  for (const auto& interface : ring->interfaces()) names.push_back(interface.name);
  CHECK(names == std::vector<std::string>{"lo", "vb", "va", "renamed"});
  CHECK(*ring->refresh_interfaces() == false);
}

TEST_CASE("leaving a bridge is not going away", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  net.ip("link add br0 type bridge");
  const auto ring = open_ring({.interfaces = {"va"}});
  net.ip("link set va master br0");
  net.ip("link set va nomaster");
  REQUIRE(ring->refresh_interfaces());
  send_frame("va", udp_frame(1, 2, "still here"));
  CHECK(count(drain(*ring), "still here") == Counts{{"va", 1}});
}

TEST_CASE("filters see VLAN tags that the kernel took off", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  constexpr uint32_t kTag10 = 0x8100000a, kTag20 = 0x81000014, kService = 0x88a80064;
  const auto send_all = [&] {
    send_frame("va", udp_frame(1, 2, "untagged"));
    send_frame("va", udp_frame(1, 2, "vlan ten", {kTag10}));
    send_frame("va", udp_frame(1, 2, "vlan twenty", {kTag20}));
    send_frame("va", udp_frame(1, 2, "stacked", {kService, kTag10}));
  };
  const auto texts = [&](const std::string& filter) {
    const auto ring = open_ring({.interfaces = {"vb"}, .filter = filter});
    send_all();
    std::set<std::string> found;
    for (const auto& packet : drain(*ring))
      for (const char* text : {"untagged", "vlan ten", "vlan twenty", "stacked"})
        if (packet.text.find(text) != std::string::npos) found.insert(text);
    return found;
  };
  using Texts = std::set<std::string>;
  CHECK(texts("") == Texts{"untagged", "vlan ten", "vlan twenty", "stacked"});
  CHECK(texts("vlan 10") == Texts{"vlan ten"});
  CHECK(texts("vlan 10 and udp port 2") == Texts{"vlan ten"});
  CHECK(texts("vlan 20 and host 10.9.0.2") == Texts{"vlan twenty"});
  CHECK(texts("vlan 100 and vlan 10 and udp") == Texts{"stacked"});
  CHECK(texts("not vlan") == Texts{"untagged"});

  const auto ring = open_ring({.interfaces = {"vb"}});
  send_all();
  for (const auto& packet : drain(*ring)) {
    if (packet.text.find("vlan ten") == std::string::npos) continue;
    CHECK(packet.has_vlan);
    CHECK(packet.vlan_tci == 10);
    CHECK(packet.vlan_tpid == 0x8100);
  }
}

TEST_CASE("a tun device is raw IP, with the filter compiled for that", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  const auto open_up = [&](const char* name) {
    Fd tun = test::open_tun(name);
    net.ip(std::string("link set ") + name + " addrgenmode none");
    net.ip(std::string("link set ") + name + " up");
    return tun;
  };
  const Fd early = open_up("tun0");
  const auto ring = open_ring({.filter = "udp port 2000"});
  const Fd late = open_up("tun1");  // its program is there before it is
  for (const Fd* tun : {&early, &late}) {
    for (const uint16_t port : {2000, 3000}) {
      const auto frame = udp_frame(1, port, port == 2000 ? "wanted" : "other");
      const auto packet = std::span(frame).subspan(14);
      REQUIRE(write(tun->get(), packet.data(), packet.size()) ==
              static_cast<ssize_t>(packet.size()));
    }
  }
  const auto seen = drain(*ring);
  CHECK(count(seen, "wanted") == Counts{{"tun0", 1}, {"tun1", 1}});
  CHECK(count(seen, "other").empty());
  for (const auto& packet : seen) CHECK(packet.text[0] == 0x45);
  for (const auto& interface : ring->interfaces())
    if (interface.name == "tun0") CHECK(interface.link_type == packet::link_type::kRaw);
}

TEST_CASE("an expression about Ethernet leaves other link types out", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const Fd tun = test::open_tun("tun0");
  net.ip("link set tun0 up");
  const auto ring = open_ring({.filter = "ether src 02:00:00:00:00:01"});
  send_frame("va", udp_frame(1, 2, "by address"));
  const auto frame = udp_frame(1, 2, "by address");
  REQUIRE(write(tun.get(), frame.data() + 14, frame.size() - 14) > 0);
  CHECK(count(drain(*ring), "by address") == Counts{{"va", 1}, {"vb", 1}});
}

TEST_CASE("excluded connections are left out, whatever the filter says", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ports = [&](Ring& ring) {
    send_frame("va", tcp_frame(1, 40000, 2, 7400));
    send_frame("va", tcp_frame(2, 7401, 1, 40000));
    send_frame("va", tcp_frame(3, 40000, 4, 7400));
    send_frame("va", tcp_frame(1, 40000, 3, 7400));
    send_frame("va", tcp_frame(1, 40000, 2, 80));
    std::vector<int> found;
    for (const auto& packet : drain(ring))
      if (packet.interface == "vb")
        found.push_back((static_cast<uint8_t>(packet.text[36]) << 8 |
                         static_cast<uint8_t>(packet.text[37])));
    return found;
  };
  for (const char* filter : {"", "tcp", "tcp or (vlan and tcp)"}) {
    INFO("filter: " << filter);
    // Each connection in both directions; the same port at another machine stays.
    const auto ring = open_ring({.filter = filter,
                                 .exclude = {{"10.9.0.1", 0, "10.9.0.2", 7400}, {"10.9.0.2", 7401, "10.9.0.1", 0}}});
    CHECK(ports(*ring) == std::vector<int>{7400, 7400, 80});
    // Both ports, the wrong way round, and only one that fits.
    REQUIRE(ring->set_excluded({{"10.9.0.4", 7400, "10.9.0.3", 40000},
                                {"10.9.0.2", 40000, "10.9.0.1", 7400},
                                {"10.9.0.1", 40001, "10.9.0.2", 7400},
                                {"fe80::1%va", 7401, "fe80::2%va", 0}}));
    CHECK(ports(*ring) == std::vector<int>{7400, 40000, 7400, 80});
    REQUIRE(ring->set_excluded({}));
    CHECK(ports(*ring) == std::vector<int>{7400, 40000, 7400, 7400, 80});
  }
}

TEST_CASE("snaplen cuts and keeps the length on the wire", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  for (const char* filter : {"", "udp"}) {
    const auto ring = open_ring({.filter = filter, .snaplen = 60});
    const auto frame = udp_frame(1, 2, std::string(500, 'x'));
    send_frame("va", frame);
    for (const auto& packet : drain(*ring)) {
      CHECK(packet.text == as_text(frame).substr(0, 60));
      CHECK(packet.original_length == frame.size());
    }
  }
}

TEST_CASE("large packets come whole", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  const auto ring = open_ring({});
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string payload(65'000, 'L');
  REQUIRE(sendto(fd.get(), payload.data(), payload.size(), 0, reinterpret_cast<sockaddr*>(&to),
                 sizeof to) == static_cast<ssize_t>(payload.size()));
  CHECK(count(drain(*ring), payload) == Counts{{"lo", 1}});
}

TEST_CASE("blocks are handed out in order, several at a time, and taken back in any order", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ring = open_ring({.interfaces = {"vb"}});
  REQUIRE(ring->block_bytes() == 256 << 10);
  const auto blocks = ring->memory().size() / ring->block_bytes();
  const std::string filler(1400, 'f');
  std::vector<Block> held;
  uint32_t packets = 0;
  const test::FrameSender sender("va");
  // Two rounds over the ring, with up to three blocks held back at a time.
  for (int burst = 0; burst < static_cast<int>(2 * blocks); ++burst) {
    for (int i = 0; i < 20; ++i) {
      sender.send(udp_frame(1, 2, filler));
      ++packets;
    }
    auto block = wait_for_block(*ring);
    for (uint32_t got = block.packets; got < 20;) {  // a burst that fell across a retire timeout
      const auto more = wait_for_block(*ring);
      got += more.packets;
      packets -= more.packets;
    }
    packets -= block.packets;
    for (const auto& other : held) CHECK(other.memory().data() != block.memory().data());
    held.push_back(std::move(block));
    if (held.size() == 3) held.erase(held.begin() + burst % 3);
  }
  CHECK(packets == 0);
  held.clear();
  const auto drops = ring->take_drops();
  CHECK(drops.dropped == 0);
  CHECK(drops.received == 2 * blocks * 20);
}

TEST_CASE("a full ring counts what it drops and hands out no block twice", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  veth_pair(net);
  const auto ring = open_ring({.interfaces = {"vb"}});
  const std::string filler(1400, 'f');
  constexpr uint32_t kSent = 4000;  // 5.6 MB into 4 MiB
  const test::FrameSender sender("va");
  for (uint32_t i = 0; i < kSent; ++i) sender.send(udp_frame(1, 2, filler));
  std::vector<Block> held;
  uint64_t packets = 0;
  for (;;) {
    auto block = ring->next(50);
    REQUIRE(block);
    if (!*block) break;
    packets += block->packets;
    held.push_back(std::move(*block));
  }
  CHECK(held.size() == ring->memory().size() / ring->block_bytes());
  const auto drops = ring->take_drops();
  CHECK(drops.received == kSent);
  CHECK(drops.dropped > 0);
  CHECK(drops.stalls > 0);
  CHECK(packets + drops.dropped == kSent);
  held.clear();
  send_frame("va", udp_frame(1, 2, "after"));
  CHECK(count(drain(*ring), "after") == Counts{{"vb", 1}});
}

TEST_CASE("wake ends the wait", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  const auto ring = open_ring({});
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ring->wake();
  });
  const auto block = ring->next(600'000);
  waker.join();
  REQUIRE(block);
  CHECK_FALSE(*block);
}

TEST_CASE("wrong options are named", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const NetworkNamespace net;
  const auto message = [](const RingOptions& options) {
    const auto ring = Ring::open(options);
    REQUIRE_FALSE(ring);
    CHECK(ring.error().kind == ErrorKind::invalid);
    return ring.error().message;
  };
  CHECK(message({.filter = "tcp prot 80"}).find("filter \"tcp prot 80\": ") == 0);
  CHECK(message({.filter = "udp) or (tcp"}).find("filter \"udp) or (tcp\": ") == 0);
  CHECK(message({.interfaces = {"a/b"}}).find("a/b") != std::string::npos);
  CHECK(message({.interfaces = {"a-name-that-is-too-long"}}).find("a-name") != std::string::npos);
  CHECK(message({.ring_bytes = 1000}).find("1000 B") != std::string::npos);
  CHECK(message({.exclude = {{"nowhere", 1, "10.0.0.1", 1}}}).find("nowhere") != std::string::npos);
}

TEST_CASE("exclusions name both of their ends") {
  CHECK(parse_exclusions({}).value().empty());
  const auto parsed = parse_exclusions({{"fe80::2%eth0", 7400, "fe80::1%eth0", 0}, {"10.0.0.3", 0, "10.0.0.4", 1}}).value();
  REQUIRE(parsed.size() == 2);
  CHECK(parsed[0].local.to_string() == "fe80::2");
  CHECK(parsed[1].remote_port == 1);
  CHECK_FALSE(parse_exclusions({{"10.0.0.1", 0, "10.0.0.2", 0}}));
  CHECK_FALSE(parse_exclusions({{"10.0.0.1", 1, "fd00::1", 1}}));
  CHECK_FALSE(parse_exclusions({{"10.0.0.1", 1, "", 1}}));
}

TEST_CASE("vlan is found as a word") {
  CHECK(mentions_vlan("vlan"));
  CHECK(mentions_vlan("not (vlan 10)"));
  CHECK(mentions_vlan("ip and(vlan)"));
  CHECK_FALSE(mentions_vlan("host vlan-gw.example"));
  CHECK_FALSE(mentions_vlan("host myvlan"));
  CHECK_FALSE(mentions_vlan("tcp"));
}

TEST_CASE("the ring's blocks are a sixteenth of it, within limits") {
  CHECK(ring_block_bytes(64 << 20) == 4 << 20);
  CHECK(ring_block_bytes(1ULL << 30) == 4 << 20);
  CHECK(ring_block_bytes(20 << 20) == 1 << 20);
  CHECK(ring_block_bytes(2 << 20) == 256 << 10);
}

}  // namespace lookback::capture
