#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>

#include "lookback/base/json.hpp"
#include "lookback/exporter/flows.hpp"
#include "lookback/packet/section_walker.hpp"
#include "unit/exporter/support/archives.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr uint8_t kSyn = 2, kAck = 16, kFin = 1;
constexpr uint32_t kClient = 0x0a000001, kServer = 0x0a000002;
const std::string kWebId = "1f2e3d4c5b6a" + std::string(52, '0');

std::string at(int64_t time_ns, const std::string& kind, const std::string& rest) {
  return "{\"kind\":\"" + kind + "\",\"time\":" + std::to_string(time_ns) + "," + rest + "}";
}
std::string pid(int number, const std::string& comm, int cgroup = 0) {
  return ",\"pid\":" + std::to_string(number) + ",\"tid\":" + std::to_string(number + 1000) +
         ",\"uid\":33,\"comm\":\"" + comm + "\",\"cgroup\":" + std::to_string(cgroup);
}
std::string client_ends(int socket, int port) {
  return "\"socket\":" + std::to_string(socket) +
         ",\"protocol\":\"tcp\",\"netns\":4,\"local\":\"10.0.0.1\",\"local_port\":" +
         std::to_string(port) + ",\"remote\":\"10.0.0.2\",\"remote_port\":80";
}
std::string server_ends(int socket, int port) {
  return "\"socket\":" + std::to_string(socket) +
         ",\"protocol\":\"tcp\",\"netns\":5,\"local\":\"10.0.0.2\",\"local_port\":80,\"remote\":"
         "\"10.0.0.1\",\"remote_port\":" +
         std::to_string(port);
}

/// A node on which 40 connections reuse one pair of ports, each of another process at both ends;
/// the server's ends are in a container.
NodeSpec busy_node() {
  NodeSpec node = node_spec("a", {"eth0"});
  std::vector<std::string> lines = {
      at(kNsPerSecond, "checkpoint", "\"version\":1,\"cgroups\":1,\"processes\":1,\"sockets\":1"),
      at(kNsPerSecond, "cgroup",
         "\"id\":7,\"path\":\"/docker/1\",\"container\":\"" + kWebId +
             "\",\"runtime\":\"docker\",\"name\":\"web\",\"image\":\"nginx:1\""),
      at(kNsPerSecond, "process",
         "\"pid\":5,\"ppid\":1,\"comm\":\"nginx\",\"exe\":\"/usr/sbin/nginx\",\"cgroup\":7"),
      at(kNsPerSecond, "socket",
         "\"state\":\"listen\",\"socket\":1,\"protocol\":\"tcp\",\"netns\":5,\"local\":\"0.0.0.0\","
         "\"local_port\":80" +
             pid(5, "nginx", 7))};
  for (int i = 0; i < 40; ++i) {
    const int64_t t = 2 * kNsPerSecond + i * 10 * kMs;
    const auto isn = static_cast<uint32_t>(1000 + i * 1000);
    const auto client = [&](int64_t time, uint32_t sequence, uint8_t flags,
                            const Bytes& payload = {}) {
      node.packets.push_back(
          {0, time,
           ethernet_ip({}, tcp_packet({false, kClient, kServer}, {40000, 80, sequence, 1, flags},
                                      payload))});
    };
    const auto server = [&](int64_t time, uint32_t sequence, uint8_t flags,
                            const Bytes& payload = {}) {
      node.packets.push_back(
          {0, time,
           ethernet_ip({}, tcp_packet({false, kServer, kClient},
                                      {80, 40000, sequence, isn + 1, flags}, payload))});
    };
    lines.push_back(at(t, "connect", client_ends(100 + i, 40000) + pid(200 + i, "curl")));
    client(t + 20'000, isn, kSyn);
    server(t + 50'000, 500, kSyn | kAck);
    client(t + 80'000, isn + 1, kAck);
    lines.push_back(at(t + 90'000, "accept", server_ends(300 + i, 40000) + ",\"listener_pid\":5"));
    client(t + kMs, isn + 1, kAck, "request");
    lines.push_back(
        at(t + 2 * kMs, "owner",
           server_ends(300 + i, 40000) + ",\"first\":true" + pid(400 + i, "worker", 7)));
    server(t + 3 * kMs, 501, kAck, "answer");
    lines.push_back(at(t + 4 * kMs, "close", client_ends(100 + i, 40000)));
    lines.push_back(at(t + 5 * kMs, "close", server_ends(300 + i, 40000)));
    client(t + 6 * kMs, isn + 8, kFin | kAck);
  }
  // A connection that nobody is known to have.
  node.packets.push_back(
      {0, 4 * kNsPerSecond,
       ethernet_ip({}, tcp_packet({false, kClient, 0x0a000003}, {1, 2, 1, 1, kAck}, "x"))});
  // Between two connections; the second member can be read by itself, like the first.
  const auto half = lines.begin() + 4 + 5 * 20;
  node.events = {{lines.begin(), half}, {half, lines.end()}};
  for (size_t i = 4; i-- > 0;) {
    std::string state = lines[i];
    const std::string old = std::to_string(kNsPerSecond);
    state.replace(state.find(old), old.size(), std::to_string(2 * kNsPerSecond + 199 * kMs));
    node.events[1].insert(node.events[1].begin(), state);
  }
  return node;
}

/// Options of a packet's block by their codes.
std::map<uint16_t, std::string> options_of(std::span<const std::byte> block) {
  uint32_t captured = 0;
  std::memcpy(&captured, block.data() + 20, 4);
  size_t place = 28 + ((captured + 3) & ~3u);
  std::map<uint16_t, std::string> options;
  while (place + 8 <= block.size()) {
    uint16_t code = 0, length = 0;
    std::memcpy(&code, block.data() + place, 2);
    std::memcpy(&length, block.data() + place + 2, 2);
    if (code == 0) break;
    options[code].assign(reinterpret_cast<const char*>(block.data() + place + 4), length);
    place += 4 + ((length + 3u) & ~3u);
  }
  return options;
}

struct Seen {
  uint32_t pid = 0, tid = 0;
  std::string comment;
  std::string process;  ///< "pid name" of the process block
};
/// "pid name" of the section's process blocks, in order.
std::vector<std::string> process_blocks(const std::string& file) {
  std::vector<std::string> all;
  for (size_t place = 0; place + 12 <= file.size();) {
    uint32_t type = 0, length = 0, pid = 0;
    std::memcpy(&type, file.data() + place, 4);
    std::memcpy(&length, file.data() + place + 4, 4);
    REQUIRE(length >= 12);
    REQUIRE(length % 4 == 0);
    if (type == packet::kPcapngProcess) {
      std::memcpy(&pid, file.data() + place + 8, 4);
      uint16_t code = 0, size = 0;
      std::memcpy(&code, file.data() + place + 12, 2);
      std::memcpy(&size, file.data() + place + 14, 2);
      CHECK(code == packet::kProcessName);
      all.push_back(std::to_string(pid) + " " + file.substr(place + 16, size));
    }
    place += length;
  }
  return all;
}
std::vector<Seen> seen_in(const std::string& file) {
  const auto processes = process_blocks(file);
  packet::SectionWalker walker(std::as_bytes(std::span(file)));
  std::vector<Seen> all;
  for (packet::RawPacket packet; walker.next(packet);) {
    auto options = options_of(packet.block);
    Seen& seen = all.emplace_back();
    if (options.contains(packet::kEpbProcess)) {
      REQUIRE(options[packet::kEpbProcess].size() == 8);
      std::memcpy(&seen.pid, options[packet::kEpbProcess].data(), 4);
      std::memcpy(&seen.tid, options[packet::kEpbProcess].data() + 4, 4);
    }
    REQUIRE(options.contains(packet::kEpbProcessBlock) == (seen.pid != 0));
    if (seen.pid != 0) {
      uint32_t number = 0;
      std::memcpy(&number, options[packet::kEpbProcessBlock].data(), 4);
      seen.process = processes.at(number);
    }
    seen.comment = options[packet::kOptComment];
  }
  REQUIRE_FALSE(walker.error());
  return all;
}

}  // namespace

TEST_CASE("each packet bears its sender's process, and each flow's first one tells both ends",
          "[attribution]") {
  const TemporaryDirectory folder;
  const NodeSpec node = busy_node();
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  const Export done = run_export(archive, {});
  const auto seen = seen_in(done.file);
  REQUIRE(seen.size() == node.packets.size());
  for (size_t i = 0; i < 40; ++i) {
    INFO(i);
    for (size_t n = 0; n < 6; ++n) {
      INFO(n);
      const Seen& packet = seen[i * 6 + n];
      const bool from_server = n == 1 || n == 4;
      CHECK(packet.pid == (from_server ? 400 : 200) + i);
      CHECK(packet.tid == packet.pid + 1000);
      CHECK(packet.process == fmt::format("{} {}", packet.pid, from_server ? "worker" : "curl"));
      CHECK(packet.comment == (n == 0 ? fmt::format("lookback: from curl (pid {}, uid 33), to "
                                                    "worker (pid {}, uid 33) in container "
                                                    "web (docker 1f2e3d4c5b6a, image nginx:1)",
                                                    200 + i, 400 + i)
                                      : ""));
    }
  }
  CHECK(process_blocks(done.file).size() == 80);  // each once
  CHECK(seen.back().pid == 0);
  CHECK(seen.back().comment.empty());
  // Nothing else about the packets has changed.
  CHECK(read_export(done.file) == expected_export({node}, {0, 100 * kNsPerSecond}, {}));
  ExportOptions classic;
  classic.format = Format::pcap;
  CHECK(read_export(run_export(archive, classic).file).size() == node.packets.size());
}

TEST_CASE("an export from the middle reads the checkpoint before it", "[attribution]") {
  const TemporaryDirectory folder;
  const auto archive = make_archive(folder, {busy_node()}, {0, 100 * kNsPerSecond});
  ExportOptions options;
  options.from_ns = 2 * kNsPerSecond + 300 * kMs;
  options.to_ns = *options.from_ns + 10 * kMs;
  const auto seen = seen_in(run_export(archive, options).file);
  REQUIRE(seen.size() == 6);
  CHECK(seen[0].pid == 230);
  CHECK(seen[1].pid == 430);
}

TEST_CASE("packets are chosen by process, pid and container", "[attribution]") {
  const TemporaryDirectory folder;
  NodeSpec other = node_spec("b", {"eth0"});
  other.packets.push_back({0, 3 * kNsPerSecond, ethernet_ip({}, udp_packet({}, {}, "x"))});
  const auto archive = make_archive(folder, {busy_node(), other}, {0, 100 * kNsPerSecond});
  const auto count = [&](const auto& set) {
    ExportOptions options;
    set(options);
    const Export done = run_export(archive, options);
    CHECK(done.stats.warnings.size() == 1);  // b has no OS events
    CHECK(done.stats.packets_written == seen_in(done.file).size());
    return done.stats.packets_written;
  };
  CHECK(count([](ExportOptions& o) { o.processes = {"curl"}; }) == 240);
  CHECK(count([](ExportOptions& o) { o.processes = {"work*"}; }) == 240);
  CHECK(count([](ExportOptions& o) { o.processes = {"nginx"}; }) == 0);
  CHECK(count([](ExportOptions& o) { o.pids = {205}; }) == 6);
  CHECK(count([](ExportOptions& o) { o.pids = {205, 406}; }) == 12);
  CHECK(count([](ExportOptions& o) { o.containers = {"web"}; }) == 240);
  CHECK(count([](ExportOptions& o) { o.containers = {"1f2e3d4c"}; }) == 240);
  CHECK(count([](ExportOptions& o) { o.containers = {"1f2e4"}; }) == 0);
  CHECK(count([](ExportOptions& o) {
          o.processes = {"curl"};
          o.containers = {"web"};
        }) == 0);
  CHECK(count([](ExportOptions& o) {
          o.processes = {"worker"};
          o.pids = {410};
          o.containers = {"w?b"};
        }) == 6);

  ExportOptions none;
  none.nodes = {"b"};
  none.processes = {"curl"};
  const auto refused =
      export_capture(archive, none, [](std::span<const std::byte>) -> Result<> { return {}; });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().kind == ErrorKind::not_found);
}

TEST_CASE("fragments are chosen with their datagram, other protocols are told of", "[attribution]") {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  const std::string ends = "\"socket\":1,\"protocol\":\"udp\",\"netns\":1,\"local\":\"10.0.0.1\","
                           "\"local_port\":4000,\"remote\":\"10.0.0.2\",\"remote_port\":53";
  node.events = {{at(kNsPerSecond, "udp", ends + pid(9, "dig"))}};
  const int first_at = GENERATE(0, 1, 2);
  for (int i = 0; i < 3; ++i) {
    Ip ip{false, 0x0a000001, 0x0a000002};
    ip.id = 77;
    ip.more_fragments = i != (first_at == 2 ? 1 : 2);  // all but the datagram's last
    ip.fragment_offset = static_cast<uint16_t>(i == first_at ? 0 : 10 + i);
    node.packets.push_back(
        {0, kNsPerSecond + kMs + i,
         ethernet_ip({}, i == first_at ? udp_packet(ip, {4000, 53}, Bytes(80, 'x'))
                                       : ip_packet(ip, 17, Bytes(80, 'y')))});
  }
  node.packets.push_back(
      {0, kNsPerSecond + 2 * kMs, ethernet_ip({}, ip_packet({}, 1, Bytes(8, '\0')))});
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  ExportOptions options;
  options.processes = {"dig"};
  const Export done = run_export(archive, options);
  CHECK(done.stats.packets_written == 3);
  REQUIRE(done.stats.warnings.size() == 1);
  CHECK_THAT(done.stats.warnings[0], Catch::Contains("1 packets of ICMP are left out"));
  const auto flows = report_flows(archive, options);
  REQUIRE(flows->flows.size() == 1);
  CHECK(flows->flows[0].client.pid == 9);
  CHECK(flows->flows[0].packets() == 3);
}

TEST_CASE("an echo belongs to who asks for it", "[attribution]") {
  const TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  const bool by_identifier = GENERATE(true, false);
  const std::string ends = "\"socket\":1,\"protocol\":1,\"netns\":1,\"local\":\"10.0.0.1\",\"local_port\":" +
                           std::to_string(by_identifier ? 0x1234 : 0);
  node.events = {{at(kNsPerSecond, "raw", ends + pid(9, "ping"))}};
  constexpr uint32_t kOwn = 0x0a000001, kOther = 0x0a000002;
  const auto message = [&](uint32_t from, uint32_t to, char type, uint16_t identifier) {
    const Bytes bytes{type, 0, 0, 0, static_cast<char>(identifier >> 8), static_cast<char>(identifier & 0xff), 0, 1};
    const auto time = static_cast<int64_t>(kNsPerSecond + (node.packets.size() + 1) * kMs);
    node.packets.push_back({0, time, ethernet_ip({}, ip_packet({false, from, to}, 1, bytes))});
  };
  constexpr char kRequest = 8, kReply = 0, kUnreachable = 3;
  message(kOwn, kOther, kRequest, 0x1234);
  message(kOther, kOwn, kReply, 0x1234);
  // What the kernel answers, and what it says by itself.
  message(kOther, kOwn, kRequest, 0x4321);
  message(kOwn, kOther, kReply, 0x4321);
  message(kOther, kOwn, kUnreachable, 0x1234);
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  ExportOptions options;
  options.processes = {"ping"};
  const Export done = run_export(archive, options);
  CHECK(done.stats.packets_written == 2);
  REQUIRE(done.stats.warnings.size() == 1);
  CHECK_THAT(done.stats.warnings[0], Catch::Contains("3 packets of ICMP are left out"));
}

TEST_CASE("flows know their processes and containers", "[attribution]") {
  const TemporaryDirectory folder;
  const auto archive = make_archive(folder, {busy_node()}, {0, 100 * kNsPerSecond});
  const auto report = report_flows(archive, {});
  REQUIRE(report.has_value());
  REQUIRE(report->flows.size() == 41);
  for (uint32_t i = 0; i < 40; ++i) {
    const Flow& flow = report->flows[i];
    CHECK(flow.client.pid == 200 + i);
    CHECK(flow.client.process == "curl");
    CHECK(flow.client.container.empty());
    CHECK(flow.server.pid == 400 + i);
    CHECK(flow.server.process == "worker");
    CHECK(flow.server.container == "web");
    CHECK(flow.server.container_id == kWebId);
  }
  CHECK(report->flows[40].client.pid == 0);
  const Json json = Json::parse(to_json(report->flows[0]));
  CHECK(json["server"]["container"] == "web");
  CHECK_FALSE(json["client"].contains("container"));
  ExportOptions options;
  options.pids = {417};
  CHECK(report_flows(archive, options)->flows.size() == 1);
}

TEST_CASE("corrected clocks move events as they move packets", "[attribution]") {
  const TemporaryDirectory folder;
  NodeSpec node = busy_node();
  node.entry.clock = {{0, -40 * kNsPerSecond, 1000, 0}};  // the hub is 40 s ahead
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  ExportOptions options;
  options.align_clocks = true;
  const Export done = run_export(archive, options);
  CHECK(read_export(done.file).front().time_ns > 42 * kNsPerSecond);
  const auto seen = seen_in(done.file);
  REQUIRE(seen.size() == node.packets.size());
  for (size_t i = 0; i < 40; ++i) CHECK(seen[i * 6].pid == 200 + i);
}

TEST_CASE("damaged events are counted and change nothing else", "[attribution]") {
  const TemporaryDirectory folder;
  NodeSpec node = busy_node();
  node.events[0].insert(node.events[0].begin() + 6,
                        "{\"kind\":\"owner\",\"time\":2000000001,\"pid\":-5}");
  const auto archive = make_archive(folder, {node}, {0, 100 * kNsPerSecond});
  const Export done = run_export(archive, {});
  REQUIRE(done.stats.warnings.size() == 1);
  CHECK(done.stats.warnings[0] == "node a: 1 OS events could not be read");
  CHECK(seen_in(done.file)[6].pid == 201);
}
