// What the store costs: processor seconds a GB for whole kernel blocks and for repacked packets,
// reading back, and how long a freeze of 2048 segments takes.
//   bench_store [--dir DIR] [--gigabytes N] [--case kernel|compact|freeze|segments]
//   [--no-uring] [--buffered]
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "lookback/base/clock.hpp"
#include "lookback/base/log.hpp"
#include "lookback/store/compact.hpp"
#include "lookback/store/store.hpp"

using namespace lookback;
using namespace lookback::store;
namespace fs = std::filesystem;

namespace {

constexpr uint32_t kBlockBytes = 4U << 20;
constexpr uint32_t kRingBlocks = 16;

/// Processor time of the whole process, io_uring's workers included, and the wall's.
struct Cost {
  double user = 0, system = 0, wall = 0;

  [[nodiscard]] static Cost now() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return {seconds(usage.ru_utime), seconds(usage.ru_stime),
            static_cast<double>(Clock::system().monotonic_ns()) / 1e9};
  }
  [[nodiscard]] Cost since(const Cost& start) const {
    return {user - start.user, system - start.system, wall - start.wall};
  }
};

double wall_seconds() {
  return static_cast<double>(Clock::system().monotonic_ns()) / 1e9;
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "bench_store: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::span<std::byte> pages(size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) std::exit(1);
  return {static_cast<std::byte*>(memory), bytes};
}

/// A chain of packets as the kernel lays them out; returns what append_block is to be told.
BlockInfo fill_kernel_block(std::span<std::byte> block, uint32_t packet_bytes, int64_t time_ns) {
  BlockInfo info;
  info.kind = BlockKind::kernel;
  info.first_packet = block_reserve(kBlockBytes);
  constexpr uint32_t kMac = 82;
  const auto step = static_cast<uint32_t>(round_up(kMac + packet_bytes, 8));
  uint32_t at = info.first_packet;
  for (; at + step <= block.size(); at += step, ++info.packets) {
    tpacket3_hdr header{};
    header.tp_next_offset = step;
    header.tp_sec = static_cast<uint32_t>(time_ns / kNsPerSecond);
    header.tp_nsec = static_cast<uint32_t>(time_ns % kNsPerSecond);
    header.tp_snaplen = header.tp_len = packet_bytes;
    header.tp_mac = kMac;
    std::memcpy(block.data() + at, &header, sizeof header);
    sockaddr_ll address{};
    address.sll_ifindex = 1;
    address.sll_hatype = 1;
    std::memcpy(block.data() + at + 48, &address, sizeof address);
  }
  info.used_bytes = at;
  info.first_ns = info.last_ns = time_ns;
  return info;
}

struct Options {
  fs::path directory = "bench-store";
  double gigabytes = 4;
  std::string only;
  bool uring = true, direct = true;
};

std::unique_ptr<Store> open_fresh(const Options& options, uint64_t quota,
                                  uint64_t segment_bytes = 0) {
  fs::remove_all(options.directory);
  StoreOptions store;
  store.directory = options.directory;
  store.quota_bytes = quota;
  store.segment_bytes = segment_bytes;
  store.use_io_uring = options.uring;
  store.use_direct_io = options.direct;
  return must(Store::open(store, Clock::system()));
}

void report(const char* what, uint64_t bytes, const Cost& start) {
  const Cost cost = Cost::now().since(start);
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  std::printf("%-34s %6.2f GB  %.4f CPU s/GB (%.4f user, %.4f system)  %.2f GB/s\n", what,
              gigabytes, (cost.user + cost.system) / gigabytes, cost.user / gigabytes,
              cost.system / gigabytes, gigabytes / cost.wall);
}

void append_kernel_blocks(const Options& options) {
  auto store = open_fresh(options, 4ULL << 30);
  const auto ring = pages(size_t{kRingBlocks} * kBlockBytes);
  must(store->register_memory(ring));
  store->set_interfaces({{1, "eth0", 1, "", 1500}});
  BlockInfo info;
  for (uint32_t i = 0; i < kRingBlocks; ++i)
    info = fill_kernel_block(ring.subspan(size_t{i} * kBlockBytes, kBlockBytes), 1400,
                             Clock::system().realtime_ns());
  const auto blocks = static_cast<uint64_t>(options.gigabytes * 1e9 / kBlockBytes);
  const Cost start = Cost::now();
  for (uint64_t i = 0; i < blocks; ++i) {
    // The kernel would have filled it anew; what is in it does not matter to what it costs.
    must(store->append_block(ring.subspan(i % kRingBlocks * kBlockBytes, kBlockBytes), info));
    store->tick();
  }
  report("append 4 MiB kernel blocks", blocks * info.used_bytes, start);
  ::munmap(ring.data(), ring.size());
}

void append_compact_blocks(const Options& options, size_t packet_bytes) {
  auto store = open_fresh(options, 4ULL << 30);
  const auto memory = pages(1 << 20);
  must(store->register_memory(memory));
  store->set_interfaces({{1, "eth0", 1, "", 1500}});
  const auto source = pages(64 << 20);
  CompactBlock block(memory);
  uint64_t bytes = 0, disk = 0, packets = 0;
  size_t at = 0;
  const auto limit = static_cast<uint64_t>(options.gigabytes * 1e9 / 2);
  const int64_t now = Clock::system().realtime_ns();
  const Cost start = Cost::now();
  while (bytes < limit) {
    packet::PacketView view;
    view.time_ns = now + static_cast<int64_t>(packets);
    view.data = source.subspan(at, packet_bytes);
    view.original_length = static_cast<uint32_t>(packet_bytes);
    if (!block.append(view)) {
      const auto finished = block.finish();
      must(store->append_block(finished.block, finished.info));
      disk += round_up(finished.info.used_bytes, kPageBytes);
      block.clear();
      continue;
    }
    at += packet_bytes + 82;
    if (at + packet_bytes > source.size()) at = 0;
    bytes += packet_bytes;
    ++packets;
  }
  const std::string what = "repack and append " + std::to_string(packet_bytes) + " B packets";
  report(what.c_str(), bytes, start);
  std::printf("%-34s %.4f of pcap on disk\n", "",
              static_cast<double>(disk) /
                  (static_cast<double>(packets) * static_cast<double>(packet_bytes + 16)));

  must(store->seal());
  FreezeRequest request;
  request.id = "bench";
  request.window = {0, INT64_MAX};
  const Freeze freeze = must(store->freeze(request));
  const Cost read_start = Cost::now();
  uint64_t read = 0, read_packets = 0;
  for (size_t i = 0; i < freeze.runs.size(); ++i) {
    const auto reader = must(store->read_run(freeze.id, i));
    for (;;) {
      const auto next = must(reader->next());
      if (!next) break;
      read += next->data.size();
      ++read_packets;
    }
  }
  report("  read back", read, read_start);
  if (read_packets != packets - block.packets() && store->status().oldest_ns == now)
    std::printf("  packets are missing\n");
  ::munmap(memory.data(), memory.size());
  ::munmap(source.data(), source.size());
}

constexpr int kSegments = 2048;

/// A store of many segments, each with one packet.
std::unique_ptr<Store> make_many(const Options& options) {
  auto store = open_fresh(options, 1ULL << 30, 256 << 10);
  store->set_interfaces({{1, "load1", packet::link_type::kEthernet, "02:00:00:00:00:01", 1500}});
  const auto memory = pages(1 << 20);
  const std::vector<std::byte> data(1000);
  for (int i = 0; i < kSegments; ++i) {
    CompactBlock block(memory);
    packet::PacketView view;
    view.time_ns = Clock::system().realtime_ns();
    view.data = data;
    view.original_length = 1000;
    static_cast<void>(block.append(view));
    const auto finished = block.finish();
    must(store->append_block(finished.block, finished.info));
    must(store->seal());
  }
  return store;
}

void freeze_many(const Options& options) {
  auto store = make_many(options);
  const auto milliseconds = [](double from) { return (wall_seconds() - from) * 1e3; };
  std::printf("%-34s", "freeze of 2048 segments");
  for (int i = 0; i < 5; ++i) {
    FreezeRequest request;
    request.id = "f" + std::to_string(i);
    request.window = {0, INT64_MAX};
    const double from = wall_seconds();
    const Freeze freeze = must(store->freeze(request));
    std::printf(" %.1f", milliseconds(from));
    if (freeze.runs.size() != kSegments) std::printf(" (%zu runs?)", freeze.runs.size());
  }
  std::printf(" ms\n");
  double from = wall_seconds();
  must(store->release_freeze("f0"));
  std::printf("%-34s %.1f ms\n", "release", milliseconds(from));
  store.reset();
  from = wall_seconds();
  StoreOptions again;
  again.directory = options.directory;
  again.quota_bytes = 1ULL << 30;
  again.segment_bytes = 256 << 10;
  store = must(Store::open(again, Clock::system()));
  std::printf("%-34s %.1f ms\n", "open with 2048 segments, 4 freezes", milliseconds(from));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--no-uring")
      options.uring = false;
    else if (flag == "--buffered")
      options.direct = false;
    else if (flag == "--dir" && i + 1 < argc)
      options.directory = argv[++i];
    else if (flag == "--case" && i + 1 < argc)
      options.only = argv[++i];
    else if (flag == "--gigabytes" && i + 1 < argc)
      options.gigabytes = std::atof(argv[++i]);
    else {
      std::fprintf(stderr,
                   "usage: bench_store [--dir DIR] [--gigabytes N] "
                   "[--case kernel|compact|freeze|segments]\n"
                   "                   [--no-uring] [--buffered]\n");
      return 2;
    }
  }
  const auto wanted = [&](const char* name) {
    return options.only.empty() || options.only == name;
  };
  if (wanted("kernel")) append_kernel_blocks(options);
  if (wanted("compact")) {
    append_compact_blocks(options, 350);
    append_compact_blocks(options, 80);
  }
  if (wanted("freeze")) freeze_many(options);
  // Only when asked for: what it makes stays, for a daemon to be started on.
  if (options.only == "segments") {
    make_many(options);
    return 0;
  }
  fs::remove_all(options.directory);
  return 0;
}
