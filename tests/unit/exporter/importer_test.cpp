#include <catch2/catch.hpp>

#include "lookback/archive/archive.hpp"
#include "lookback/base/gap_reason.hpp"
#include "lookback/exporter/exporter.hpp"
#include "lookback/exporter/importer.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "unit/exporter/support/captures.hpp"
#include "unit/support/files.hpp"
#include "unit/support/shell.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::exporter;
using Catch::Contains;
using lookback::test::pcap_of;
using lookback::test::pcapng_of;
using lookback::test::run_shell;
using lookback::test::spill;
using lookback::test::Stored;
using lookback::test::TemporaryDirectory;
using lookback::test::udp_packet;

namespace {

constexpr int64_t kTime = 1'772'366'400'000'000'000;

std::vector<Stored> some_packets(uint32_t count, int64_t start = kTime, uint32_t interfaces = 1) {
  std::vector<Stored> packets;
  for (uint32_t i = 0; i < count; ++i) packets.push_back({udp_packet(i, 200 + i % 800), start + i * 1'000'001LL, i % interfaces});
  return packets;
}

packet::PcapngInterface interface(const std::string& name, const std::string& description = {}) {
  packet::PcapngInterface made;
  made.name = name;
  made.description = description;
  return made;
}

ImportOptions options() {
  ImportOptions options;
  options.created_by = "lookback test";
  options.created_ns = kTime;
  return options;
}

/// The packets of one node in the archive, in stored order.
std::vector<Stored> packets_of(const archive::ArchiveReader& reader, const std::string& node) {
  std::vector<Stored> packets;
  for (const auto& member : reader.manifest().members) {
    if (member.node != node) continue;
    const auto content = reader.read_member(member).value();
    size_t at = 0;
    auto capture = packet::CaptureReader::open([&](std::span<std::byte> out) -> Result<size_t> {
                     const size_t count = std::min(out.size(), content.size() - at);
                     std::copy_n(content.begin() + static_cast<ptrdiff_t>(at), count, out.begin());
                     at += count;
                     return count;
                   }).value();
    for (;;) {
      const auto next = capture.next().value();
      if (!next) break;
      packets.push_back({{next->view.data.begin(), next->view.data.end()}, next->view.time_ns, next->view.interface});
    }
  }
  return packets;
}

bool same(const std::vector<Stored>& a, const std::vector<Stored>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Stored& x, const Stored& y) { return x.bytes == y.bytes && x.time_ns == y.time_ns; });
}

std::shared_ptr<archive::ArchiveReader> imported(const TemporaryDirectory& folder, const std::vector<std::filesystem::path>& files, ImportReport* report = nullptr) {
  const auto out = folder / "imported.tar.zst";
  std::filesystem::remove(out);
  const auto result = import_captures(files, "imported", out, options());
  INFO((result ? "" : result.error().message));
  REQUIRE(result);
  if (report != nullptr) *report = *result;
  REQUIRE(archive::verify_archive(out));
  return archive::ArchiveReader::open(out).value();
}

Error refused(const TemporaryDirectory& folder, const std::vector<std::filesystem::path>& files, const ImportOptions& with = options()) {
  const auto result = import_captures(files, "imported", folder / "refused.tar.zst", with);
  REQUIRE_FALSE(result);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    REQUIRE_THAT(entry.path().filename().string(), !Contains("refused"));  // nothing is left, the working file neither
  return result.error();
}

}  // namespace

TEST_CASE("node names of files") {
  REQUIRE(node_name_of_file("/dumps/web-1.pcap") == "web-1");
  REQUIRE(node_name_of_file("web-1.pcapng.gz") == "web-1");
  REQUIRE(node_name_of_file("a/web 1 (eth0).cap.zst") == "web-1--eth0-");
  REQUIRE(node_name_of_file(".pcap") == "pcap");
  REQUIRE(node_name_of_file("---.pcap") == "node");
  REQUIRE(node_name_of_file("trace.2026-03-01") == "trace.2026-03-01");
  REQUIRE(node_name_of_file(std::string(200, 'x') + ".pcap").size() == 63);
  REQUIRE(node_name_of_file("\xc3\xa4.pcap") == "node");
}

TEST_CASE("several files become several nodes") {
  TemporaryDirectory folder;
  const auto web = some_packets(3000), db = some_packets(500, kTime - 5 * kNsPerSecond);
  ImportReport report;
  const auto reader = imported(folder, {spill(folder / "web.pcap", pcap_of(web)), spill(folder / "db.pcapng", pcapng_of({interface("eth7")}, db))}, &report);
  REQUIRE(report.packets == 3500);
  REQUIRE(report.nodes == 2);
  REQUIRE(report.complete);
  REQUIRE(report.warnings.empty());
  REQUIRE(report.archive_bytes == reader->file_bytes());
  const auto& manifest = reader->manifest();
  REQUIRE(manifest.complete);
  REQUIRE(manifest.window == TimeWindow{db.front().time_ns, web.back().time_ns + 1});
  REQUIRE(manifest.find_node("web")->packets == 3000);
  REQUIRE(manifest.find_node("web")->coverage == TimeWindow{web.front().time_ns, web.back().time_ns + 1});
  REQUIRE(manifest.find_node("db")->interfaces.at(0).name == "eth7");
  REQUIRE(manifest.find_node("web")->interfaces.at(0).name == "if0");
  REQUIRE(same(packets_of(*reader, "web"), web));
  REQUIRE(same(packets_of(*reader, "db"), db));
}

TEST_CASE("files of one name, and a large one") {
  TemporaryDirectory folder;
  std::filesystem::create_directory(folder / "other");
  std::vector<Stored> many;
  for (uint32_t i = 0; i < 14'000; ++i) many.push_back({udp_packet(i, 1400), kTime + i * 1000, 0});
  const auto reader = imported(folder, {spill(folder / "web.pcap", pcap_of(many)), spill(folder / "other/web.pcap", pcap_of(some_packets(5)))});
  REQUIRE(reader->manifest().find_node("web-2")->packets == 5);
  REQUIRE(same(packets_of(*reader, "web"), many));
  size_t members = 0;
  for (const auto& member : reader->manifest().members) {
    members += member.node == "web";
    REQUIRE(member.size <= kMemberBytes + kMemberFrameBytes);
  }
  REQUIRE(members == 3);
}

TEST_CASE("compressed files") {
  TemporaryDirectory folder;
  const auto packets = some_packets(2000);
  const auto plain = spill(folder / "a.pcap", pcap_of(packets));
  REQUIRE(run_shell(folder.path(), "gzip -k a.pcap && zstd -q a.pcap -o b.pcap.zst && zstd -q --ultra -22 --long=27 a.pcap -o c.pcap.zst && "
                                   "split -n 3 a.pcap part. && for p in part.*; do gzip -c $p >>d.pcap.gz; zstd -q -c $p >>e.pcap.zst; done").status == 0);
  for (const char* name : {"a.pcap.gz", "b.pcap.zst", "c.pcap.zst", "d.pcap.gz", "e.pcap.zst"}) {
    CAPTURE(name);
    const auto reader = imported(folder, {folder / name});
    REQUIRE(reader->manifest().complete);
    REQUIRE(same(packets_of(*reader, std::string(1, name[0])), packets));
  }
  // Through a pipe as well.
  REQUIRE(run_shell(folder.path(), "mkfifo pipe.pcap && { (exec >/dev/null 2>&1; cat a.pcap.gz >pipe.pcap) & }").status == 0);
  REQUIRE(same(packets_of(*imported(folder, {folder / "pipe.pcap"}), "pipe"), packets));

  // Cut in the packing: what was whole counts.
  for (const char* name : {"a.pcap.gz", "b.pcap.zst"}) {
    CAPTURE(name);
    REQUIRE(run_shell(folder.path(), fmt::format("head -c $(($(stat -c %s {0}) * 3 / 4)) {0} > cut", name)).status == 0);
    const auto result = import_captures(std::vector{folder / "cut"}, "imported", folder / "cut.tar.zst", options());
    if (result) {  // zstd gives nothing before a block is whole
      REQUIRE_FALSE(result->complete);
      REQUIRE_THAT(result->warnings.at(0), Contains("cut short"));
      std::filesystem::remove(folder / "cut.tar.zst");
    } else {
      REQUIRE(result.error().kind == ErrorKind::corrupt);
    }
  }
}

TEST_CASE("nodes come back from described interfaces") {
  TemporaryDirectory folder;
  const auto packets = some_packets(900, kTime, 3);
  const auto file = spill(folder / "export.pcapng", pcapng_of({interface("eth0", "node web-1"), interface("eth0", "node db"), interface("lo")}, packets));
  const auto more = some_packets(10);
  const auto reader = imported(folder, {file, spill(folder / "x.pcapng", pcapng_of({interface("eth1", "node db")}, more))});
  REQUIRE(reader->manifest().nodes.size() == 3);
  REQUIRE(reader->manifest().find_node("web-1")->packets == 300);
  REQUIRE(reader->manifest().find_node("export")->packets == 300);
  REQUIRE(reader->manifest().find_node("export")->interfaces.at(0).name == "lo");
  const auto* db = reader->manifest().find_node("db");
  REQUIRE(db->packets == 310);
  REQUIRE(db->interfaces.size() == 2);
  const auto found = packets_of(*reader, "db");
  REQUIRE(found.size() == 310);
  for (size_t i = 0; i < 300; ++i) REQUIRE(found[i].bytes == packets[3 * i + 1].bytes);
  REQUIRE(found.back().interface == 1);

  const auto odd = imported(folder, {spill(folder / "odd.pcapng", pcapng_of({interface("a", "node ../../x")}, more))});
  REQUIRE(odd->manifest().nodes.at(0).name == "x");
}

TEST_CASE("an import of our own members is the same again") {
  TemporaryDirectory folder;
  const auto packets = some_packets(5000, kTime, 2);
  const std::vector<packet::PcapngInterface> interfaces{interface("eth0", "node n"), interface("eth1", "node n")};
  const auto first = imported(folder, {spill(folder / "n.pcapng", pcapng_of(interfaces, packets))});
  const auto members = first->manifest().members;
  std::vector<std::byte> all;
  for (const auto& member : members) {
    const auto content = first->read_member(member).value();
    all.insert(all.end(), content.begin(), content.end());
  }
  const auto second = imported(folder, {spill(folder / "whatever.pcapng", as_text(all))});
  REQUIRE(same(packets_of(*second, "n"), packets));
  REQUIRE(second->manifest().nodes.at(0).interfaces == first->manifest().nodes.at(0).interfaces);
  REQUIRE(second->manifest().window == first->manifest().window);
}

TEST_CASE("tshark and tar read what was imported") {
  TemporaryDirectory folder;
  const auto packets = some_packets(100);
  imported(folder, {spill(folder / "web.pcap", pcap_of(packets)), spill(folder / "db.pcap", pcap_of(packets))});
  const auto run = run_shell(folder.path(),
                             "mkdir out && tar --zstd -xf imported.tar.zst -C out && cat out/nodes/*/packets/*.pcapng > all.pcapng && "
                             "capinfos -c -M all.pcapng && tshark -r all.pcapng -T fields -e ip.src 2>/dev/null | sort -u | wc -l");
  INFO(run.output);
  REQUIRE(run.status == 0);
  REQUIRE_THAT(run.output, Contains("Number of packets:   200") && Contains("\n100\n"));
}

TEST_CASE("damaged captures count up to the damage") {
  TemporaryDirectory folder;
  const auto packets = some_packets(100);
  const std::string whole = pcap_of(packets);
  ImportReport report;
  auto reader = imported(folder, {spill(folder / "cut.pcap", whole.substr(0, whole.size() - 10)), spill(folder / "ok.pcap", whole)}, &report);
  REQUIRE_FALSE(report.complete);
  REQUIRE(report.warnings.size() == 1);
  REQUIRE_THAT(report.warnings[0], Contains("cut.pcap") && Contains("99 packets"));
  REQUIRE_FALSE(reader->manifest().complete);
  REQUIRE(reader->manifest().find_node("cut")->status == "partial");
  REQUIRE_THAT(reader->manifest().find_node("cut")->reason, Contains("ends inside"));
  REQUIRE(reader->manifest().find_node("ok")->status == "complete");
  REQUIRE(packets_of(*reader, "cut").size() == 99);

  const auto empty = imported(folder, {spill(folder / "empty.pcap", pcap_of({})), folder / "ok.pcap"}, &report);
  REQUIRE_THAT(report.warnings.at(0), Contains("no packets"));
  REQUIRE(empty->manifest().nodes.size() == 1);
}

TEST_CASE("drops counted in a file become gaps") {
  TemporaryDirectory folder;
  packet::Buffer out;
  packet::append_section_header(out, "a test");
  packet::append_interface(out, interface("eth0"));
  const auto packets = some_packets(3);
  for (size_t i = 0; i < packets.size(); ++i) {
    const size_t start = out.size();
    packet::append_packet(out, packets[i].view());
    if (i != 2) continue;
    // An epb_dropcount option by hand: code 4, eight bytes.
    out.resize(out.size() - 4);
    const uint32_t total = static_cast<uint32_t>(out.size() - start + 12 + 4 + 4);
    const auto put = [&](uint32_t word) {
      for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::byte>(word >> shift & 0xff));
    };
    for (const uint32_t word : {4u | 8u << 16, 17u, 0u, 0u, total}) put(word);
    for (size_t b = 0; b < 4; ++b) out[start + 4 + b] = static_cast<std::byte>(total >> (8 * b) & 0xff);
  }
  ImportReport report;
  const auto reader = imported(folder, {spill(folder / "d.pcapng", as_text(out))}, &report);
  const auto& node = reader->manifest().nodes.at(0);
  REQUIRE(node.packets == 3);
  REQUIRE(node.status == "partial");
  REQUIRE(node.gaps.size() == 1);
  REQUIRE(node.gaps[0].packets == 17);
  REQUIRE(node.gaps[0].start_ns == packets[1].time_ns);
  REQUIRE(node.gaps[0].end_ns == packets[2].time_ns);
}

TEST_CASE("what cannot be imported is refused and leaves nothing") {
  TemporaryDirectory folder;
  const auto good = spill(folder / "good.pcap", pcap_of(some_packets(10)));
  REQUIRE(refused(folder, {}).kind == ErrorKind::invalid);
  REQUIRE(refused(folder, {folder / "absent"}).kind == ErrorKind::not_found);
  REQUIRE(refused(folder, {good, folder / "absent"}).kind == ErrorKind::not_found);
  const Error text = refused(folder, {spill(folder / "text", "no capture at all")});
  REQUIRE(text.kind == ErrorKind::invalid);
  REQUIRE_THAT(text.message, Contains("text: "));
  REQUIRE(refused(folder, {spill(folder / "nothing", "")}).kind == ErrorKind::invalid);
  REQUIRE_THAT(refused(folder, {spill(folder / "none.pcap", pcap_of({}))}).message, Contains("no packets"));
  REQUIRE(import_captures(std::vector{good}, "../x", folder / "x", options()).error().kind == ErrorKind::invalid);

  imported(folder, {good});
  REQUIRE(is_archive_file(folder / "imported.tar.zst").value());
  REQUIRE_FALSE(is_archive_file(good).value());
  REQUIRE_FALSE(is_archive_file(folder / "nothing").value());
  REQUIRE_THAT(refused(folder, {folder / "imported.tar.zst"}).message, Contains("Lookback archive"));
  const auto taken = import_captures(std::vector{good}, "imported", folder / "imported.tar.zst", options());
  REQUIRE(taken.error().kind == ErrorKind::conflict);

  const std::atomic<bool> cancelled = true;
  ImportOptions cancelling = options();
  cancelling.cancelled = &cancelled;
  REQUIRE(refused(folder, {good}, cancelling).kind == ErrorKind::cancelled);
}

TEST_CASE("an import tells how far it is") {
  TemporaryDirectory folder;
  const auto a = spill(folder / "a.pcap", pcap_of(some_packets(20'000)));
  const auto b = spill(folder / "b.pcap", pcap_of(some_packets(10)));
  const uint64_t bytes = std::filesystem::file_size(a) + std::filesystem::file_size(b);
  uint64_t last = 0, calls = 0;
  ImportOptions with = options();
  with.progress = [&](uint64_t done, uint64_t total) {
    REQUIRE(total == bytes);
    REQUIRE(done >= last);
    last = done;
    ++calls;
  };
  REQUIRE(import_captures(std::vector{a, b}, "imported", folder / "x.tar.zst", with));
  REQUIRE(last == bytes);
  REQUIRE(calls >= 5);
}

TEST_CASE("an import keeps the comments of packets and says what else of a pcapng file it does not", "[import]") {
  const TemporaryDirectory folder;
  packet::Buffer out;
  packet::append_section_header(out, "test");
  packet::append_interface(out, interface("eth0"));
  packet::append_decryption_secrets(out, 0x544c534b, "CLIENT_RANDOM 00 00\n");
  const auto packets = some_packets(3);
  packet::append_packet(out, packets[0].view(), std::vector<std::string>{"one", "two"});
  packet::append_packet(out, packets[1].view());
  packet::append_packet(out, packets[2].view(), std::vector<std::string>{"three"});
  ImportReport report;
  const auto reader = imported(folder, {spill(folder / "noted.pcapng", as_text(out))}, &report);
  CHECK(report.packets == 3);
  CHECK(report.complete);
  REQUIRE(report.warnings.size() == 1);
  CHECK_THAT(report.warnings[0], Contains("noted.pcapng: left out: 1 blocks of decryption secrets"));
  std::string all;
  for (const auto& member : reader->manifest().members) all += as_text(reader->read_member(member).value());
  for (const char* comment : {"one", "two", "three"}) CHECK_THAT(all, Contains(comment));
  CHECK(reader->manifest().nodes.at(0).origin == "test");
}

TEST_CASE("of several files those that cannot be read do not stop the others", "[import]") {
  const TemporaryDirectory folder;
  const auto packets = some_packets(10);
  const std::string whole = pcap_of(packets);
  const auto good = spill(folder / "good.pcap", whole);
  for (const auto& bad : {spill(folder / "empty.pcap", ""), spill(folder / "short.pcap", "\xd4\xc3"), spill(folder / "text.pcap", "no capture at all"),
                          spill(folder / "header.pcap", whole.substr(0, 20)), spill(folder / "first.pcap", whole.substr(0, 45)),
                          spill(folder / "cut.pcap.gz", "\x1f\x8b\x08")}) {
    for (const auto& files : {std::vector{good, bad}, std::vector{bad, good}}) {
      CAPTURE(bad.string());
      ImportReport report;
      const auto reader = imported(folder, files, &report);
      CHECK(report.packets == 10);
      CHECK_FALSE(report.complete);
      REQUIRE(report.warnings.size() == 1);
      CHECK_THAT(report.warnings[0], Contains(bad.filename().string()));
      CHECK(reader->manifest().nodes.size() == 1);
      CHECK(same(packets_of(*reader, "good"), packets));
    }
  }
}

TEST_CASE("stamps that cannot be kept become places, and the packet tells its own", "[import]") {
  const TemporaryDirectory folder;
  packet::Buffer out;
  packet::append_section_header(out, "test");
  packet::append_interface(out, interface("eth0"));
  auto packets = some_packets(6);
  const int64_t times[] = {0, kTime, packet::kLatestStampNs + 1, INT64_MAX, packet::kLatestStampNs, 7};
  for (size_t i = 0; i < packets.size(); ++i) {
    packets[i].time_ns = times[i];
    packet::append_packet(out, packets[i].view());
  }
  ImportReport report;
  const auto reader = imported(folder, {spill(folder / "odd.pcapng", as_text(out))}, &report);
  CHECK_FALSE(report.complete);
  REQUIRE(report.warnings.size() == 1);
  CHECK_THAT(report.warnings[0], Contains("the stamps of 2 packets cannot be kept, the first is 9214646399.999999999 s") && Contains("1970-01-01") && Contains("2261-12-31"));
  const auto kept = packets_of(*reader, "odd");
  REQUIRE(kept.size() == 6);
  const int64_t expected[] = {0, kTime, kTime + 1, kTime + 2, packet::kLatestStampNs, 7};
  for (size_t i = 0; i < kept.size(); ++i) CHECK(kept[i].time_ns == expected[i]);
  CHECK(reader->manifest().window == TimeWindow{0, packet::kLatestStampNs + 1});
  const auto content = reader->read_member(reader->manifest().members.at(0)).value();
  CHECK_THAT(std::string(as_text(content)), Contains("the stamp of this packet is 9223372036.854775807 s since 1970"));
}

TEST_CASE("interfaces of one name stay as many as the file has", "[import]") {
  const TemporaryDirectory folder;
  auto packets = some_packets(30, kTime, 3);
  const std::vector<packet::PcapngInterface> interfaces{interface("eth0", "host a"), interface("eth0", "host b"), interface("eth1")};
  const auto first = spill(folder / "ring_00001.pcapng", pcapng_of(interfaces, packets));
  for (auto& packet : packets) packet.time_ns += kNsPerSecond;
  const auto second = spill(folder / "ring_00002.pcapng", pcapng_of(interfaces, packets));
  const auto reader = imported(folder, {first, second});
  REQUIRE(reader->manifest().nodes.size() == 1);
  const auto& node = reader->manifest().nodes[0];
  CHECK(node.name == "ring");
  REQUIRE(node.interfaces.size() == 3);
  CHECK(node.interfaces[0].name == "eth0");
  CHECK(node.interfaces[0].description == "host a");
  CHECK(node.interfaces[1].name == "eth0");
  CHECK(node.interfaces[1].same_name == 1);
  CHECK(node.interfaces[1].description == "host b");
  const auto kept = packets_of(*reader, "ring");
  REQUIRE(kept.size() == 60);
  for (size_t i = 0; i < kept.size(); ++i) CHECK(kept[i].interface == i % 3);
}

TEST_CASE("many interfaces, and long names, cost what they are", "[import]") {
  const TemporaryDirectory folder;
  constexpr uint32_t kMany = 20'000;
  std::vector<packet::PcapngInterface> interfaces;
  std::vector<Stored> packets;
  for (uint32_t i = 0; i < kMany; ++i) {
    interfaces.push_back(interface(fmt::format("{}{}", i, i % 100 == 0 ? std::string(60'000, 'n') : "")));
    packets.push_back({udp_packet(i, 20), kTime + i, i});
  }
  ImportReport report;
  const auto reader = imported(folder, {spill(folder / "many.pcapng", pcapng_of(interfaces, packets))}, &report);
  CHECK(report.members == 1);
  REQUIRE(report.warnings.size() == 1);
  CHECK_THAT(report.warnings[0], Contains("200 ends of interface names"));
  CHECK(reader->manifest().nodes.at(0).interfaces.size() == kMany);
  CHECK(reader->manifest().nodes.at(0).interfaces.at(100).name.size() == 255);
  packet::Buffer exported;
  const auto stats = export_capture(reader, {}, [&](std::span<const std::byte> bytes) -> Result<> {
    exported.insert(exported.end(), bytes.begin(), bytes.end());
    return {};
  });
  REQUIRE(stats);
  CHECK(stats->packets_written == kMany);
}

TEST_CASE("losses that a capture's statistics count are gaps", "[import]") {
  const TemporaryDirectory folder;
  const auto packets = some_packets(4, kTime, 2);
  const auto with_losses = [&](std::optional<uint64_t> first, std::optional<uint64_t> second) {
    packet::Buffer out;
    packet::append_section_header(out, "test");
    for (const char* name : {"eth0", "eth1"}) packet::append_interface(out, interface(name));
    for (const Stored& packet : packets) packet::append_packet(out, packet.view());
    for (const uint32_t number : {0, 1}) {
      packet::PcapngStatistics statistics;
      statistics.interface = number;
      statistics.received = 10;
      statistics.dropped = number == 0 ? first : second;
      packet::append_statistics(out, statistics);
    }
    return imported(folder, {spill(folder / "lossy.pcapng", as_text(out))});
  };
  const auto lossy = with_losses(1234, 0);
  const auto& node = lossy->manifest().nodes.at(0);
  CHECK(node.status == "partial");
  REQUIRE(node.gaps.size() == 1);
  CHECK(node.gaps[0].packets == 1234);
  CHECK(node.gaps[0].reason == to_string(GapReason::imported_loss));
  CHECK(node.losses_counted);
  CHECK(node.interfaces.at(0).dropped == 1234);
  CHECK(node.interfaces.at(1).dropped == 0);
  const auto half = with_losses(0, std::nullopt);
  CHECK(half->manifest().nodes.at(0).status == "complete");
  CHECK_FALSE(half->manifest().nodes.at(0).losses_counted);
  CHECK_FALSE(half->manifest().nodes.at(0).interfaces.at(1).dropped);
}

TEST_CASE("zeros behind gzip data are no damage, other bytes are", "[import]") {
  const TemporaryDirectory folder;
  const auto packets = some_packets(500);
  spill(folder / "a.pcap", pcap_of(packets));
  REQUIRE(run_shell(folder.path(),
                    "gzip -k a.pcap && for n in 1 3 700000; do { cat a.pcap.gz; head -c $n /dev/zero; } >zeros-$n.gz; done && "
                    "{ cat a.pcap.gz; echo garbage; } >text.gz && { cat zeros-3.gz; echo garbage; } >zeros-text.gz").status == 0);
  for (const char* name : {"zeros-1.gz", "zeros-3.gz", "zeros-700000.gz", "text.gz", "zeros-text.gz"}) {
    CAPTURE(name);
    const bool good = run_shell(folder.path(), fmt::format("gzip -t {}", name)).status == 0;
    ImportReport report;
    const auto reader = imported(folder, {folder / name}, &report);
    CHECK(report.packets == 500);
    CHECK(report.complete == good);
    CHECK(report.warnings.empty() == good);
  }
}
