#include <catch2/catch.hpp>

#include "exporter/fragment_table.hpp"
#include "lookback/base/time.hpp"
#include "unit/exporter/support/packets.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

struct Digested {
  PacketDigest digest;
  Fragment fragment;
};

Digested digested(const Bytes& data, uint16_t link_type = packet::link_type::kEthernet) {
  packet::PacketView seen;
  seen.data = view(data);
  seen.original_length = static_cast<uint32_t>(data.size());
  std::vector<Fragment> fragments;
  Digested one;
  one.digest = digest_of(link_type, seen, fragments);
  CHECK(one.digest.fragment == fragments.size());
  if (!fragments.empty()) one.fragment = fragments[0];
  return one;
}

Bytes v4(uint16_t id, bool first, uint16_t port = 4000, uint32_t source = 0x0a000001) {
  Ip ip{false, source, 0x0a000002};
  ip.id = id;
  ip.more_fragments = first;
  if (!first) ip.fragment_offset = 185;
  return ethernet_ip({}, first ? udp_packet(ip, {port, 53}, Bytes(1472, 'x'))
                               : ip_packet(ip, 17, Bytes(100, 'y')));
}

/// A fragment header (RFC 8200 4.5) in front of UDP, or of its middle.
Bytes v6(uint32_t id, bool first) {
  Bytes header = {17, 0, 0, first ? '\1' : '\0'};
  if (!first) header[2] = 5;
  for (int shift = 24; shift >= 0; shift -= 8) header += static_cast<char>(id >> shift & 0xff);
  Bytes udp = {0x0f, static_cast<char>(0xa0), 0, 53, 0, 100, 0, 0};
  return ethernet_ip({}, ip_packet({true}, 44, header + (first ? udp : Bytes(92, 'z'))));
}

}  // namespace

TEST_CASE("later fragments get the ports of the first", "[fragments]") {
  FragmentTable table;
  const bool six = GENERATE(false, true);
  const auto make = [&](uint32_t id, bool first) {
    return digested(six ? v6(id, first) : v4(static_cast<uint16_t>(id), first));
  };
  const Digested first = make(7, true);
  REQUIRE(first.fragment.first);
  REQUIRE(first.digest.source_port == 4000);
  table.learn(first.digest, first.fragment, 0, kNsPerSecond);
  Digested later = make(7, false);
  REQUIRE_FALSE(later.fragment.first);
  REQUIRE(later.digest.source_port == 0);
  SECTION("of the same datagram") {
    CHECK(table.resolve(later.digest, later.fragment, 0, kNsPerSecond - 5));
    CHECK(later.digest.source_port == 4000);
    CHECK(later.digest.destination_port == 53);
    CHECK(later.digest.protocol == 17);
  }
  SECTION("not of another identification") {
    Digested other = make(8, false);
    CHECK_FALSE(table.resolve(other.digest, other.fragment, 0, kNsPerSecond));
  }
  SECTION("not as another interface saw it") {
    CHECK_FALSE(table.resolve(later.digest, later.fragment, 1, kNsPerSecond));
  }
  SECTION("not when hosts have given it up") {
    CHECK_FALSE(table.resolve(later.digest, later.fragment, 0,
                              kNsPerSecond + FragmentTable::kReassemblyNs + 1));
  }
}

TEST_CASE("an identification that is used again is told apart by time", "[fragments]") {
  FragmentTable table;
  for (uint16_t use = 0; use < 6; ++use) {
    const Digested first = digested(v4(7, true, static_cast<uint16_t>(5000 + use)));
    table.learn(first.digest, first.fragment, 0, (1 + use) * kNsPerSecond);
  }
  for (uint16_t use = 2; use < 6; ++use) {
    Digested later = digested(v4(7, false));
    CHECK(table.resolve(later.digest, later.fragment, 0, (1 + use) * kNsPerSecond + 1000));
    CHECK(later.digest.source_port == 5000 + use);
  }
  CHECK(table.datagrams() == 1);
}

TEST_CASE("the fragment table is bounded, and counts what it forgets", "[fragments]") {
  FragmentTable table(100);
  for (uint16_t id = 0; id < 150; ++id) {
    const Digested first = digested(v4(id, true));
    table.learn(first.digest, first.fragment, 0, kNsPerSecond);
  }
  CHECK(table.datagrams() == 100);
  CHECK(table.evictions() == 50);
  Digested forgotten = digested(v4(3, false)), kept = digested(v4(149, false));
  CHECK_FALSE(table.resolve(forgotten.digest, forgotten.fragment, 0, kNsPerSecond));
  CHECK(table.resolve(kept.digest, kept.fragment, 0, kNsPerSecond));
}

TEST_CASE("fragments of a tunnel's packets belong to the flow inside", "[fragments]") {
  Ip outer{false, 0x0b000001, 0x0b000002};
  outer.id = 9;
  outer.more_fragments = true;
  const Digested first = digested(ethernet_ip(
      {}, vxlan_packet(outer, ethernet_ip({}, udp_packet({}, {4000, 53}, Bytes(1400, 'x'))))));
  REQUIRE(first.fragment.first);
  FragmentTable table;
  table.learn(first.digest, first.fragment, 0, 0);
  outer.more_fragments = false;
  outer.fragment_offset = 185;
  Digested later = digested(ethernet_ip({}, ip_packet(outer, 17, Bytes(60, 'y'))));
  REQUIRE(table.resolve(later.digest, later.fragment, 0, 0));
  CHECK(later.digest.source == first.digest.source);
  CHECK(later.digest.network == first.digest.network);
  CHECK(later.digest.source_port == 4000);
}
