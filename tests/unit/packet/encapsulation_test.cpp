// Every way in which a packet carries another: the inner addresses are found, or it is said that they may be missing.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "lookback/packet/network_filter.hpp"
#include "lookback/packet/pcapng.hpp"
#include "lookback/packet/summary.hpp"
#include "unit/packet/support/build.hpp"
#include "unit/packet/support/capture_files.hpp"
#include "unit/packet/support/carriers.hpp"

using namespace lookback;
using namespace lookback::packet;
using namespace lookback::packet::testing;

namespace {

std::set<std::string> addresses_of(const Headers& headers) {
  std::set<std::string> found;
  for (size_t i = 0; i < headers.ip_count; ++i) {
    found.insert(headers.ip[i].source.to_string());
    found.insert(headers.ip[i].destination.to_string());
  }
  for (size_t i = 0; i < headers.mentioned_count; ++i) {
    found.insert(headers.mentioned[i].source.to_string());
    found.insert(headers.mentioned[i].destination.to_string());
  }
  return found;
}

IpAddress ip(std::string_view text) {
  return IpAddress::parse(text).value();
}

}  // namespace

TEST_CASE("the inner addresses are found in every carrier") {
  for (const Carrier& carrier : carriers()) {
    CAPTURE(carrier.name);
    const Headers headers = decode(carrier.link_type, view(carrier.data));
    CHECK(addresses_of(headers).count(std::string(carrier.inner)) == 1);
    CHECK(describe(headers.unread) == describe(Unread::nothing));
    const NetworkFilter filter({Cidr{ip(carrier.inner), 128}}), other({Cidr{ip("203.0.113.77"), 128}});
    CHECK(filter.ask(carrier.link_type, view(carrier.data)).keep);
    CHECK_FALSE(other.ask(carrier.link_type, view(carrier.data)).keep);
    SummaryBuilder builder;
    builder.add(carrier.link_type, view(carrier.data));
    const Summary summary = Summary::parse(builder.take().to_text()).value();
    const Cidr network{ip(carrier.inner), 128};
    CHECK(Prefilter::of_networks({&network, 1}).may_match(summary));
  }
}

TEST_CASE("a carrier that is cut anywhere shows the inner address or says that it may be missing") {
  for (const Carrier& carrier : carriers()) {
    for (size_t length = 0; length < carrier.data.size(); ++length) {
      CAPTURE(carrier.name, length);
      const Bytes part = carrier.data.substr(0, length);
      const auto copy = std::make_unique<char[]>(length);
      std::copy_n(part.data(), length, copy.get());
      const auto data = std::as_bytes(std::span<const char>(copy.get(), length));
      const Headers headers = decode(carrier.link_type, data);
      if (addresses_of(headers).count(std::string(carrier.inner)) == 0 && headers.unread == Unread::nothing)
        FAIL("lost");
      SummaryBuilder builder;
      builder.add(carrier.link_type, data);
      const Cidr network{ip(carrier.inner), 128};
      if (!Prefilter::of_networks({&network, 1}).may_match(builder.take())) FAIL("pruned");
    }
  }
}

TEST_CASE("tshark finds no address that the decoder does not") {
  const auto path =
      std::filesystem::temp_directory_path() / ("lookback-carriers-" + std::to_string(getpid()) + ".pcapng");
  Buffer file;
  append_section_header(file, "test");
  for (const Carrier& carrier : carriers()) {
    PcapngInterface interface;
    interface.name = carrier.name;
    interface.link_type = carrier.link_type;
    append_interface(file, interface);
  }
  for (size_t i = 0; i < carriers().size(); ++i) {
    PacketView packet;
    packet.time_ns = 1'700'000'000'000'000'000 + static_cast<int64_t>(i);
    packet.data = view(carriers()[i].data);
    packet.original_length = static_cast<uint32_t>(packet.data.size());
    packet.interface = static_cast<uint32_t>(i);
    append_packet(file, packet);
  }
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  const auto text = output_of("tshark -n -r " + path.string() +
                              " -T fields -E separator=, -e ip.addr -e ipv6.addr 2>/dev/null");
  std::filesystem::remove(path);
  if (!text) {
    WARN("tshark is not installed: nothing was compared");
    return;
  }
  std::istringstream lines(*text);
  size_t compared = 0;
  for (std::string line; std::getline(lines, line); ++compared) {
    REQUIRE(compared < carriers().size());
    const Carrier& carrier = carriers()[compared];
    CAPTURE(carrier.name);
    const Headers headers = decode(carrier.link_type, view(carrier.data));
    const auto ours = addresses_of(headers);
    bool has_inner = false;
    std::istringstream fields(line);
    for (std::string one; std::getline(fields, one, ',');) {
      if (one.empty()) continue;
      has_inner = has_inner || one == carrier.inner;
      CAPTURE(one);
      CHECK((ours.count(one) == 1 || headers.unread != Unread::nothing));
    }
    if (carrier.tshark_knows) CHECK(has_inner);
  }
  CHECK(compared == carriers().size());
}

TEST_CASE("what is kept without being read is told by reason") {
  UnreadCounts counts{};
  CHECK(describe(counts).empty());
  counts[static_cast<size_t>(Unread::encrypted)] = 2;
  counts[static_cast<size_t>(Unread::cut)] = 1;
  CHECK(describe(counts) ==
        "3 packets were kept although their addresses could not all be read: 2 encrypted or compressed, 1 cut short");
}

TEST_CASE("networks are held against every address") {
  const Bytes frame = ethernet(0x0800, ipv4("10.9.0.1", "10.9.0.3", 6, tcp(1, 2)));
  const auto keeps = [&](const std::vector<std::string>& networks) {
    const auto filter = NetworkFilter::parse(networks);
    REQUIRE(filter);
    const auto answer = filter->ask(link_type::kEthernet, view(frame));
    CHECK(answer.unread == Unread::nothing);
    return answer.keep;
  };
  CHECK(keeps({}));
  CHECK(keeps({"10.9.0.1"}));
  CHECK(keeps({"10.9.0.3/32"}));
  CHECK(keeps({"192.168.0.0/16", "10.0.0.0/8"}));
  CHECK_FALSE(keeps({"10.9.0.2"}));
  CHECK_FALSE(keeps({"::/64"}));
  CHECK_FALSE(NetworkFilter::parse({"10.9.0.1/8"}));
  const NetworkFilter filter({Cidr::parse("10.9.0.1").value()});
  const Bytes secret = ethernet(0x0800, ipv4("1.1.1.1", "2.2.2.2", 50, Bytes(40, 'x')));
  CHECK(filter.ask(link_type::kEthernet, view(secret)).keep);
  CHECK(filter.ask(link_type::kEthernet, view(secret)).unread == Unread::encrypted);
}
