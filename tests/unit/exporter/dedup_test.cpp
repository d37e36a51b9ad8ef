#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "exporter/deduplicator.hpp"
#include "lookback/packet/packet.hpp"
#include "unit/exporter/support/packets.hpp"

using namespace lookback;
using namespace lookback::exporter;
using namespace lookback::exporter::testing;

namespace {

constexpr int64_t kMs = 1'000'000;

/// Feeds packets as the merger does. Interfaces 0-9 belong to node 0, 10-19 to node 1, and so on.
class Feed {
 public:
  explicit Feed(Deduplicator::Limits limits = {}) : dedup_(limits) {}

  /// True when the packet is kept.
  bool keeps(uint32_t interface, int64_t time_ns, const Bytes& data,
             uint16_t link_type = packet::link_type::kEthernet) {
    DedupKey key = make_dedup_key(hash_, link_type, view(data));
    key.hub_ns = time_ns;
    key.error_ns = error_ns;
    std::span<const std::byte> payload;
    if (key.kind == DedupKey::Kind::stream)
      payload = view(data).subspan(key.payload_offset, key.length);
    return !dedup_.is_copy(key, interface / 10, interface, payload);
  }
  Deduplicator& dedup() { return dedup_; }
  int64_t error_ns = 0;

 private:
  KeyedHash hash_;
  Deduplicator dedup_;
};

const Ethernet kLink;

Bytes segment(uint32_t from, uint32_t length, uint16_t id = 1, Tcp tcp = {}, Ip ip = {}) {
  tcp.sequence += from;
  ip.id = id;
  return ethernet_ip(kLink, tcp_packet(ip, tcp, stream_bytes(from, length)));
}

}  // namespace

TEST_CASE("a copy on another interface is dropped, whatever the way changed") {
  const bool v6 = GENERATE(false, true);
  Ip far;
  far.v6 = v6;
  Ip near = far;
  near.ttl = 61;
  const auto udp = [&](const Ip& ip, uint16_t checksum) {
    return udp_packet(ip, {}, "question", checksum);
  };
  Feed feed;
  REQUIRE(feed.keeps(
      0, 0,
      ethernet_ip({.source = 1, .destination = 2, .vlans = {}, .pad = false}, udp(far, 0x1111))));
  REQUIRE_FALSE(feed.keeps(1, 10,
                           ethernet_ip({.source = 3, .destination = 4, .vlans = {10}, .pad = false},
                                       udp(near, 0x2222))));
  REQUIRE_FALSE(feed.keeps(
      10, 20,
      ethernet_ip({.source = 5, .destination = 6, .vlans = {}, .pad = true}, udp(near, 0x3333))));
  REQUIRE_FALSE(feed.keeps(11, 30, udp(near, 0x3333), packet::link_type::kRaw));
  // The same interface again is a genuine repeat, and the others' repeats pair with it.
  REQUIRE(feed.keeps(0, 40, ethernet_ip(kLink, udp(far, 0x1111))));
  REQUIRE_FALSE(feed.keeps(1, 50, ethernet_ip(kLink, udp(near, 0x1111))));
  REQUIRE(feed.keeps(1, 60, ethernet_ip(kLink, udp(near, 0x1111))));
}

TEST_CASE("what differs in anything else is another packet") {
  Feed feed;
  int64_t time = 0;
  const auto keeps = [&](const Bytes& ip) {
    ++time;
    return feed.keeps(static_cast<uint32_t>(time % 2 * 10), time, ethernet_ip(kLink, ip));
  };
  REQUIRE(keeps(udp_packet({}, {}, "a")));
  REQUIRE(keeps(udp_packet({}, {}, "b")));
  REQUIRE(keeps(udp_packet({}, {}, "aa")));
  REQUIRE(keeps(udp_packet({.tos = 4}, {}, "a")));
  REQUIRE(keeps(udp_packet({.id = 2}, {}, "a")));
  REQUIRE(keeps(udp_packet({.source = 0x0a000009}, {}, "a")));  // translated by NAT
  REQUIRE(keeps(udp_packet({}, {.source = 1}, "a")));
  REQUIRE(keeps(udp_packet({.more_fragments = true}, {}, "a")));
  REQUIRE(keeps(udp_packet({.v6 = true}, {}, "a")));
  REQUIRE(keeps(ip_packet({}, 1, "a")));
}

TEST_CASE("sightings pair only within the clocks' error and the way between") {
  const Bytes data = ethernet_ip(kLink, udp_packet({}, {}, "x"));
  SECTION("one node") {
    Feed feed;
    feed.error_ns = 500 * kMs;  // one clock: its error does not matter
    REQUIRE(feed.keeps(0, 0, data));
    REQUIRE(feed.keeps(1, kTransitOnNodeNs + 1, data));
    REQUIRE_FALSE(feed.keeps(2, kTransitOnNodeNs, data));
  }
  SECTION("two nodes") {
    Feed feed;
    feed.error_ns = 5 * kMs;
    REQUIRE(feed.keeps(0, 0, data));
    REQUIRE_FALSE(feed.keeps(10, kTransitNs + 10 * kMs, data));
    REQUIRE(feed.keeps(20, kTransitNs + 10 * kMs + 1, data));
  }
  SECTION("the receiver's stamp may be the earlier one") {
    Feed feed;
    feed.error_ns = 5 * kMs;
    REQUIRE(feed.keeps(0, 10 * kMs, data));
    REQUIRE_FALSE(feed.keeps(10, 0, data));
  }
}

TEST_CASE("a segment sent again survives, also where the first one was lost on the way") {
  Feed feed;
  const Bytes first = segment(0, 1000, 1), again = segment(0, 1000, 2);
  REQUIRE(feed.keeps(0, 0, first));
  REQUIRE(feed.keeps(0, 40 * kMs, again));
  REQUIRE_FALSE(feed.keeps(10, 50 * kMs, again));
  SECTION("and a repeat with nothing that tells them apart") {
    const Bytes ack = ethernet_ip(kLink, tcp_packet({.id = 0}, {}, ""));
    REQUIRE(feed.keeps(0, 60 * kMs, ack));
    REQUIRE(feed.keeps(0, 61 * kMs, ack));
    REQUIRE_FALSE(feed.keeps(10, 90 * kMs, ack));
  }
}

TEST_CASE("repeats pair in order, one to one") {
  Feed feed;
  const Bytes ack = ethernet_ip(kLink, tcp_packet({.id = 0}, {}, ""));
  SECTION("three duplicate acknowledgments on two interfaces stay three") {
    int kept = 0;
    for (int i = 0; i < 3; ++i) kept += feed.keeps(0, i, ack);
    for (int i = 0; i < 3; ++i) kept += feed.keeps(10, 100 + i, ack);
    REQUIRE(kept == 3);
  }
  SECTION("an interface that saw more adds what it saw more") {
    int kept = 0;
    for (int i = 0; i < 2; ++i) kept += feed.keeps(0, i, ack);
    for (int i = 0; i < 5; ++i) kept += feed.keeps(10, 100 + i, ack);
    for (int i = 0; i < 4; ++i) kept += feed.keeps(20, 200 + i, ack);
    REQUIRE(kept == 5);
  }
  SECTION("alternating") {
    int kept = 0;
    for (int i = 0; i < 100; ++i) {
      kept += feed.keeps(0, i * 10, ack);
      kept += feed.keeps(10, i * 10 + 5, ack);
    }
    REQUIRE(kept == 100);
  }
}

TEST_CASE("packets without IP") {
  Feed feed;
  REQUIRE(feed.keeps(0, 0, ethernet_frame(kLink, 0x0806, arp_request(1, 2))));
  REQUIRE_FALSE(
      feed.keeps(10, 1,
                 ethernet_frame({.source = 9, .destination = 8, .vlans = {7}, .pad = true}, 0x0806,
                                arp_request(1, 2))));
  REQUIRE(feed.keeps(10, 2, ethernet_frame(kLink, 0x0806, arp_request(1, 3))));
  // LLDP: who sent it stands in the link layer.
  REQUIRE(feed.keeps(0, 3, ethernet_frame(kLink, 0x88cc, "neighbour")));
  REQUIRE_FALSE(feed.keeps(1, 4,
                           ethernet_frame({.source = 1, .destination = 2, .vlans = {}, .pad = true},
                                          0x88cc, "neighbour")));
  REQUIRE(feed.keeps(2, 5,
                     ethernet_frame({.source = 7, .destination = 2, .vlans = {}, .pad = false},
                                    0x88cc, "neighbour")));
}

TEST_CASE("tunnels: the outer packet and the inner one are two, a routed outer packet is one") {
  Feed feed;
  const Bytes inner = ethernet_ip(kLink, tcp_packet({}, {}, "payload", 0x1));
  const Bytes inner_checked = ethernet_ip(kLink, tcp_packet({}, {}, "payload", 0x2));
  const Ip outer{.source = 0xc0a80001, .destination = 0xc0a80002};
  Ip routed = outer;
  routed.ttl = 63;
  REQUIRE(feed.keeps(0, 0, inner));
  REQUIRE(feed.keeps(1, 1, ethernet_ip(kLink, vxlan_packet(outer, inner))));
  REQUIRE_FALSE(feed.keeps(10, 2, ethernet_ip(kLink, vxlan_packet(routed, inner_checked))));
  REQUIRE_FALSE(feed.keeps(11, 3, inner_checked));
}

TEST_CASE("a super-packet answers for the segments cut from it") {
  Feed feed;
  REQUIRE(feed.keeps(0, 0, segment(0, 5000, 7, {.flags = 0x18})));
  for (uint32_t from = 0; from < 5000; from += 1000) {
    const uint8_t flags = from == 4000 ? 0x18 : 0x10;
    REQUIRE_FALSE(
        feed.keeps(10, 100 + from,
                   segment(from, 1000, static_cast<uint16_t>(7 + from / 1000), {.flags = flags})));
  }
  // The receiver sees one of them again: a retransmission.
  REQUIRE(feed.keeps(10, 6000, segment(1000, 1000, 99)));
  // A third interface claims for itself; the segment kept above is its own packet.
  REQUIRE_FALSE(feed.keeps(20, 7000, segment(0, 2500, 7)));
  REQUIRE_FALSE(feed.keeps(20, 7001, segment(2500, 2500, 9)));
  REQUIRE_FALSE(feed.keeps(20, 7002, segment(1000, 1000, 99)));
  REQUIRE(feed.keeps(20, 7003, segment(1000, 1000, 99)));
}

TEST_CASE("segments together answer for a super-packet") {
  Feed feed;
  for (uint32_t from = 0; from < 5000; from += 1000)
    REQUIRE(feed.keeps(0, from, segment(from, 1000)));
  SECTION("of their whole range") {
    REQUIRE_FALSE(feed.keeps(10, 9000, segment(0, 5000)));
    REQUIRE(feed.keeps(10, 9001, segment(0, 5000)));
  }
  SECTION("cut elsewhere") {
    REQUIRE_FALSE(feed.keeps(10, 9000, segment(0, 3500)));
    REQUIRE_FALSE(feed.keeps(10, 9001, segment(3500, 1500)));
  }
  SECTION("not where a byte is missing") {
    REQUIRE(feed.keeps(10, 9000, segment(0, 5001)));
    REQUIRE(feed.keeps(10, 9001, segment(5000, 1)));
  }
}

TEST_CASE("segments of one stream that are no copies") {
  Feed feed;
  REQUIRE(feed.keeps(0, 0, segment(0, 5000)));
  SECTION("other bytes") {
    Tcp tcp;
    REQUIRE(feed.keeps(10, 1, ethernet_ip(kLink, tcp_packet({}, tcp, Bytes(1000, 'x')))));
  }
  SECTION("another acknowledgment, window or time stamp") {
    REQUIRE(feed.keeps(10, 1, segment(0, 1000, 1, {.acknowledgment = 5001})));
    REQUIRE(feed.keeps(10, 2, segment(0, 1000, 1, {.window = 502})));
    REQUIRE(feed.keeps(10, 3, segment(0, 1000, 1, {.timestamp = 8})));
  }
  SECTION("another connection") {
    REQUIRE(feed.keeps(10, 1, segment(0, 1000, 1, {.source = 40001})));
    REQUIRE(feed.keeps(10, 2, segment(0, 1000, 1, {}, {.source = 0x0a000009})));
  }
  SECTION("a FIN that the super-packet does not have") {
    REQUIRE(feed.keeps(10, 1, segment(4000, 1000, 1, {.flags = 0x11})));
  }
  SECTION("too late") {
    REQUIRE(feed.keeps(10, kTransitNs + 1, segment(0, 1000)));
  }
  SECTION("the interface's own") {
    REQUIRE(feed.keeps(0, 1, segment(0, 1000)));
  }
  SECTION("equal range, another packet") {
    REQUIRE(feed.keeps(10, 1, segment(0, 5000, 2)));
  }
}

TEST_CASE("a FIN goes with the end of its super-packet") {
  Feed feed;
  REQUIRE(feed.keeps(0, 0, segment(0, 2000, 1, {.flags = 0x19})));
  REQUIRE_FALSE(feed.keeps(10, 1, segment(0, 1000, 1, {.flags = 0x10})));
  REQUIRE(feed.keeps(20, 1, segment(1000, 1000, 2, {.flags = 0x10})));
  REQUIRE_FALSE(feed.keeps(10, 2, segment(1000, 1000, 2, {.flags = 0x19})));
}

TEST_CASE("sequence numbers wrap inside a super-packet") {
  Feed feed;
  Tcp tcp;
  tcp.sequence = UINT32_MAX - 20000;
  REQUIRE(feed.keeps(0, 0, segment(0, 60000, 1, tcp)));
  for (uint32_t from = 0; from < 60000; from += 1000)
    REQUIRE_FALSE(feed.keeps(10, 1, segment(from, 1000, 1, tcp)));
}

TEST_CASE("a flood of equal packets costs no more than others, and pairs") {
  Feed feed;
  const Bytes data = ethernet_ip(kLink, udp_packet({.id = 0}, {}, "flood"));
  int kept = 0;
  constexpr int kPackets = 100'000;
  for (int i = 0; i < kPackets; ++i) {
    kept += feed.keeps(0, i, data);
    kept += feed.keeps(10, i, data);
  }
  REQUIRE(kept == kPackets);
}

TEST_CASE("bounds are held, counted, and err on the side of keeping") {
  SECTION("sightings") {
    Feed feed({.max_sightings = 10, .payload_bytes = 1 << 20});
    for (int i = 0; i < 30; ++i)
      REQUIRE(feed.keeps(
          0, i, ethernet_ip(kLink, udp_packet({.id = static_cast<uint16_t>(i)}, {}, "x"))));
    REQUIRE(feed.dedup().remembered() == 10);
    REQUIRE(feed.dedup().evictions() == 20);
    REQUIRE(feed.keeps(10, 31, ethernet_ip(kLink, udp_packet({.id = 0}, {}, "x"))));
    REQUIRE_FALSE(feed.keeps(10, 32, ethernet_ip(kLink, udp_packet({.id = 29}, {}, "x"))));
  }
  SECTION("payload") {
    Feed feed({.max_sightings = 1000, .payload_bytes = 10'000});
    REQUIRE(feed.keeps(0, 0, segment(0, 6000)));
    REQUIRE(feed.keeps(0, 0, segment(6000, 6000)));
    REQUIRE(feed.keeps(10, 1, segment(0, 1000)));
    REQUIRE_FALSE(feed.keeps(10, 1, segment(6000, 1000)));
    REQUIRE(feed.dedup().evictions() == 1);
    REQUIRE_FALSE(feed.keeps(20, 1, segment(0, 6000)));  // whole, it needs no payload
    REQUIRE(feed.keeps(0, 2, segment(20'000, 20'000)));  // larger than all that can be remembered
    REQUIRE(feed.keeps(10, 2, segment(20'000, 10)));
  }
  SECTION("what is over is forgotten without being counted") {
    Feed feed;
    for (int i = 0; i < 1000; ++i) {
      (void)feed.keeps(static_cast<uint32_t>(i % 2 * 10), i * kMs,
                       segment(static_cast<uint32_t>(i) * 700, 1400));
      (void)feed.keeps(0, i * kMs,
                       ethernet_ip(kLink, udp_packet({.id = static_cast<uint16_t>(i)}, {}, "x")));
      feed.dedup().forget_before((i - 5) * kMs);
      REQUIRE(feed.dedup().remembered() <= 12);
    }
    REQUIRE(feed.dedup().evictions() == 0);
  }
}

// Random sightings of random packets: for every interface, the packets that it saw can be told
// apart one by one among those that were kept, so nothing that was recorded is lost; and what every
// interface saw is kept once.
TEST_CASE("dropping never removes the only sighting") {
  const unsigned seed = GENERATE(range(1U, 30U));
  std::mt19937 random(seed);
  const auto pick = [&](int most) {
    return static_cast<int>(random() % static_cast<unsigned>(most));
  };
  Feed feed;
  feed.error_ns = kMs;
  std::map<Bytes, std::map<uint32_t, int>> seen;
  std::map<Bytes, int> kept;
  bool lossless = seed % 2 == 0;
  for (int64_t event = 0; event < 500; ++event) {
    const int64_t time = event * kMs / 10;
    const auto id = static_cast<uint16_t>(pick(20));
    const Bytes ip =
        pick(2) == 0 ? udp_packet({.id = id}, {}, "x")
                     : tcp_packet({.id = id}, {.sequence = id * 100U}, pick(2) == 0 ? "" : "data");
    for (const uint32_t interface : {0U, 1U, 10U, 20U}) {
      if (!lossless && pick(3) == 0) continue;  // not recorded there
      ++seen[ip][interface];
      if (feed.keeps(interface, time + pick(static_cast<int>(kMs)), ethernet_ip(kLink, ip)))
        ++kept[ip];
    }
  }
  for (const auto& [packet, by_interface] : seen) {
    int most = 0;
    for (const auto& [interface, count] : by_interface) most = std::max(most, count);
    REQUIRE(kept[packet] >= most);
    if (lossless) REQUIRE(kept[packet] == most);
  }
}

// One stream, segmented anew on each interface: every byte that any interface saw is among the kept
// packets.
TEST_CASE("no byte of a stream is lost") {
  const unsigned seed = GENERATE(range(1U, 40U));
  std::mt19937 random(seed);
  struct Segment {
    uint32_t interface, from, length;
  };
  constexpr uint32_t kLength = 40'000;
  std::vector<Segment> segments;
  std::map<uint32_t, std::vector<int>> sent;
  for (const uint32_t interface : {0U, 10U, 20U}) {
    sent[interface].resize(kLength);
    for (uint32_t from = 0; from < kLength;) {
      const uint32_t length = std::min<uint32_t>(
          kLength - from, random() % 3 == 0 ? 1 + static_cast<uint32_t>(random() % 9000) : 1000);
      const bool lost = random() % 20 == 0;
      const int times = lost ? 0 : random() % 20 == 0 ? 2 : 1;
      for (int i = 0; i < times; ++i) {
        segments.push_back({interface, from, length});
        for (uint32_t byte = from; byte < from + length; ++byte) ++sent[interface][byte];
      }
      from += length;
    }
  }
  std::stable_sort(segments.begin(), segments.end(),
                   [](const Segment& a, const Segment& b) { return a.from < b.from; });
  Feed feed;
  std::vector<int> kept(kLength);
  for (const Segment& segment_seen : segments) {
    if (!feed.keeps(segment_seen.interface, 0, segment(segment_seen.from, segment_seen.length)))
      continue;
    for (uint32_t byte = segment_seen.from; byte < segment_seen.from + segment_seen.length; ++byte)
      ++kept[byte];
  }
  for (uint32_t byte = 0; byte < kLength; ++byte) {
    int most = 0;
    for (const auto& [interface, counts] : sent) most = std::max(most, counts[byte]);
    REQUIRE(kept[byte] >= most);
  }
}

TEST_CASE("the hash depends on every byte and on where the header ends") {
  const KeyedHash hash;
  Bytes text(100, 'a');
  const uint64_t whole = hash(view(text).first(50), view(text).subspan(50));
  REQUIRE(whole == hash(view(text).first(50), view(text).subspan(50)));
  REQUIRE(whole != hash(view(text).first(49), view(text).subspan(49)));
  for (char& byte : text) {
    byte ^= 1;
    REQUIRE(whole != hash(view(text).first(50), view(text).subspan(50)));
    byte ^= 1;
  }
  REQUIRE(KeyedHash()(view(text), {}) != KeyedHash()(view(text), {}));
}

TEST_CASE("cut and broken packets have a key or none, and are read inside their bounds") {
  const KeyedHash hash;
  for (const Bytes& whole : {segment(0, 100), ethernet_ip(kLink, vxlan_packet({}, segment(0, 50))),
                             ethernet_frame(kLink, 0x0806, arp_request(1, 2))}) {
    for (size_t length = 0; length <= whole.size(); ++length) {
      const std::vector<std::byte> exact(view(whole).begin(),
                                         view(whole).begin() + static_cast<ptrdiff_t>(length));
      const DedupKey key = make_dedup_key(hash, packet::link_type::kEthernet, exact);
      if (key.kind == DedupKey::Kind::stream) REQUIRE(key.payload_offset + key.length <= length);
    }
  }
}
