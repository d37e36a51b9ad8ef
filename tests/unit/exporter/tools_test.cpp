// What the field's own tools make of an export: they must read it, say the same as we do, and
// complain about nothing.
#include <fcntl.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "unit/exporter/support/archives.hpp"
#include "unit/support/files.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr int64_t kStart = 1'700'000'000 * kNsPerSecond;
constexpr TimeWindow kWindow{kStart, kStart + 10 * kNsPerSecond};

/// Runs a command; it must succeed and say nothing on standard error. Returns its standard output.
std::string run(const TemporaryDirectory& folder, const std::string& command) {
  CAPTURE(command);
  const std::string errors = folder.path() / "errors";
  FILE* const pipe = ::popen((command + " 2>" + errors).c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char chunk[4096];
  for (size_t bytes; (bytes = std::fread(chunk, 1, sizeof chunk, pipe)) > 0;)
    output.append(chunk, bytes);
  const int status = ::pclose(pipe);
  std::ifstream file(errors);
  std::string complaints;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Running as user \"root\"") && !line.starts_with("reading from file"))
      complaints += line + "\n";
  }
  REQUIRE(complaints == "");
  REQUIRE(status == 0);
  return output;
}

size_t count_lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<NodeSpec> some_nodes() {
  std::vector<NodeSpec> nodes{node_spec("web-1", {"eth0", "lo"}), node_spec("web-2", {"eth0"})};
  nodes[1].entry.interfaces.push_back({"tun0", packet::link_type::kRaw, ""});
  nodes[0].packets_per_frame = 1000;  // also makes half of the packets of one node its own
  nodes[0].entry.gaps = {{kStart + 20'100, kStart + 20'900, 1234, "kernel ring full"}};
  nodes[1].entry.gaps = {{kStart + 99'000'000, kStart + 99'900'000, 17, "disk full"}};
  for (NodeSpec& node : nodes) {
    for (uint32_t i = 0; i < 200; ++i) {
      const uint32_t interface = i % 2;
      const Bytes ip =
          udp_packet({.source = 0x0a000001 + i % 3,
                      .id = static_cast<uint16_t>(i + (i > 100 ? node.packets_per_frame : 0))},
                     {}, "x");
      const bool raw = node.entry.interfaces[interface].link_type == packet::link_type::kRaw;
      node.packets.push_back(
          {interface, kStart + i * 1000 + interface, raw ? ip : ethernet_ip({}, ip), 0,
           i % 3 == 0 ? packet::Direction::unknown : packet::Direction::outbound});
    }
  }
  return nodes;
}

}  // namespace

TEST_CASE("tshark, capinfos, editcap and mergecap accept a pcapng export") {
  TemporaryDirectory folder;
  const auto archive = make_archive(folder, some_nodes(), kWindow);
  ExportOptions options;
  options.dedup = true;
  const Export done = run_export(archive, options);
  const std::string file = test::spill(folder / "export.pcapng", done.file);
  const auto packets = std::to_string(done.stats.packets_written);

  const std::string fields =
      run(folder,
          "tshark -r " + file +
              " -T fields -e frame.interface_name -e frame.interface_description -e frame.comment");
  REQUIRE(count_lines(fields) == done.stats.packets_written);
  REQUIRE_THAT(fields, Catch::Contains("web-1/eth0\tnode web-1"));
  REQUIRE_THAT(fields, Catch::Contains("web-2/tun0\tnode web-2"));
  REQUIRE_THAT(fields, Catch::Contains("lookback: node web-1 lost 1234 packets"));

  const std::string infos = run(folder, "capinfos " + file);
  REQUIRE_THAT(infos, Catch::Contains("Number of packets:   " + packets));
  REQUIRE_THAT(infos, Catch::Contains("Number of interfaces in file: 4"));
  REQUIRE_THAT(infos, Catch::Contains("Strict time order:   True"));
  REQUIRE_THAT(infos, Catch::Contains("Capture application: lookback "));

  const std::string edited = folder.path() / "edited.pcapng",
                    merged = folder.path() / "merged.pcapng";
  run(folder, "editcap -F pcapng " + file + " " + edited);
  run(folder, "mergecap -w " + merged + " " + file + " " + edited);
  REQUIRE(count_lines(run(folder, "tshark -r " + merged + " -T fields -e frame.number")) ==
          2 * done.stats.packets_written);
}

TEST_CASE("tcpdump and tshark accept a classic pcap export") {
  TemporaryDirectory folder;
  const auto archive = make_archive(folder, some_nodes(), kWindow);
  ExportOptions options;
  options.format = Format::pcap;
  options.interfaces = {"eth0"};
  const Export done = run_export(archive, options);
  REQUIRE(done.stats.packets_written == 200);
  const std::string file = test::spill(folder / "export.pcap", done.file);
  REQUIRE(count_lines(run(folder, "tcpdump -n -r " + file)) == 200);
  REQUIRE(count_lines(run(folder, "tshark -r " + file)) == 200);
}

TEST_CASE("tools accept exports without packets, without interfaces, and of a failed node") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes = some_nodes();
  nodes.push_back(node_spec("down", {}));
  nodes[2].entry.status = "failed";
  nodes[2].entry.reason = "connection refused";
  const auto archive = make_archive(folder, nodes, kWindow);
  ExportOptions options;
  SECTION("no packets") {
    options.filter = "host 192.0.2.1";
  }
  SECTION("no interfaces") {
    options.nodes = {"down"};
  }
  const Export done = run_export(archive, options);
  REQUIRE(done.stats.packets_written == 0);
  const std::string file = test::spill(folder / "export.pcapng", done.file);
  REQUIRE(run(folder, "tshark -r " + file) == "");
  REQUIRE_THAT(run(folder, "capinfos " + file), Catch::Contains("Number of packets:   0"));
}

TEST_CASE("libpcap's filters and ours agree on an export") {
  TemporaryDirectory folder;
  std::vector<NodeSpec> nodes = some_nodes();
  nodes[1].entry.interfaces.pop_back();
  std::erase_if(nodes[1].packets, [](const Recorded& packet) { return packet.interface == 1; });
  const auto archive = make_archive(folder, nodes, kWindow);
  const std::string all = test::spill(folder / "all.pcapng", run_export(archive, {}).file);
  for (const char* filter :
       {"src host 10.0.0.2", "udp port 53 and not host 10.0.0.3", "ip[4:2] = 7", "less 42"}) {
    CAPTURE(filter);
    ExportOptions options;
    options.filter = filter;
    const std::string ours = test::spill(folder / "ours.pcapng", run_export(archive, options).file);
    const std::string dump = "tcpdump -n -tttt -xx -r ";
    REQUIRE(run(folder, dump + ours) == run(folder, dump + all + " '" + filter + "'"));
  }
}
