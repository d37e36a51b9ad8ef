// What a packet costs on its way out of the archive and into it: walking a section, decoding
// headers, collecting a summary, writing a packet block, reading a capture. Nanoseconds a packet
// and GB of pcapng a second, the best of many rounds.
//
//   bench_packet [HOSTS]     how many hosts talk in the made-up frame (default 50)

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

#include "lookback/packet/decode.hpp"
#include "lookback/packet/section_walker.hpp"
#include "lookback/packet/summary.hpp"

using namespace lookback;
using namespace lookback::packet;

namespace {

Buffer make_frame(unsigned hosts) {
  std::mt19937 random(1);
  Buffer out;
  append_section_header(out, "bench");
  append_interface(out, {"eth0", "", 1, 0, "", ""});
  for (int64_t time = 1'700'000'000'000'000'000; out.size() < (1u << 20); time += 10'000) {
    std::vector<std::byte> data(54 + random() % 500);
    const auto put = [&](size_t at, std::initializer_list<unsigned> values) {
      for (const unsigned value : values) data[at++] = static_cast<std::byte>(value);
    };
    const unsigned from = random() % hosts, to = random() % hosts,
                   port = 32768 + (from * 7 + to) % 20000;
    put(12, {8, 0, 0x45});
    put(23, {6});
    put(26, {10, 244, from >> 8, from & 0xff, 10, 244, to >> 8, to & 0xff, port >> 8, port & 0xff,
             1, 187});
    put(46, {0x50});
    PacketView packet;
    packet.time_ns = time;
    packet.data = data;
    packet.original_length = static_cast<uint32_t>(data.size());
    packet.direction = Direction::inbound;
    append_packet(out, packet);
  }
  return out;
}

void report(const char* what, size_t bytes, const std::function<size_t()>& run) {
  double best = 1e18;
  size_t packets = 1;
  for (int round = 0; round < 200; ++round) {
    const auto start = std::chrono::steady_clock::now();
    packets = run();
    best = std::min(
        best,
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count());
  }
  std::printf("%-28s %8.1f ns/packet %8.2f GB/s\n", what, best / static_cast<double>(packets),
              static_cast<double>(bytes) / best);
}

}  // namespace

int main(int argc, char** argv) {
  const Buffer frame =
      make_frame(argc > 1 ? static_cast<unsigned>(std::max(1, std::atoi(argv[1]))) : 50);
  volatile uint64_t sink = 0;
  const auto walk = [&](const auto& use) {
    SectionWalker walker(frame);
    RawPacket packet;
    size_t packets = 0;
    while (walker.next(packet)) {
      use(packet);
      ++packets;
    }
    return packets;
  };
  report("walk", frame.size(), [&] {
    uint64_t sum = 0;
    const size_t packets =
        walk([&](const RawPacket& packet) { sum += static_cast<uint64_t>(packet.view.time_ns); });
    sink = sum;
    return packets;
  });
  report("walk, decode", frame.size(), [&] {
    uint64_t sum = 0;
    const size_t packets = walk(
        [&](const RawPacket& packet) { sum += decode(1, packet.view.data).ip[0].source_port; });
    sink = sum;
    return packets;
  });
  SummaryBuilder builder;
  std::string text;
  report("walk, decode, summary", frame.size(), [&] {
    const size_t packets =
        walk([&](const RawPacket& packet) { builder.add(decode(1, packet.view.data)); });
    text = builder.take().to_text();
    return packets;
  });
  std::printf("  the summary has %zu characters\n", text.size());
  Buffer copy;
  report("walk, append_packet", frame.size(), [&] {
    copy.clear();
    return walk([&](const RawPacket& packet) { append_packet(copy, packet.view); });
  });
  report("CaptureReader", frame.size(), [&] {
    std::span<const std::byte> left(frame);
    auto reader = CaptureReader::open([&left](std::span<std::byte> out) -> Result<size_t> {
      const size_t n = std::min(out.size(), left.size());
      std::copy_n(left.begin(), n, out.begin());
      left = left.subspan(n);
      return n;
    });
    size_t packets = 0;
    while (const auto packet = reader->next().value_or(std::nullopt))
      packets += !packet->view.data.empty();
    return packets;
  });
}
