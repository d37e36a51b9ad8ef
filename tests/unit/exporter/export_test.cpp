#include <catch2/catch.hpp>
#include <random>

#include "lookback/packet/filter.hpp"
#include "unit/exporter/support/archives.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr int64_t kStart = 1'700'000'000 * kNsPerSecond;
constexpr TimeWindow kWindow{kStart, kStart + 10 * kNsPerSecond};

std::vector<packet::Cidr> networks(std::initializer_list<const char*> texts) {
  std::vector<packet::Cidr> parsed;
  for (const char* text : texts) parsed.push_back(packet::Cidr::parse(text).value());
  return parsed;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int64_t operator()(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  bool one_in(int64_t n) { return (*this)(1, n) == 1; }

 private:
  std::mt19937_64 engine_;
};

Bytes random_ip(Random& random) {
  Ip ip;
  ip.v6 = random.one_in(4);
  ip.source = static_cast<uint32_t>(0x0a000000 + random(0, 3) * 256 + random(1, 6));
  ip.destination = static_cast<uint32_t>(0x0a000000 + random(0, 3) * 256 + random(1, 6));
  ip.id = static_cast<uint16_t>(random(0, 60000));
  const Bytes payload(static_cast<size_t>(random(0, 300)), 'p');
  static constexpr uint16_t kPorts[] = {53, 80, 443, 8080, 40000};
  const uint16_t source = kPorts[random(0, 4)], destination = kPorts[random(0, 4)];
  switch (random(0, 5)) {
    case 0:
    case 1:
      return udp_packet(ip, {source, destination}, payload);
    case 2:
      return ip_packet(ip, 1, payload);
    case 3: {
      const Bytes inner =
          ethernet_ip({}, udp_packet({.source = 0x0a000901}, {source, destination}, payload));
      ip.v6 = false;
      return vxlan_packet(ip, inner);
    }
    default: {
      Tcp tcp;
      tcp.source = source;
      tcp.destination = destination;
      tcp.sequence = static_cast<uint32_t>(random(0, UINT32_MAX));
      return tcp_packet(ip, tcp, payload);
    }
  }
}

Bytes random_frame(Random& random, uint16_t link_type) {
  if (link_type == packet::link_type::kRaw) return random_ip(random);
  if (random.one_in(10))
    return ethernet_frame(
        {}, 0x0806, arp_request(0x0a000001, static_cast<uint32_t>(0x0a000000 + random(1, 6))));
  Ethernet link;
  if (random.one_in(6)) link.vlans = {static_cast<uint16_t>(random(1, 4))};
  if (random.one_in(20)) link.vlans.push_back(9);
  return ethernet_ip(link, random_ip(random));
}

/// Packets nearly in order, as rings hand them over: some are late, many share a stamp.
void fill(NodeSpec& node, Random& random, size_t packets) {
  int64_t time = kWindow.from_ns - kNsPerSecond;
  const int64_t step = 12 * kNsPerSecond / static_cast<int64_t>(packets);
  for (size_t i = 0; i < packets; ++i) {
    if (!random.one_in(4)) time += random(0, 2 * step) / 1000 * 1000;
    Recorded recorded;
    recorded.interface =
        static_cast<uint32_t>(random(0, static_cast<int64_t>(node.entry.interfaces.size()) - 1));
    recorded.time_ns = random.one_in(8) ? time - random(0, 50) * step : time;
    recorded.data = random_frame(random, node.entry.interfaces[recorded.interface].link_type);
    if (random.one_in(10))
      recorded.original_length = static_cast<uint32_t>(recorded.data.size() + 700);
    recorded.direction = static_cast<packet::Direction>(random(0, 2));
    node.packets.push_back(std::move(recorded));
  }
}

void require_equal(const std::vector<Exported>& exported, const std::vector<Exported>& expected) {
  REQUIRE(exported.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    if (!(exported[i] == expected[i])) REQUIRE(exported[i] == expected[i]);
  }
}

}  // namespace

TEST_CASE("an export is what sorting, cutting and filtering packet by packet gives") {
  const unsigned seed = GENERATE(range(1U, 41U));
  CAPTURE(seed);
  Random random(seed);
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes;
  for (int64_t i = random(1, 4); i > 0; --i) {
    NodeSpec node = node_spec(fmt::format("node-{}", i), {"eth0", "eth1", "lo"});
    if (random.one_in(2)) node.entry.interfaces.push_back({"tun0", packet::link_type::kRaw, ""});
    node.packets_per_frame = static_cast<size_t>(random(1, 60));
    node.frames_per_member = static_cast<size_t>(random(1, 9));
    node.with_summaries = !random.one_in(5);
    for (int64_t sample = random(0, 3); sample > 0; --sample) {
      node.entry.clock.push_back({kStart + random(-1, 9) * kNsPerSecond,
                                  random(-3000, 3000) * 1'000'000, random(0, 800) * 1'000'000, 0});
    }
    std::sort(node.entry.clock.begin(), node.entry.clock.end(),
              [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
    fill(node, random, static_cast<size_t>(random(0, 1500)));
    nodes.push_back(std::move(node));
  }
  const auto archive = make_archive(folder, nodes, kWindow);

  static constexpr const char* kFilters[] = {"",
                                             "",
                                             "tcp port 80",
                                             "host 10.0.0.5",
                                             "net 10.0.1.0/24 and udp",
                                             "not port 53",
                                             "ip6",
                                             "len > 250",
                                             "tcp and dst port 443 and src net 10.0.0.0/22",
                                             "icmp",
                                             "udp port 53 or tcp port 80",
                                             "host 10.0.7.7",
                                             "tcp[tcpflags] & tcp-ack != 0",
                                             "host 10.0.2.1 and (port 53 or port 8080)",
                                             "ip proto 17"};
  for (int round = 0; round < 6; ++round) {
    ExportOptions options;
    options.filter = kFilters[static_cast<size_t>(random(0, std::size(kFilters) - 1))];
    if (random.one_in(2)) options.from_ns = kStart + random(-2, 8) * kNsPerSecond / 2;
    if (random.one_in(2))
      options.to_ns = options.from_ns.value_or(kStart) + random(1, 9) * kNsPerSecond;
    if (random.one_in(3)) options.nodes = {"node-1"};
    if (random.one_in(4)) options.nodes.push_back("*");
    if (random.one_in(3)) options.interfaces = {"eth*"};
    if (random.one_in(4)) options.networks = networks({"10.0.3.0/24", "10.0.0.4"});
    if (random.one_in(8)) options.networks = networks({"10.0.9.1"});
    options.align_clocks = random.one_in(2);
    options.threads = static_cast<unsigned>(random(1, 4));
    if (random.one_in(4)) {
      options.format = Format::pcap;
      options.interfaces = {"eth*"};
    }
    CAPTURE(round, options.filter, options.align_clocks, options.threads, options.nodes,
            options.interfaces);
    const Export done = run_export(archive, options);
    const std::vector<Exported> expected = expected_export(nodes, kWindow, options);
    require_equal(read_export(done.file), expected);
    REQUIRE(done.stats.packets_written == expected.size());
    REQUIRE(done.stats.complete);
    // The same options give the same bytes, whatever the number of threads.
    options.threads = 5 - options.threads;
    REQUIRE(run_export(archive, options).file == done.file);
  }
}

TEST_CASE("filters on the link layer apply where there is one") {
  Random random(7);
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  node.entry.interfaces.push_back({"tun0", packet::link_type::kRaw, ""});
  fill(node, random, 300);
  const auto archive = make_archive(folder, {node}, kWindow);
  for (const char* filter : {"vlan 2", "vlan and vlan 9", "ether src 02:00:00:00:00:01", "arp"}) {
    ExportOptions options;
    options.filter = filter;
    CAPTURE(filter);
    const Export done = run_export(archive, options);
    require_equal(read_export(done.file), expected_export({node}, kWindow, options));
    const bool compiles_on_raw =
        packet::Filter::compile(filter, packet::link_type::kRaw).has_value();
    REQUIRE(done.stats.warnings.size() == (compiles_on_raw ? 0 : 1));
    if (!compiles_on_raw) REQUIRE_THAT(done.stats.warnings[0], Catch::Contains("raw IP (tun0)"));
    REQUIRE(done.stats.packets_written > 0);
  }
}

TEST_CASE("ties go by node, interface, stored order") {
  TemporaryDirectory folder;
  NodeSpec first = node_spec("z", {"eth0", "eth1"}), second = node_spec("a", {"eth0"});
  first.packets_per_frame = second.packets_per_frame = 2;
  first.frames_per_member = 1;
  for (int i = 0; i < 9; ++i) {
    first.packets.push_back(
        {static_cast<uint32_t>(1 - i % 2), kStart + i / 6, "z" + std::to_string(i)});
    second.packets.push_back({0, kStart + i / 6, "a" + std::to_string(i)});
  }
  const auto archive = make_archive(folder, {first, second}, kWindow);
  const std::vector<Exported> exported = read_export(run_export(archive, {}).file);
  require_equal(exported, expected_export({first, second}, kWindow, {}));
  std::string order;
  for (const Exported& packet : exported) order += packet.data + " ";
  REQUIRE(order == "z1 z3 z5 z0 z2 z4 a0 a1 a2 a3 a4 a5 z7 z6 z8 a6 a7 a8 ");
}

TEST_CASE("frames are open only while they overlap in time") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("a", {"eth0"}), node_spec("b", {"eth0"})};
  for (NodeSpec& node : nodes) {
    node.packets_per_frame = 10;
    for (int i = 0; i < 5000; ++i) node.packets.push_back({0, kStart + i * 1000, "packet"});
  }
  const Export done = run_export(make_archive(folder, nodes, kWindow), {});
  REQUIRE(done.stats.packets_written == 10'000);
  REQUIRE(done.stats.most_frames_open <= 4);
  REQUIRE(done.stats.frames_read >= 1000);
}

TEST_CASE("only frames that can match are read") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  node.packets_per_frame = 10;
  for (uint32_t i = 0; i < 5000; ++i) {
    const uint32_t source = i == 2500 ? 0x0a630063 : 0x0a000001;
    node.packets.push_back(
        {0, kStart + i * 1000, ethernet_ip({}, udp_packet({.source = source}, {}, "x"))});
  }
  const auto archive = make_archive(folder, {node}, kWindow);
  ExportOptions options;
  SECTION("by filter") {
    options.filter = "host 10.99.0.99 and udp";
  }
  SECTION("by network") {
    options.networks = networks({"10.99.0.0/16"});
  }
  SECTION("by time") {
    options.from_ns = kStart + 2500 * 1000;
    options.to_ns = kStart + 2501 * 1000;
  }
  const Export done = run_export(archive, options);
  REQUIRE(done.stats.packets_written == 1);
  REQUIRE(done.stats.frames_read <= 2);
  REQUIRE(done.stats.frames_skipped == 499);
}

TEST_CASE("windows are hub time, whatever the node's clock says") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  constexpr int64_t kHour = 3600 * kNsPerSecond;
  node.entry.clock = {{kStart, 0, 1000, 0},
                      {kStart + 5 * kNsPerSecond + kHour, kHour, 1000, kHour}};
  for (int64_t second = 0; second < 10; ++second) {  // stepped an hour ahead at the fifth second
    node.packets.push_back(
        {0, kStart + second * kNsPerSecond + (second >= 5 ? kHour : 0), std::to_string(second)});
  }
  const auto archive = make_archive(folder, {node}, kWindow);
  ExportOptions options;
  options.from_ns = kStart + 3 * kNsPerSecond;
  options.to_ns = kStart + 8 * kNsPerSecond;
  options.align_clocks = GENERATE(false, true);
  const auto exported = read_export(run_export(archive, options).file);
  require_equal(exported, expected_export({node}, kWindow, options));
  REQUIRE(exported.size() == 5);
  REQUIRE(exported.back().time_ns ==
          kStart + 7 * kNsPerSecond + (options.align_clocks ? 0 : kHour));
}

TEST_CASE(
    "gaps are told on the first packet behind them, in warnings, and make the export incomplete") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("web-1", {"eth0"}), node_spec("web-2", {"eth0"})};
  for (NodeSpec& node : nodes) {
    node.packets_per_frame = 7;
    for (int i = 0; i < 100; ++i)
      node.packets.push_back(
          {0, kStart + i * 1000, "packet", 0,
           i % 2 == 0 ? packet::Direction::inbound : packet::Direction::unknown});
  }
  nodes[0].entry.gaps = {{kStart + 20'100, kStart + 20'900, 1234, "kernel ring full"},
                         {kStart + 20'950, kStart + 20'960, 0, "disk full"},
                         {kStart + 60'500, kStart + 61'000, 5, "kernel ring full"},
                         {kStart + 98'500, kStart + 99'500, 7, "kernel ring full"},
                         {kStart - 2000, kStart - 1000, 9, "before the window"}};
  const auto archive = make_archive(folder, nodes, kWindow);
  const Export done = run_export(archive, {});
  require_equal(read_export(done.file), expected_export(nodes, kWindow, {}));
  const auto comments = read_comments(done.file);
  REQUIRE(comments.size() == 2);
  REQUIRE(comments[0].first == kStart + 21'000);
  REQUIRE_THAT(comments[0].second,
               Catch::StartsWith("lookback: node web-1 lost 1234 packets between 2023-"));
  REQUIRE_THAT(comments[0].second, Catch::EndsWith(": kernel ring full"));
  REQUIRE(comments[1].first == kStart + 61'000);
  REQUIRE(done.file.find("lost an unknown number of packets") != std::string::npos);
  REQUIRE(done.file.find("lost 7 packets") !=
          std::string::npos);  // no packet behind it: in the statistics
  REQUIRE(done.file.find("before the window") == std::string::npos);
  REQUIRE_FALSE(done.stats.complete);
  REQUIRE(done.stats.warnings.size() == 1);
  REQUIRE_THAT(done.stats.warnings[0],
               Catch::StartsWith("node web-1 lost at least 1246 packets in 4 gaps"));

  SECTION("not where they are not exported") {
    ExportOptions options;
    SECTION("another node") {
      options.nodes = {"web-2"};
    }
    SECTION("another time") {
      options.from_ns = kStart + 61'000;  // where one ends
      options.to_ns = kStart + 98'000;
    }
    const Export other = run_export(archive, options);
    REQUIRE(other.stats.complete);
    REQUIRE(other.stats.warnings.empty());
    REQUIRE(other.file.find("lost") == std::string::npos);
    REQUIRE(export_outlook(archive->manifest(), options).value().complete);
  }
}

TEST_CASE("packets that a node kept unread are counted in exports of all") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("a", {"eth0"})};
  const Bytes readable = ethernet_ip({}, udp_packet({.source = 0x0a000001, .id = 1}, {}, "x"));
  const Bytes other = ethernet_ip({}, udp_packet({.source = 0x0b000001, .id = 2}, {}, "x"));
  nodes[0].packets = {{0, kStart, readable}, {0, kStart + 1, readable.substr(0, 20)}, {0, kStart + 2, other}};
  const auto archive = make_archive(folder, nodes, kWindow, "chosen", {"10.0.0.1"});
  const Export all = run_export(archive, {});
  CHECK(all.stats.packets_written == 3);  // whatever the node chose by, an export of all leaves out nothing
  REQUIRE(all.stats.warnings.size() == 1);
  CHECK_THAT(all.stats.warnings[0], Catch::StartsWith("1 packet"));
  CHECK(run_export(make_archive(folder, nodes, kWindow), {}).stats.warnings.empty());
}

TEST_CASE("a node without interfaces tells its gaps in the section's comment") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("a", {"eth0"}), node_spec("b", {})};
  nodes[0].packets.push_back({0, kStart, "packet"});
  nodes[1].entry.status = "failed";
  nodes[1].entry.gaps = {{kStart, kStart + kNsPerSecond, 0, "not frozen"}};
  const Export done = run_export(make_archive(folder, nodes, kWindow), {});
  const size_t told = done.file.find("lookback: node b lost an unknown number of packets between 2023-");
  REQUIRE(told != std::string::npos);
  CHECK(told < done.file.find("eth0"));
  CHECK_FALSE(done.stats.complete);
}

TEST_CASE("failed and partial nodes make the export incomplete, and say why") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("a", {"eth0"}), node_spec("b", {}),
                              node_spec("c", {"eth0"})};
  nodes[0].packets.push_back({0, kStart, "packet"});
  nodes[1].entry.status = "failed";
  nodes[1].entry.reason = "connection refused";
  nodes[2].entry.status = "partial";
  nodes[2].entry.reason = "recycled before 12:00:03";
  const auto archive = make_archive(folder, nodes, kWindow);
  const Export done = run_export(archive, {});
  REQUIRE_FALSE(done.stats.complete);
  REQUIRE(
      done.stats.warnings ==
      std::vector<std::string>{"node b failed: connection refused",
                               "node c has only a part of the window: recycled before 12:00:03"});
  REQUIRE(export_outlook(archive->manifest(), {}).value().warnings == done.stats.warnings);
  ExportOptions options;
  options.nodes = {"a"};
  REQUIRE(run_export(archive, options).stats.complete);
  options.nodes = {"b"};
  REQUIRE(run_export(archive, options).stats.packets_written == 0);
}

TEST_CASE("wrong options are told before the first byte") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("web-1", {"eth0"});
  node.entry.interfaces.push_back({"tun0", packet::link_type::kRaw, ""});
  node.packets = {{0, kStart, ethernet_ip({}, udp_packet({}, {}, "x"))},
                  {1, kStart, udp_packet({}, {}, "x")}};
  const auto archive = make_archive(folder, {node}, kWindow);
  ExportOptions options;
  ErrorKind kind = ErrorKind::invalid;
  std::string text;
  SECTION("node") {
    options.nodes = {"web-1", "web-9"};
    kind = ErrorKind::not_found;
    text = "no node 'web-9' in this snapshot; it has web-1";
  }
  SECTION("node pattern") {
    options.nodes = {"db-*"};
    kind = ErrorKind::not_found;
    text = "db-*";
  }
  SECTION("interface") {
    options.interfaces = {"eth9"};
    kind = ErrorKind::not_found;
    text = "no interface 'eth9' in this snapshot; it has eth0, tun0";
  }
  SECTION("filter") {
    options.filter = "tcp prot 80";
    text = "syntax";
  }
  SECTION("filter, on no interface that is exported") {
    options.filter = "ether src 02:00:00:00:00:01";
    options.interfaces = {"tun0"};
  }
  SECTION("window") {
    options.from_ns = options.to_ns = kStart;
    text = "the window is empty";
  }
  SECTION("link types") {
    options.format = Format::pcap;
    text = "Ethernet on eth0; raw IP on tun0: choose with --interface";
  }
  bool wrote = false;
  const auto done = export_capture(archive, options, [&](std::span<const std::byte>) -> Result<> {
    wrote = true;
    return {};
  });
  REQUIRE_FALSE(done);
  REQUIRE(done.error().kind == kind);
  REQUIRE_THAT(done.error().message, Catch::Contains(text));
  REQUIRE_FALSE(wrote);
  REQUIRE_FALSE(export_outlook(archive->manifest(), options));
}

TEST_CASE("a classic pcap of one link type among several") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("web-1", {"eth0"});
  node.entry.interfaces.push_back({"tun0", packet::link_type::kRaw, ""});
  node.packets = {{0, kStart, ethernet_ip({}, udp_packet({}, {}, "x"))},
                  {1, kStart, udp_packet({}, {}, "y")}};
  const auto archive = make_archive(folder, {node}, kWindow);
  ExportOptions options;
  options.format = Format::pcap;
  SECTION("by interface") {
    options.interfaces = {"tun*"};
    const Export done = run_export(archive, options);
    REQUIRE(done.file[20] == 101);
    require_equal(read_export(done.file), expected_export({node}, kWindow, options));
  }
  SECTION("by a filter that has a meaning on one only") {
    options.filter = "ether src 02:00:00:00:00:01";
    const Export done = run_export(archive, options);
    REQUIRE(done.file[20] == 1);
    REQUIRE(done.stats.packets_written == 1);
    REQUIRE(done.stats.warnings.size() == 1);
  }
}

TEST_CASE("a window outside the snapshot gives an empty capture and says so") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  node.packets = {{0, kStart, "packet"}};
  const auto archive = make_archive(folder, {node}, kWindow);
  ExportOptions options;
  options.from_ns = kWindow.to_ns + 1;
  const Export done = run_export(archive, options);
  REQUIRE(read_export(done.file).empty());
  REQUIRE_THAT(done.stats.warnings.at(0),
               Catch::StartsWith("the window lies outside the snapshot"));
}

TEST_CASE("the sink's error and a cancelled export end it") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  for (int i = 0; i < 5000; ++i) node.packets.push_back({0, kStart + i, Bytes(1000, 'x')});
  const auto archive = make_archive(folder, {node}, kWindow);
  SECTION("sink") {
    size_t taken = 0;
    const auto done =
        export_capture(archive, {}, [&](std::span<const std::byte> bytes) -> Result<> {
          taken += bytes.size();
          if (taken > 2 << 20) return fail(ErrorKind::failed, "broken pipe");
          return {};
        });
    REQUIRE_FALSE(done);
    REQUIRE(done.error().message == "broken pipe");
  }
  SECTION("cancelled") {
    std::atomic<bool> cancelled = false;
    const auto done = export_capture(
        archive, {},
        [&](std::span<const std::byte>) -> Result<> {
          cancelled = true;
          return {};
        },
        &cancelled);
    REQUIRE_FALSE(done);
    REQUIRE(done.error().kind == ErrorKind::cancelled);
  }
}

TEST_CASE("an interface that the manifest does not name is described when it comes") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  node.described = {{"eth0", 1, ""}, {"veth9", 1, ""}};
  node.packets = {{0, kStart, "one"}, {1, kStart + 1, "two"}, {0, kStart + 2, "three"}};
  const auto archive = make_archive(folder, {node}, kWindow);
  require_equal(read_export(run_export(archive, {}).file), expected_export({node}, kWindow, {}));

  SECTION("in a classic pcap only of the same link type") {
    node.described[1].link_type = packet::link_type::kRaw;
    const auto other = make_archive(folder, {node}, kWindow, "other");
    ExportOptions options;
    options.format = Format::pcap;
    const auto done =
        export_capture(other, options, [](std::span<const std::byte>) -> Result<> { return {}; });
    REQUIRE_FALSE(done);
    REQUIRE(done.error().kind == ErrorKind::corrupt);
  }
}

TEST_CASE("wrong bounds of a frame are told") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  node.bounds_shift_ns = 5;
  for (int i = 0; i < 50; ++i) node.packets.push_back({0, kStart + i, "packet"});
  const Export done = run_export(make_archive(folder, {node}, kWindow), {});
  REQUIRE(done.stats.packets_written == 50);
  REQUIRE(done.stats.warnings.size() == 1);
  REQUIRE_THAT(done.stats.warnings[0],
               Catch::StartsWith("node a: packets stand outside the times"));
}

TEST_CASE("a damaged frame ends the export and is named") {
  TemporaryDirectory folder;
  NodeSpec node = node_spec("a", {"eth0"});
  for (int i = 0; i < 500; ++i) node.packets.push_back({0, kStart + i, Bytes(500, 'x')});
  const auto whole = make_archive(folder, {node}, kWindow);
  const archive::MemberEntry& member = whole->manifest().members.at(2);
  const auto path = folder.path() / "test.tar.zst";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  const auto fd = open_file(path, 02 /* O_RDWR */);
  REQUIRE(fd);
  const size_t frame = GENERATE(0U, 1U);  // the first one is what the others of its member wait for
  const uint64_t middle = member.archive_offset +
                          (frame == 0 ? 0 : member.frames[0].compressed_bytes) +
                          member.frames[frame].compressed_bytes / 2;
  std::byte byte[1];
  REQUIRE(pread_exact(fd->get(), byte, middle));
  byte[0] ^= std::byte{0xff};
  REQUIRE(pwrite_all(fd->get(), byte, middle));
  const auto damaged = archive::ArchiveReader::open(path);
  REQUIRE(damaged);
  ExportOptions options;
  options.threads = 4;
  const auto done =
      export_capture(*damaged, options, [](std::span<const std::byte>) -> Result<> { return {}; });
  REQUIRE_FALSE(done);
  REQUIRE(done.error().kind == ErrorKind::corrupt);
  REQUIRE_THAT(done.error().message,
               Catch::Contains(fmt::format("{}, frame {}", member.name, frame + 1)));
}

TEST_CASE("copies are dropped across nodes, whatever the window and the format") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes{node_spec("client", {"eth0"}),
                              node_spec("server", {"eth0", "veth1"})};
  nodes[0].entry.clock = {{kStart, 0, 100'000, 0}};
  nodes[1].entry.clock = {{kStart, 30 * kNsPerSecond, 100'000, 0}};
  for (uint32_t i = 0; i < 2000; ++i) {
    const int64_t time = kStart + i * 1'000'000;
    const Tcp tcp{.sequence = i * 4000};
    const Bytes payload = stream_bytes(i * 4000, 4000);
    nodes[0].packets.push_back({0, time, ethernet_ip({}, tcp_packet({}, tcp, payload))});
    for (uint32_t part = 0; part < 4; ++part) {  // on the wire, then forwarded to a container
      const Tcp cut{.sequence = tcp.sequence + part * 1000};
      for (uint32_t interface = 0; interface < 2; ++interface) {
        const Ip ip{.ttl = static_cast<uint8_t>(64 - interface),
                    .id = static_cast<uint16_t>(1 + part)};
        nodes[1].packets.push_back(
            {interface, time + 30 * kNsPerSecond + 200'000 + part * 10 + interface,
             ethernet_ip({}, tcp_packet(ip, cut, payload.substr(part * 1000, 1000)))});
      }
    }
  }
  const auto archive = make_archive(folder, nodes, kWindow);
  ExportOptions options;
  options.dedup = true;
  options.align_clocks = GENERATE(true, false);
  options.format = GENERATE(Format::pcapng, Format::pcap);
  const Export done = run_export(archive, options);
  REQUIRE(done.stats.packets_written == 2000);
  REQUIRE(done.stats.duplicates_dropped == 16'000);
  REQUIRE(done.stats.dedup_evictions == 0);
  if (options.format == Format::pcapng) {
    REQUIRE(done.file.find("8000 packets of this interface left out as copies") !=
            std::string::npos);
  }
  options.interfaces = {"veth1"};
  REQUIRE(run_export(archive, options).stats.packets_written == 8000);
  options.dedup = false;
  options.interfaces.clear();
  REQUIRE(run_export(archive, options).stats.packets_written == 18'000);
}
