#include "lookback/exporter/flows.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <functional>

#include "exporter/flow_sightings.hpp"
#include "exporter/flow_table.hpp"
#include "exporter/tcp_tracker.hpp"
#include "lookback/base/json.hpp"
#include "unit/exporter/support/archives.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
constexpr uint32_t kClient = 0x0a000001, kServer = 0x0a000002;
constexpr int64_t kMs = 1'000'000;

/// A scripted connection, seen on one interface.
struct Script {
  std::vector<Recorded> packets;
  uint16_t port = 40000;
  uint32_t interface = 0;

  void client(int64_t time_ns, uint32_t sequence, uint32_t ack, uint8_t flags,
              uint32_t payload = 0) {
    add(time_ns, {false, kClient, kServer}, {port, 80, sequence, ack, flags}, payload);
  }
  void server(int64_t time_ns, uint32_t sequence, uint32_t ack, uint8_t flags,
              uint32_t payload = 0) {
    add(time_ns, {false, kServer, kClient}, {80, port, sequence, ack, flags}, payload);
  }
  void add(int64_t time_ns, const Ip& ip, const Tcp& tcp, uint32_t payload) {
    packets.push_back(
        {interface, time_ns, ethernet_ip({}, tcp_packet(ip, tcp, Bytes(payload, 'x')))});
  }
  /// Handshake with a round trip of 10 ms; sequence numbers go on at 101 and 501.
  void open(int64_t time_ns, uint32_t isn = 100) {
    client(time_ns, isn, 0, kSyn);
    server(time_ns + 10 * kMs, 500, isn + 1, kSyn | kAck);
    client(time_ns + 10 * kMs, isn + 1, 501, kAck);
  }
};

FlowReport report_of(std::vector<Recorded> packets, const ExportOptions& options = {},
                     std::vector<std::string> interfaces = {"eth0"}) {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", std::move(interfaces));
  node.packets = std::move(packets);
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  auto report = report_flows(archive, options);
  REQUIRE(report.has_value());
  return *report;
}

}  // namespace

TEST_CASE("a connection is one flow with client, server and handshake time", "[flows]") {
  Script script;
  script.open(kNsPerSecond);
  script.client(kNsPerSecond + 20 * kMs, 101, 501, kAck, 200);
  script.server(kNsPerSecond + 31 * kMs, 501, 301, kAck, 1000);
  script.client(kNsPerSecond + 40 * kMs, 301, 1501, kFin | kAck);
  script.server(kNsPerSecond + 50 * kMs, 1501, 302, kFin | kAck);
  const FlowReport report = report_of(script.packets);
  REQUIRE(report.flows.size() == 1);
  const Flow& flow = report.flows[0];
  CHECK(flow.node == "a");
  CHECK(flow.interface == "eth0");
  CHECK(flow.protocol == 6);
  CHECK(flow.client.address.to_string() == "10.0.0.1");
  CHECK(flow.client.port == 40000);
  CHECK(flow.server.port == 80);
  CHECK(flow.client.packets == 4);
  CHECK(flow.server.packets == 3);
  uint64_t bytes = 0;
  for (const Recorded& one : script.packets) bytes += one.data.size();
  CHECK(flow.bytes() == bytes);
  CHECK(flow.retransmits() == 0);
  CHECK(flow.rtt_ns == 10 * kMs);
  CHECK(flow.state == FlowState::closed);
  CHECK(flow.first_ns == kNsPerSecond);
  CHECK(flow.last_ns == kNsPerSecond + 50 * kMs);
  CHECK(report.packets_read == 7);
  CHECK(report.complete);
}

TEST_CASE("segments sent again are counted, late ones are not", "[flows]") {
  Script script;
  script.open(kNsPerSecond);
  const int64_t t = kNsPerSecond + 100 * kMs;
  script.client(t, 101, 501, kAck, 100);
  script.client(t + kMs, 301, 501, kAck, 100);  // 201 is missing
  SECTION("a hole that is filled at once") {
    script.client(t + 2 * kMs, 201, 501, kAck, 100);
    script.client(t + 3 * kMs, 401, 501, kAck, 100);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 0);
  }
  SECTION("a hole that is filled after a round trip") {
    script.client(t + 30 * kMs, 201, 501, kAck, 100);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 1);
  }
  SECTION("what was there before, however soon") {
    script.client(t + 2 * kMs, 101, 501, kAck, 100);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 1);
  }
  SECTION("a hole asked for by repeated acknowledgments") {
    for (int i = 0; i < 3; ++i) script.server(t + 2 * kMs, 501, 201, kAck);
    script.client(t + 3 * kMs, 201, 501, kAck, 100);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 1);
  }
  SECTION("keep-alives") {
    script.client(t + 30 * kMs, 400, 501, kAck, 1);
    script.client(t + 60 * kMs, 400, 501, kAck);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 0);
  }
  SECTION("probes of a closed window") {
    script.packets.push_back({0, t + 5 * kMs,
                              ethernet_ip({}, tcp_packet({false, kServer, kClient},
                                                         {80, 40000, 501, 401, kAck, 0}, {}))});
    script.client(t + 50 * kMs, 401, 501, kAck, 1);
    script.client(t + 90 * kMs, 401, 501, kAck, 1);
    CHECK(report_of(script.packets).flows[0].client.retransmits == 0);
  }
  SECTION("a SYN") {
    Script again;
    again.client(kNsPerSecond, 100, 0, kSyn);
    again.client(2 * kNsPerSecond, 100, 0, kSyn);
    const FlowReport report = report_of(again.packets);
    REQUIRE(report.flows.size() == 1);
    CHECK(report.flows[0].client.retransmits == 1);
    CHECK(report.flows[0].state == FlowState::connecting);
    CHECK_FALSE(report.flows[0].rtt_ns);
  }
}

TEST_CASE("sequence numbers wrap around", "[flows]") {
  Script script;
  script.open(kNsPerSecond, 0xffffff00);
  const int64_t t = kNsPerSecond + 100 * kMs;
  script.client(t, 0xffffff01, 501, kAck, 400);
  script.client(t + kMs, 0x91, 501, kAck, 100);
  script.client(t + 2 * kMs, 0xf5, 501, kAck, 100);
  CHECK(report_of(script.packets).flows[0].client.retransmits == 0);
  script.client(t + 50 * kMs, 0xffffff01, 501, kAck, 400);
  CHECK(report_of(script.packets).flows[0].client.retransmits == 1);
}

TEST_CASE("a new connection on the same ports is a flow of its own", "[flows]") {
  Script script;
  script.open(kNsPerSecond, 100);
  script.client(kNsPerSecond + 20 * kMs, 101, 501, kRst | kAck);
  script.open(kNsPerSecond + 30 * kMs, 7000);
  script.client(kNsPerSecond + 50 * kMs, 7001, 501, kAck, 10);
  const FlowReport report = report_of(script.packets);
  REQUIRE(report.flows.size() == 2);
  CHECK(report.flows[0].state == FlowState::reset);
  CHECK(report.flows[0].packets() == 4);
  CHECK(report.flows[1].state == FlowState::open);
  CHECK(report.flows[1].packets() == 4);
  CHECK(report.flows[1].retransmits() == 0);
}

TEST_CASE("a flow that several interfaces saw is told once", "[flows]") {
  Script outside, inside;
  inside.interface = 1;
  outside.open(kNsPerSecond);
  inside.open(kNsPerSecond + 1000);
  inside.client(kNsPerSecond + 20 * kMs, 101, 501, kAck, 10);
  outside.open(3 * kNsPerSecond, 9000);
  inside.open(3 * kNsPerSecond + 1000, 9000);
  outside.client(4 * kNsPerSecond, 9001, 501, kAck, 10);
  std::vector<Recorded> both = outside.packets;
  both.insert(both.end(), inside.packets.begin(), inside.packets.end());
  std::stable_sort(both.begin(), both.end(),
                   [](const Recorded& a, const Recorded& b) { return a.time_ns < b.time_ns; });
  const FlowReport report = report_of(both, {}, {"eth0", "veth1"});
  REQUIRE(report.flows.size() == 2);
  CHECK(report.flows[0].interface == "veth1");
  CHECK(report.flows[0].packets() == 4);
  CHECK(report.flows[1].interface == "eth0");
  CHECK(report.flows[1].packets() == 4);
  ExportOptions one;
  one.interfaces = {"eth0"};
  CHECK(report_of(both, one, {"eth0", "veth1"}).flows[0].packets() == 3);
}

TEST_CASE("flows of other protocols and packets of none", "[flows]") {
  std::vector<Recorded> packets;
  // The server's answer comes first: its port tells who is who.
  packets.push_back(
      {0, 1000, ethernet_ip({}, udp_packet({false, kServer, kClient}, {53, 40000}, "yes"))});
  packets.push_back(
      {0, 2000, ethernet_ip({}, udp_packet({false, kClient, kServer}, {40000, 53}, "who"))});
  packets.push_back({0, 3000, ethernet_ip({}, ip_packet({true, 1, 2}, 58, "echo"))});
  packets.push_back({0, 4000, ethernet_frame({}, 0x0806, arp_request(kClient, kServer))});
  packets.push_back(
      {0, 5000,
       ethernet_ip({}, vxlan_packet({false, 0x0b000001, 0x0b000002},
                                    ethernet_ip({}, udp_packet({false, kClient, kServer},
                                                               {40000, 53}, "in"))))});
  const FlowReport report = report_of(packets);
  REQUIRE(report.flows.size() == 3);
  CHECK(report.packets_of_no_flow == 1);
  CHECK(report.flows[0].client.port == 40000);
  CHECK(report.flows[0].client.packets == 1);
  CHECK(report.flows[0].server.port == 53);
  CHECK(report.flows[0].state == FlowState::none);
  CHECK(protocol_name(report.flows[1].protocol) == "icmp6");
  const Json json = Json::parse(to_json(report.flows[1]));
  CHECK(json["client"].contains("port") == false);
  CHECK(json["protocol"] == "icmp6");
}

namespace {

/// A whole connection of seven packets, each wrapped by `wrap`.
std::vector<Recorded> connection(int64_t start_ns, uint32_t interface,
                                 const std::function<Bytes(const Bytes& ip)>& wrap,
                                 packet::Direction of_client = packet::Direction::unknown) {
  Script script;
  script.open(start_ns);
  script.client(start_ns + 20 * kMs, 101, 501, kAck, 200);
  script.server(start_ns + 31 * kMs, 501, 301, kAck, 1000);
  script.client(start_ns + 40 * kMs, 301, 1501, kFin | kAck);
  script.server(start_ns + 50 * kMs, 1501, 302, kFin | kAck);
  constexpr size_t kEthernet = 14, kSourceAt = 12;
  for (Recorded& packet : script.packets) {
    const Bytes ip = packet.data.substr(kEthernet);
    const bool client = ip[kSourceAt + 3] == 1;
    packet.interface = interface;
    packet.data = wrap(ip);
    if (of_client == packet::Direction::unknown) continue;
    const auto other = of_client == packet::Direction::inbound ? packet::Direction::outbound
                                                               : packet::Direction::inbound;
    packet.direction = client ? of_client : other;
  }
  return script.packets;
}

std::vector<Recorded> together(std::vector<std::vector<Recorded>> parts) {
  std::vector<Recorded> all;
  for (auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const Recorded& a, const Recorded& b) { return a.time_ns < b.time_ns; });
  return all;
}

std::function<Bytes(const Bytes&)> in_vlans(std::vector<uint16_t> vlans) {
  return [vlans](const Bytes& ip) { return ethernet_ip({1, 2, vlans, false}, ip); };
}

/// In VXLAN, the frame inside with tags of its own.
std::function<Bytes(const Bytes&)> in_vxlan(uint32_t vni, std::vector<uint16_t> vlans = {}) {
  return [vni, vlans](const Bytes& ip) {
    Bytes packet = ethernet_ip(
        {}, vxlan_packet({false, 0x0b000001, 0x0b000002}, ethernet_ip({1, 2, vlans, false}, ip)));
    constexpr size_t kVni = 14 + 20 + 8 + 4;
    for (size_t i = 0; i < 3; ++i) packet[kVni + i] = static_cast<char>(vni >> (16 - 8 * i) & 0xff);
    return packet;
  };
}

/// Linux cooked v2, as a capture of all interfaces has it.
std::function<Bytes(const Bytes&)> in_cooked(uint32_t ifindex, uint8_t type = 0) {
  return [ifindex, type](const Bytes& ip) {
    Bytes header(20, '\0');
    header[0] = 0x08;
    for (size_t i = 0; i < 4; ++i) header[4 + i] = static_cast<char>(ifindex >> (24 - 8 * i) & 0xff);
    header[9] = 1;
    header[10] = static_cast<char>(type);
    header[11] = 6;
    return header + ip;
  };
}

void check_whole(const Flow& flow) {
  CHECK(flow.packets() == 7);
  CHECK(flow.retransmits() == 0);
  CHECK(flow.state == FlowState::closed);
}

}  // namespace

TEST_CASE("the same ends in two networks are two flows", "[flows]") {
  using Wrap = std::function<Bytes(const Bytes&)>;
  const auto [one, other] = GENERATE_COPY(
      std::pair<Wrap, Wrap>{in_vlans({10}), in_vlans({20})},
      std::pair<Wrap, Wrap>{in_vlans({100, 10}), in_vlans({100, 20})},
      std::pair<Wrap, Wrap>{in_vlans({100, 10}), in_vlans({200, 10})},
      std::pair<Wrap, Wrap>{in_vlans({}), in_vlans({20})},
      std::pair<Wrap, Wrap>{in_vxlan(7), in_vxlan(8)},
      std::pair<Wrap, Wrap>{in_vxlan(7, {10}), in_vxlan(7, {20})},
      std::pair<Wrap, Wrap>{in_vxlan(7), in_vlans({7})});
  const auto report = report_of(
      together({connection(kNsPerSecond, 0, one), connection(kNsPerSecond + kMs, 0, other)}));
  REQUIRE(report.flows.size() == 2);
  check_whole(report.flows[0]);
  check_whole(report.flows[1]);
}

TEST_CASE("a priority tag is not a network", "[flows]") {
  auto packets = connection(kNsPerSecond, 0, in_vlans({0}));
  const auto plain = connection(kNsPerSecond, 0, in_vlans({}));
  for (size_t i = 0; i < packets.size(); i += 2) packets[i] = plain[i];
  const auto report = report_of(packets);
  REQUIRE(report.flows.size() == 1);
  check_whole(report.flows[0]);
  CHECK(report.flows[0].vlans.empty());
}

TEST_CASE("a network is told in the report", "[flows]") {
  const auto vlan = report_of(connection(kNsPerSecond, 0, in_vlans({100, 10})));
  CHECK(vlan.flows.at(0).vlans == std::vector<uint16_t>{100, 10});
  CHECK(Json::parse(to_json(vlan.flows[0]))["vlans"] == Json({100, 10}));
  const auto tunnel = report_of(connection(kNsPerSecond, 0, in_vxlan(70000)));
  CHECK(tunnel.flows.at(0).tunnel_id == 70000);
  CHECK(Json::parse(to_json(tunnel.flows[0]))["tunnel_id"] == 70000);
}

TEST_CASE("a flow seen with tags on one interface and without on another is one", "[flows]") {
  const auto [outside, inside, flows] = GENERATE(table<std::vector<uint16_t>, std::vector<uint16_t>, size_t>(
      {{{10}, {}, 1}, {{100, 10}, {10}, 1}, {{100, 10}, {}, 1}, {{100, 10}, {100}, 2}, {{10}, {20}, 2}}));
  const auto report =
      report_of(together({connection(kNsPerSecond, 0, in_vlans(outside)),
                          connection(kNsPerSecond + 1000, 1, in_vlans(inside))}),
                {}, {"eth0", "eth0.10"});
  REQUIRE(report.flows.size() == flows);
  for (const Flow& flow : report.flows) check_whole(flow);
}

TEST_CASE("interfaces of a capture of all of them are told apart", "[flows]") {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"any"}, packet::link_type::kLinuxSll2);
  const bool twice_on_one = GENERATE(false, true);
  if (twice_on_one) {
    // A router that sends out where it received.
    node.packets = together({connection(kNsPerSecond, 0, in_cooked(3)),
                             connection(kNsPerSecond + 1000, 0, in_cooked(3, 4))});
  } else {
    node.packets = together({connection(kNsPerSecond, 0, in_cooked(3)),
                             connection(kNsPerSecond + 1000, 0, in_cooked(7))});
  }
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  const auto report = report_flows(archive, {});
  REQUIRE(report);
  REQUIRE(report->flows.size() == 1);
  check_whole(report->flows[0]);
  CHECK(report->flows[0].ifindex == 3);
  ExportOptions dedup;
  dedup.dedup = true;
  const Export done = run_export(archive, dedup);
  CHECK(done.stats.packets_written == (twice_on_one ? 14 : 7));
}

TEST_CASE("a packet that passes an interface twice is counted once", "[flows]") {
  const auto in = packet::Direction::inbound, out = packet::Direction::outbound;
  const auto hairpin =
      report_of(together({connection(kNsPerSecond, 0, in_vlans({}), in),
                          connection(kNsPerSecond + 1000, 0, in_vlans({}), out)}));
  REQUIRE(hairpin.flows.size() == 1);
  check_whole(hairpin.flows[0]);
  // On a mirror port both ends' packets come in.
  auto mirrored = connection(kNsPerSecond, 0, in_vlans({}));
  for (Recorded& packet : mirrored) packet.direction = in;
  const auto mirror = report_of(mirrored);
  REQUIRE(mirror.flows.size() == 1);
  check_whole(mirror.flows[0]);
}

TEST_CASE("without a handshake ports tell the server", "[flows]") {
  // {of the server, of the client}
  const auto [service, client] = GENERATE(table<uint16_t, uint16_t>({{80, 50000},
                                                                     {8080, 2000},
                                                                     {2049, 890},
                                                                     {5432, 3100},
                                                                     {27017, 1025},
                                                                     {7777, 45000},
                                                                     {30080, 31000},
                                                                     {40001, 40002}}));
  Script script;
  script.add(kNsPerSecond, {false, kServer, kClient}, {service, client, 100, 500, kAck}, 10);
  script.add(kNsPerSecond + kMs, {false, kClient, kServer}, {client, service, 500, 110, kAck}, 10);
  const auto report = report_of(script.packets);
  REQUIRE(report.flows.size() == 1);
  CHECK(report.flows[0].server.port == service);
  CHECK(report.flows[0].client.port == client);
}

TEST_CASE("a handshake tells the server, whatever the ports are", "[flows]") {
  Script script;
  script.add(kNsPerSecond, {false, kServer, kClient}, {80, 60000, 100, 0, kSyn}, 0);
  CHECK(report_of(script.packets).flows.at(0).server.port == 60000);
  script.packets.clear();
  script.add(kNsPerSecond, {false, kServer, kClient}, {60000, 80, 100, 5, kSyn | kAck}, 0);
  CHECK(report_of(script.packets).flows.at(0).server.port == 60000);
}

TEST_CASE("between two ports that hosts choose who sends first asks", "[flows]") {
  std::vector<Recorded> packets = {
      {0, 1000, ethernet_ip({}, udp_packet({false, kClient, kServer}, {40000, 50000}, "a"))},
      {0, 2000, ethernet_ip({}, udp_packet({false, kServer, kClient}, {50000, 40000}, "b"))}};
  CHECK(report_of(packets).flows.at(0).server.port == 50000);
}

TEST_CASE("many connections between the same ends cost no more than others", "[flows]") {
  constexpr uint32_t kMany = 300'000;
  FlowSightings sightings;
  size_t flows = 0;
  const bool same_numbers = GENERATE(false, true);
  for (uint32_t i = 0; i < kMany; ++i) {
    Sighting sighting;
    sighting.interface = i % 2;
    sighting.first_ns = sighting.last_ns = 1000 + i / 2;
    sighting.initial[0] = same_numbers ? i / 2 % 3 : i / 2;
    if (sightings.find(sighting)) continue;
    (void)sightings.add(sighting);
    ++flows;
  }
  CHECK(flows >= (same_numbers ? 3 : kMany / 2));
}

TEST_CASE("fragments share the flow of their datagram", "[flows]") {
  const size_t first_at = GENERATE(0U, 1U, 2U);  // the place of the first fragment
  std::vector<Recorded> packets;
  for (uint16_t datagram = 0; datagram < 40; ++datagram) {
    Ip ip{false, kClient, kServer};
    ip.id = static_cast<uint16_t>(datagram + 1);
    std::vector<Bytes> fragments;
    ip.more_fragments = true;
    fragments.push_back(udp_packet(ip, {40000, 2000}, Bytes(1472, 'a')));
    ip.fragment_offset = 185;
    fragments.push_back(ip_packet(ip, 17, Bytes(1480, 'b')));
    ip.fragment_offset = 370;
    ip.more_fragments = false;
    fragments.push_back(ip_packet(ip, 17, Bytes(100, 'c')));
    std::rotate(fragments.begin(), fragments.begin() + 1,
                fragments.begin() + 1 + static_cast<ptrdiff_t>(first_at));
    for (const Bytes& fragment : fragments)
      packets.push_back({0, kNsPerSecond + static_cast<int64_t>(packets.size()) * 1000,
                         ethernet_ip({}, fragment)});
  }
  // A frame has 20 packets: some datagrams stand in two.
  const auto report = report_of(packets);
  REQUIRE(report.flows.size() == 1);
  CHECK(report.flows[0].packets() == packets.size());
  CHECK(report.flows[0].client.port == 40000);
  CHECK(report.flows[0].server.port == 2000);
}

TEST_CASE("round trips without a handshake come from data and acknowledgments", "[flows]") {
  Script script;
  script.client(kNsPerSecond, 101, 501, kAck, 100);
  script.server(kNsPerSecond + 7 * kMs, 501, 201, kAck, 50);
  script.client(kNsPerSecond + 9 * kMs, 201, 551, kAck);
  script.client(kNsPerSecond + 20 * kMs, 201, 551, kAck, 100);
  script.server(kNsPerSecond + 25 * kMs, 551, 301, kAck);
  const FlowReport report = report_of(script.packets);
  CHECK(report.flows[0].rtt_ns == (5 + 2) * kMs);
  CHECK(report.flows[0].state == FlowState::open);
}

TEST_CASE("flows beyond the limit are counted", "[flows]") {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  for (uint16_t i = 0; i < 10; ++i) {
    node.packets.push_back(
        {0, i, ethernet_ip({}, udp_packet({}, {static_cast<uint16_t>(2000 + i % 5), 53}, "x"))});
  }
  const auto archive = make_archive(folder, {node}, {0, 100});
  Plan plan = *make_plan(archive->manifest(), {});
  FlowTable table(plan, 3);
  FrameBatch batch;
  for (const Recorded& packet : node.packets) {
    batch.packets.push_back({packet.time_ns, 0, 0});
    packet::PacketView seen;
    seen.data = view(packet.data);
    seen.original_length = 60;
    batch.digests.push_back(digest_of(1, seen, batch.fragments));
  }
  REQUIRE(table.admit(batch));
  REQUIRE(table.write(batch, 0, 0, batch.packets.size()));
  CHECK(table.packets_untold() == 4);
  std::atomic<bool> cancelled = true;
  CHECK(table.take(&cancelled).error().kind == ErrorKind::cancelled);
  const auto flows = table.take();
  REQUIRE(flows->size() == 3);
  CHECK(flows->at(0).packets() == 2);
}

TEST_CASE("flows are sorted, cut and written as JSON", "[flows]") {
  FlowReport report;
  for (const uint64_t bytes : {10, 30, 20}) {
    Flow flow;
    flow.node = "n\"1";
    flow.protocol = 17;
    flow.client.bytes = bytes;
    flow.client.packets = 100 - bytes;
    flow.first_ns = static_cast<int64_t>(bytes);
    report.flows.push_back(flow);
  }
  arrange_flows(report, *parse_flow_order("packets"), 0);
  CHECK(report.flows[0].bytes() == 10);
  arrange_flows(report, *parse_flow_order("bytes"), 2);
  REQUIRE(report.flows.size() == 2);
  CHECK(report.flows[0].bytes() == 30);
  CHECK(report.flows[1].bytes() == 20);
  CHECK(parse_flow_order("size").error().kind == ErrorKind::invalid);
  report.warnings = {"careful"};
  std::string text;
  REQUIRE(write_json(report, [&](std::span<const std::byte> part) -> Result<> {
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
    return {};
  }));
  const Json json = Json::parse(text);
  CHECK(json["flows"].size() == 2);
  CHECK(json["flows"][0]["node"] == "n\"1");
  CHECK(json["flows"][0]["bytes"] == 30);
  CHECK(json["warnings"][0] == "careful");
  CHECK(json["complete"] == true);
  report.flows.clear();
  text.clear();
  REQUIRE(write_json(report, [&](std::span<const std::byte> part) -> Result<> {
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
    return {};
  }));
  CHECK(Json::parse(text)["flows"].empty());
}
