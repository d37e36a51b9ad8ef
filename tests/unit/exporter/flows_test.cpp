#include "lookback/exporter/flows.hpp"

#include <catch2/catch.hpp>

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
  REQUIRE(report.flows.size() == 2);
  CHECK(report.packets_of_no_flow == 1);
  CHECK(report.flows[0].client.port == 40000);
  CHECK(report.flows[0].client.packets == 2);  // the one in the tunnel too
  CHECK(report.flows[0].server.port == 53);
  CHECK(report.flows[0].state == FlowState::none);
  CHECK(protocol_name(report.flows[1].protocol) == "icmp6");
  const Json json = Json::parse(to_json(report.flows[1]));
  CHECK(json["client"].contains("port") == false);
  CHECK(json["protocol"] == "icmp6");
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
    batch.digests.push_back(digest_of(1, view(packet.data), 60));
  }
  REQUIRE(table.admit(batch));
  REQUIRE(table.write(batch, 0, 0, batch.packets.size()));
  CHECK(table.packets_untold() == 4);
  const auto flows = table.take();
  REQUIRE(flows.size() == 3);
  CHECK(flows[0].packets() == 2);
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
