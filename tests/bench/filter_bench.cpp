// Our interpreter for pcap-filter programs against libpcap's bpf_filter: nanoseconds a packet, in
// interleaved rounds over the same packets: about as many as one frame of an archive holds, so that
// they come from the cache as they do after decompression. The best round of each counts.
//
//   bench_filter [CAPTURE [EXPRESSION...]]     without a capture: made-up TCP and UDP traffic, four
//   in five packets IPv4

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "lookback/packet/filter.hpp"
#include "lookback/packet/pcapng.hpp"

using namespace lookback;
using namespace lookback::packet;

extern "C" unsigned bpf_filter(const BpfInstruction* program, const unsigned char* packet,
                               unsigned original_length, unsigned captured_length);

namespace {

struct Packets {
  uint16_t link_type = 1;
  std::vector<std::byte> bytes;
  struct Place {
    size_t offset;
    uint32_t captured, original;
  };
  std::vector<Place> places;

  void add(std::span<const std::byte> data, uint32_t original) {
    places.push_back({bytes.size(), static_cast<uint32_t>(data.size()), original});
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
};

Packets made_up() {
  std::mt19937 random(1);
  Packets packets;
  for (int i = 0; i < 4000; ++i) {
    const bool six = random() % 5 == 0;
    std::vector<std::byte> frame((six ? 74 : 54) + random() % 400);
    const auto put = [&](size_t at, std::initializer_list<unsigned> values) {
      for (const unsigned value : values) frame[at++] = static_cast<std::byte>(value);
    };
    static constexpr unsigned kPorts[] = {80, 443, 8080, 6379, 9092, 53, 5432, 3306};
    const unsigned port = kPorts[random() % 8];
    const unsigned protocol = port == 53 ? 17 : 6;
    size_t transport = 34;
    if (six) {
      put(12, {0x86, 0xdd, 0x60});
      put(20, {protocol, 64, 0xfd});
      put(38, {0xfd});
      put(37, {static_cast<unsigned>(random() % 200)});
      put(53, {static_cast<unsigned>(random() % 200)});
      transport = 54;
    } else {
      put(12, {0x08, 0x00, 0x45});
      put(22, {64, protocol});
      put(26, {10, 0, 0, static_cast<unsigned>(random() % 200), 10, 0, 0,
               static_cast<unsigned>(random() % 200)});
    }
    const unsigned ephemeral = 32768 + random() % 28000;
    const bool request = random() % 2 == 0;
    put(transport, {(request ? ephemeral : port) >> 8, (request ? ephemeral : port) & 0xff,
                    (request ? port : ephemeral) >> 8, (request ? port : ephemeral) & 0xff});
    packets.add(frame, static_cast<uint32_t>(frame.size()));
  }
  return packets;
}

Packets from_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  Packets packets;
  auto reader = CaptureReader::open([&in](std::span<std::byte> out) -> Result<size_t> {
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    return static_cast<size_t>(in.gcount());
  });
  if (!reader) {
    std::fprintf(stderr, "%s: %s\n", path, reader.error().message.c_str());
    std::exit(1);
  }
  for (;;) {
    const auto packet = reader->next();
    if (!packet) std::fprintf(stderr, "%s: %s\n", path, packet.error().message.c_str());
    if (!packet || !*packet) break;
    if (packets.bytes.size() > (256u << 20)) break;
    packets.add((*packet)->view.data, (*packet)->view.original_length);
  }
  if (!reader->interfaces().empty()) packets.link_type = reader->interfaces()[0].link_type;
  return packets;
}

/// Nanoseconds a packet of one pass, and how many matched.
template <class Match>
double pass(const Packets& packets, size_t& matched, const Match& match) {
  matched = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const auto& place : packets.places)
    matched +=
        match(std::span(packets.bytes.data() + place.offset, place.captured), place.original);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  return took.count() / static_cast<double>(std::max<size_t>(packets.places.size(), 1));
}

}  // namespace

int main(int argc, char** argv) {
  const Packets packets = argc > 1 ? from_file(argv[1]) : made_up();
  std::vector<std::string> expressions(argv + std::min(argc, 2), argv + argc);
  if (expressions.empty())
    expressions = {
        "tcp",
        "tcp port 443",
        "port 53",
        "host 10.0.0.7",
        "net 10.0.0.0/25",
        "host 10.0.0.7 and tcp port 80",
        "portrange 5000-9000",
        "tcp[tcpflags] & tcp-syn != 0",
        "tcp and (port 80 or port 443) and not (host 10.0.0.1 or net 192.168.0.0/16)",
        "host 10.0.0.1 or host 10.0.0.2 or host 10.0.0.3 or host 10.0.0.4 or host 10.0.0.5"};
  std::printf("%zu packets\n%-64s %10s %10s %8s %7s\n", packets.places.size(), "filter", "ours ns",
              "libpcap ns", "ratio", "match");
  for (const std::string& expression : expressions) {
    const auto filter = Filter::compile(expression, packets.link_type);
    if (!filter) {
      std::fprintf(stderr, "%s\n", filter.error().message.c_str());
      return 2;
    }
    double ours = 1e9, theirs = 1e9;
    size_t matched = 0, matched_there = 0;
    for (int round = 0; round < 200; ++round) {
      ours = std::min(
          ours, pass(packets, matched, [&](std::span<const std::byte> data, uint32_t original) {
            return filter->matches(data, original);
          }));
      theirs = std::min(
          theirs,
          pass(packets, matched_there, [&](std::span<const std::byte> data, uint32_t original) {
            return bpf_filter(filter->program().data(),
                              reinterpret_cast<const unsigned char*>(data.data()), original,
                              static_cast<unsigned>(data.size())) != 0;
          }));
    }
    if (matched != matched_there) {
      std::fprintf(stderr, "%s: %zu and %zu packets match\n", expression.c_str(), matched,
                   matched_there);
      return 1;
    }
    std::printf("%-64.64s %10.2f %10.2f %8.2f %6.1f%%\n", expression.c_str(), ours, theirs,
                ours / theirs,
                100.0 * static_cast<double>(matched) /
                    static_cast<double>(std::max<size_t>(packets.places.size(), 1)));
  }
}
