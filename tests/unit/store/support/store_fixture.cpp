#include "unit/store/support/store_fixture.hpp"

#include <linux/if_packet.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <set>

#include "lookback/store/file_names.hpp"

namespace lookback::store::testing {

namespace fs = std::filesystem;

TestPacket marked_packet(uint16_t mark, uint16_t number, size_t bytes, int64_t time_ns) {
  TestPacket packet;
  packet.time_ns = time_ns;
  packet.data.resize(bytes);
  const uint16_t pattern[2] = {mark, number};
  for (size_t i = 0; i < bytes; ++i)
    packet.data[i] = reinterpret_cast<const std::byte*>(pattern)[i % 4];
  packet.original_length = static_cast<uint32_t>(bytes);
  return packet;
}

TestBlock kernel_block(const std::vector<TestPacket>& packets, uint32_t capacity, Tag tag,
                       uint16_t hardware_type) {
  TestBlock made;
  made.memory.reserve(capacity);
  made.block = made.memory.span(capacity);
  std::memset(made.block.data(), 0xEE, made.block.size());  // what the ring had before
  made.info.kind = BlockKind::kernel;
  made.info.first_packet = block_reserve(capacity);
  made.info.packets = static_cast<uint32_t>(packets.size());
  made.info.first_ns = packets.empty() ? 0 : packets.front().time_ns;
  made.info.last_ns = packets.empty() ? 0 : packets.back().time_ns;
  uint64_t at = made.info.first_packet;
  constexpr uint32_t kMac = 82;
  for (size_t i = 0; i < packets.size(); ++i) {
    const TestPacket& packet = packets[i];
    const uint64_t length = kMac + packet.data.size();
    const uint64_t step = round_up(length, 8);
    REQUIRE(at + step <= capacity);
    tpacket3_hdr header{};
    header.tp_next_offset = static_cast<uint32_t>(step);
    header.tp_sec = static_cast<uint32_t>(packet.time_ns / kNsPerSecond);
    header.tp_nsec = static_cast<uint32_t>(packet.time_ns % kNsPerSecond);
    header.tp_snaplen = static_cast<uint32_t>(packet.data.size());
    header.tp_len = packet.original_length;
    header.tp_mac = kMac;
    header.tp_net = kMac + 14;
    header.tp_status = TP_STATUS_USER;
    if (tag.present) {
      header.tp_status |= TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
      header.hv1.tp_vlan_tci = tag.tci;
      header.hv1.tp_vlan_tpid = tag.tpid;
    }
    sockaddr_ll address{};
    address.sll_ifindex = static_cast<int>(packet.interface);
    address.sll_hatype = hardware_type;
    address.sll_pkttype = PACKET_HOST;
    std::memset(made.block.data() + at, 0, kMac);
    std::memcpy(made.block.data() + at, &header, sizeof header);
    std::memcpy(made.block.data() + at + 48, &address, sizeof address);
    std::memcpy(made.block.data() + at + kMac, packet.data.data(), packet.data.size());
    at += step;
  }
  made.info.used_bytes = static_cast<uint32_t>(at);
  return made;
}

TestBlock compact_block(const std::vector<TestPacket>& packets, uint32_t capacity) {
  TestBlock made;
  made.memory.reserve(capacity);
  std::memset(made.memory.data(), 0xEE, made.memory.size());
  CompactBlock builder(made.memory.span(capacity));
  for (const TestPacket& packet : packets) {
    packet::PacketView view;
    view.time_ns = packet.time_ns;
    view.data = packet.data;
    view.original_length = packet.original_length;
    view.interface = packet.interface;
    view.direction = packet.direction;
    view.reception = packet.reception;
    REQUIRE(builder.append(view));
  }
  const auto finished = builder.finish();
  made.block = finished.block;
  made.info = finished.info;
  return made;
}

ReadResult read_all(RunReader& reader) {
  ReadResult result;
  for (;;) {
    const auto next = reader.next();
    REQUIRE(next);
    if (!*next) break;
    const packet::PacketView& view = **next;
    result.packets.push_back({view.time_ns,
                              {view.data.begin(), view.data.end()},
                              view.original_length,
                              view.interface,
                              view.direction,
                              view.reception});
  }
  result.interfaces = reader.interfaces();
  result.damaged_blocks = reader.damaged_blocks();
  result.damage = reader.damage();
  return result;
}

ReadResult read_freeze(const Store& store, const Freeze& freeze) {
  ReadResult all;
  for (size_t i = 0; i < freeze.runs.size(); ++i) {
    auto reader = store.read_run(freeze.id, i);
    if (!reader && reader.error().kind == ErrorKind::not_found) continue;
    REQUIRE(reader);
    ReadResult run = read_all(**reader);
    all.packets.insert(all.packets.end(), run.packets.begin(), run.packets.end());
    all.damage.insert(all.damage.end(), run.damage.begin(), run.damage.end());
    all.damaged_blocks += run.damaged_blocks;
    all.interfaces = run.interfaces;
  }
  return all;
}

std::unique_ptr<Store> open_store(const StoreOptions& options, const Clock& clock) {
  auto store = Store::open(options, clock);
  if (!store) FAIL(store.error().message);
  return std::move(*store);
}

StoreOptions small_store(const fs::path& directory) {
  StoreOptions options;
  options.directory = directory;
  options.quota_bytes = kMinQuotaBytes;
  options.segment_bytes = 256 << 10;
  return options;
}

FreezeRequest everything(const std::string& id) {
  FreezeRequest request;
  request.id = id;
  request.owner = "test";
  request.window = {0, INT64_MAX};
  return request;
}

uint64_t disk_usage(const fs::path& directory) {
  std::set<ino_t> seen;
  uint64_t blocks = 0, apparent = 0;
  const auto count = [&](const fs::path& path) {
    struct stat st {};
    // Files may go while we look, as under du.
    if (::lstat(path.c_str(), &st) != 0 || !seen.insert(st.st_ino).second) return;
    blocks += static_cast<uint64_t>(st.st_blocks) * 512;
    apparent += static_cast<uint64_t>(st.st_size);
  };
  count(directory);
  std::error_code ec;
  std::vector<fs::path> open{directory};
  while (!open.empty()) {
    const fs::path next = open.back();
    open.pop_back();
    for (auto it = fs::directory_iterator(next, ec); !ec && it != fs::directory_iterator();
         it.increment(ec)) {
      count(it->path());
      std::error_code gone;
      if (fs::is_directory(fs::symlink_status(it->path(), gone))) open.push_back(it->path());
    }
  }
  return std::max(blocks, apparent);
}

fs::path segment_file(const fs::path& directory, uint64_t sequence) {
  return directory / file_names::kPackets / file_names::segment(sequence);
}

}  // namespace lookback::store::testing
