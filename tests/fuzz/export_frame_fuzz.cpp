// A member's content that somebody else altered, through everything an export does with it: scanning, restamping, sorting,
// both output formats, looking for copies, flows and fragments.
#include "exporter/deduplicator.hpp"
#include "exporter/bytes.hpp"
#include "exporter/flow_table.hpp"
#include "exporter/fragment_table.hpp"
#include "exporter/frame_scanner.hpp"
#include "exporter/plan.hpp"
#include "lookback/packet/section_walker.hpp"

using namespace lookback;
using namespace lookback::exporter;

namespace {

constexpr int64_t kLatest = std::numeric_limits<int64_t>::max();

archive::Manifest make_manifest(uint64_t bytes) {
  archive::Manifest manifest;
  manifest.window = {0, kLatest};
  archive::NodeEntry& node = manifest.nodes.emplace_back();
  node.name = "n";
  node.status = "complete";
  node.interfaces = {{"eth0", 1, ""}, {"tun0", 101, ""}, {"any", 276, ""}};
  node.clock = {{1000, 500, 10, 0}, {2000, -500, 10, 0}};
  archive::MemberEntry& member = manifest.members.emplace_back();
  member.name = "nodes/n/packets/00000000.pcapng";
  member.node = "n";
  member.frames.push_back({1, bytes, 0, kLatest, bytes / epb::kSmallest + 1, ""});
  return manifest;
}

void check_records(const FrameBatch& batch, const Plan& plan) {
  LOOKBACK_CHECK(batch.keys.size() == batch.packets.size());
  LOOKBACK_CHECK(batch.digests.size() == batch.packets.size());
  for (size_t i = 0; i < batch.packets.size(); ++i) {
    const uint32_t start = batch.start_of(i), end = batch.packets[i].end;
    LOOKBACK_CHECK(start < end && end <= batch.bytes.size());
    const std::byte* const record = batch.bytes.data() + start;
    if (plan.format == Format::pcapng) {
      LOOKBACK_CHECK(load<uint32_t>(record + 4) == end - start);
      LOOKBACK_CHECK(load<uint32_t>(record + epb::kInterface) == batch.packets[i].interface);
    } else {
      LOOKBACK_CHECK(load<uint32_t>(record + 8) + pcap_record::kData == end - start);
    }
    if (i == 0) continue;
    const PacketRef &before = batch.packets[i - 1], &packet = batch.packets[i];
    LOOKBACK_CHECK(before.time_ns < packet.time_ns ||
                   (before.time_ns == packet.time_ns && before.interface <= packet.interface));
  }
}

/// Fragments find their datagrams, and whatever comes out of it is counted as flows.
void check_flows(FrameBatch& batch, const Plan& plan) {
  FragmentTable table(16);
  for (const bool learn : {true, false}) {
    for (size_t i = 0; i < batch.packets.size(); ++i) {
      PacketDigest& digest = batch.digests[i];
      LOOKBACK_CHECK(digest.fragment <= batch.fragments.size());
      if (digest.fragment == 0) continue;
      const Fragment& fragment = batch.fragments[digest.fragment - 1];
      const PacketRef& packet = batch.packets[i];
      if (learn && fragment.first) table.learn(digest, fragment, packet.interface, packet.time_ns);
      if (!learn && !fragment.first)
        (void)table.resolve(digest, fragment, packet.interface, packet.time_ns);
    }
  }
  const size_t middle = batch.packets.size() / 2;
  const auto part = copy_of(batch, middle, batch.packets.size());
  LOOKBACK_CHECK(part->packets.size() == batch.packets.size() - middle);
  for (const PacketDigest& digest : part->digests)
    LOOKBACK_CHECK(digest.fragment <= part->fragments.size());
  FlowTable flows(plan, 8);
  LOOKBACK_CHECK(flows.write(batch, 0, 0, middle).has_value());
  LOOKBACK_CHECK(flows.write(*part, 0, 0, part->packets.size()).has_value());
  uint64_t packets = 0;
  const auto told = flows.take();
  LOOKBACK_CHECK(told.has_value());
  for (const Flow& flow : *told) packets += flow.packets();
  LOOKBACK_CHECK(packets <= batch.packets.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const KeyedHash hash;
  if (size > 1 << 16) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  const archive::Manifest manifest = make_manifest(size);
  for (const Format format : {Format::pcapng, Format::pcap}) {
    ExportOptions options;
    options.dedup = true;
    options.align_clocks = size % 2 == 0;
    if (size % 3 == 0) options.filter = "tcp or arp";
    auto plan = make_plan(manifest, options);
    LOOKBACK_CHECK(plan.has_value());
    plan->format = format;
    plan->digests = true;
    const auto interfaces = read_member_interfaces(bytes, 0, *plan);
    if (!interfaces) return 0;
    FrameScanner scanner(*plan, &hash);
    FrameBatch batch;
    batch.bytes.assign(bytes.begin(), bytes.end());
    if (!scanner.scan(plan->units.at(0), *interfaces, batch)) return 0;
    check_records(batch, *plan);
    check_flows(batch, *plan);
    Deduplicator dedup({.max_sightings = 64, .payload_bytes = 4096});
    const uint32_t header = format == Format::pcap ? pcap_record::kData : epb::kData;
    for (size_t i = 0; i < batch.packets.size(); ++i) {
      const DedupKey& key = batch.keys[i];
      std::span<const std::byte> payload;
      if (key.kind == DedupKey::Kind::stream) {
        LOOKBACK_CHECK(header + key.payload_offset + key.length <= batch.packets[i].end - batch.start_of(i));
        payload = std::span(batch.bytes).subspan(batch.start_of(i) + header + key.payload_offset, key.length);
      }
      (void)dedup.is_copy(key, 0, batch.packets[i].interface, payload);
      dedup.forget_before(key.hub_ns - 1000);
    }
  }
  return 0;
}
