#include <catch2/catch.hpp>

#include "lookback/base/fd.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"
#include "unit/support/files.hpp"
#include "unit/support/skip.hpp"
#include "unit/support/temporary_directory.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;
using test::TemporaryDirectory;

namespace {

struct Sample {
  std::vector<Bytes> data;
  std::vector<PacketView> packets;
};

/// Packets of every padding, with and without flags, some of them cut.
const Sample& sample() {
  static const Sample kSample = [] {
    Sample made;
    for (size_t i = 0; i < 40; ++i)
      made.data.push_back(
          ethernet(0x0800, ipv4("10.0.0.1", "10.0.0.2", 6, tcp(1, 2, Bytes(i, 'x')))));
    for (size_t i = 0; i < made.data.size(); ++i) {
      PacketView packet;
      packet.time_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i) * 1'234'567;
      packet.data = view(made.data[i]);
      packet.original_length = static_cast<uint32_t>(made.data[i].size() + (i % 5 == 0 ? 1000 : 0));
      packet.interface = i % 2;
      packet.direction = static_cast<Direction>(i % 3);
      packet.reception = static_cast<Reception>(i % 3 == 0 ? 0 : i % 5);
      made.packets.push_back(packet);
    }
    return made;
  }();
  return kSample;
}

const PcapngInterface kEth0{"eth0", "node web-1", link_type::kEthernet, 0, "port 80", "Linux"};
const PcapngInterface kEth1{"eth1", "", link_type::kEthernet, 262144, "", ""};

Buffer write_pcapng() {
  Buffer out;
  append_section_header(out, "Lookback test", "a comment");
  append_interface(out, kEth0);
  append_interface(out, kEth1);
  for (const PacketView& packet : sample().packets) append_packet(out, packet);
  PcapngStatistics statistics;
  statistics.interface = 1;
  statistics.time_ns = 1'700'000'001'000'000'000;
  statistics.start_ns = 1'700'000'000'000'000'000;
  statistics.end_ns = statistics.time_ns;
  statistics.received = 50;
  statistics.dropped = 7;
  append_statistics(out, statistics);
  return out;
}

std::string expected_fields() {
  std::string text;
  for (const PacketView& packet : sample().packets)
    text += fmt::format("{}.{:09}\t{}\t{}\n", packet.time_ns / 1'000'000'000,
                        packet.time_ns % 1'000'000'000, packet.original_length, packet.data.size());
  return text;
}

}  // namespace

TEST_CASE("the size of a packet block is known before it is written") {
  for (const PacketView& packet : sample().packets) {
    Buffer out;
    append_packet(out, packet);
    Buffer written(packet_block_size(packet));
    write_packet(written.data(), packet);
    CHECK(std::equal(written.begin(), written.end(), out.end() - static_cast<ptrdiff_t>(written.size())));
    const bool flags =
        packet.direction != Direction::unknown || packet.reception != Reception::unspecified;
    CHECK(out.size() == packet_block_size(packet.data.size(), flags));
  }
}

TEST_CASE("what is written is read") {
  const Buffer file = write_pcapng();
  for (const size_t chunk : {size_t{1}, size_t{7}, SIZE_MAX}) {
    const Outcome outcome = read_all(file, chunk);
    CHECK(outcome.error.empty());
    REQUIRE(outcome.interfaces.size() == 2);
    CHECK(outcome.interfaces[0] == kEth0);
    CHECK(outcome.interfaces[1] == kEth1);
    REQUIRE(outcome.packets.size() == sample().packets.size());
    for (size_t i = 0; i < outcome.packets.size(); ++i) {
      const PacketView& written = sample().packets[i];
      const Read& read = outcome.packets[i];
      REQUIRE(read.view.time_ns == written.time_ns);
      REQUIRE(read.data == sample().data[i]);
      REQUIRE(read.view.original_length == written.original_length);
      REQUIRE(read.view.interface == written.interface);
      REQUIRE(read.view.direction == written.direction);
      REQUIRE(read.view.reception == written.reception);
    }
  }
}

TEST_CASE("packet comments are written, cut where an option ends") {
  const std::string long_comment = std::string(65534, 'c') + "é";
  const std::vector<std::string> comments = {"pod web-1", long_comment};
  for (const Direction direction : {Direction::unknown, Direction::outbound}) {
    Buffer out;
    append_section_header(out, "t");
    append_interface(out, kEth0);
    PacketView packet = sample().packets[1];
    packet.direction = direction;
    packet.reception = Reception::unspecified;
    packet.interface = 0;
    append_packet(out, packet, comments);
    append_packet(out, packet, std::span(comments).subspan(1));
    const Outcome outcome = read_all(out);
    CHECK(outcome.error.empty());
    REQUIRE(outcome.packets.size() == 2);
    CHECK(outcome.packets[0].comment == "pod web-1");
    CHECK(outcome.packets[0].view.direction == direction);
    CHECK(outcome.packets[1].comment == std::string(65534, 'c'));
  }
}

TEST_CASE("times that a format cannot say are clamped") {
  PacketView packet;
  packet.time_ns = -5;
  Buffer out;
  append_section_header(out, "t");
  append_interface(out, {});
  append_packet(out, packet);
  REQUIRE(read_all(out).packets.at(0).view.time_ns == 0);
  Buffer pcap;
  append_pcap_header(pcap, 1, 0);
  append_pcap_record(pcap, packet);
  packet.time_ns = INT64_MAX;
  append_pcap_record(pcap, packet);
  const Outcome outcome = read_all(pcap);
  REQUIRE(outcome.packets.size() == 2);
  CHECK(outcome.packets[0].view.time_ns == 0);
  CHECK(outcome.packets[1].view.time_ns == 4294967295'999999999);
  CHECK(outcome.interfaces.at(0).snaplen == 262144);
}

TEST_CASE("tshark and capinfos read the same from our files") {
  Buffer pcap;
  append_pcap_header(pcap, link_type::kEthernet, 0);
  for (const PacketView& packet : sample().packets) append_pcap_record(pcap, packet);
  Buffer pcapng = write_pcapng();
  append_decryption_secrets(pcapng, 0x544c534b, "CLIENT_RANDOM 00 11\n");
  const TemporaryDirectory directory;
  const std::pair<const char*, const Buffer*> files[] = {{"a.pcap", &pcap}, {"a.pcapng", &pcapng}};
  for (const auto& [name, bytes] : files) {
    CAPTURE(name);
    const std::string path = test::spill(directory / name, as_text(*bytes));
    const auto fields = output_of("tshark -n -r " + path +
                                  " -T fields -e frame.time_epoch -e frame.len -e frame.cap_len");
    const auto info = output_of("capinfos -c -E -M -T -r " + path);
    if (!fields || !info) {
      test::note_skip("tshark is not installed");
      return;
    }
    CHECK(*fields == expected_fields());
    CHECK(info->find("\t40") != std::string::npos);
  }
}

TEST_CASE("tshark sees names, directions and comments") {
  Buffer out = write_pcapng();
  const std::vector<std::string> comments = {"pod web-1"};
  append_packet(out, sample().packets[1], comments);
  const TemporaryDirectory directory;
  const std::string path = test::spill(directory / "b.pcapng", as_text(out));
  const auto fields =
      output_of("tshark -n -r " + path +
                " -T fields -E separator=, -e frame.interface_name -e frame.interface_description"
                " -e frame.packet_flags_direction -e frame.comment");
  if (!fields) {
    test::note_skip("tshark is not installed");
    return;
  }
  CHECK(fields->starts_with("eth0,node web-1,,\neth1,,0x00000001,\neth0,node web-1,0x00000002,\n"));
  CHECK(fields->ends_with("eth1,,0x00000001,pod web-1\n"));
}
