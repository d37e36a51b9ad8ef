// Sends UDP packets over one interface at a given rate: the load of the benchmarks. Addresses, ports, sizes and contents vary as they
// do in a data centre; every packet carries a running number, so that a reader can tell which are missing.
//
//   packet_sender IFACE --pps N (0: as fast as it goes) --seconds S --sizes 64,590,1400 [--hosts N] [--ports N] [--content text|random|fixed] [--count N]
//                       [--rare-host-every N]   one packet in N goes to 10.9.200.200

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kTemplates = 4096;
constexpr size_t kHeaders = 14 + 20 + 8;

double seconds_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

struct Options {
  std::string interface;
  double pps = 0, seconds = 5;
  uint64_t count = 0, rare_host_every = 0;
  unsigned hosts = 200, ports = 2000;
  std::string content = "text";
  std::vector<size_t> sizes{64, 590, 1400};
};

Options parse(int argc, char** argv) {
  Options o;
  if (argc < 2) {
    std::fprintf(stderr, "usage: packet_sender IFACE [--pps N] [--seconds S] [--sizes A,B] …\n");
    std::exit(2);
  }
  o.interface = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view key = argv[i];
    const char* value = argv[i + 1];
    if (key == "--pps") o.pps = std::atof(value);
    else if (key == "--seconds") o.seconds = std::atof(value);
    else if (key == "--count") o.count = std::strtoull(value, nullptr, 10);
    else if (key == "--hosts") o.hosts = static_cast<unsigned>(std::atoi(value));
    else if (key == "--ports") o.ports = static_cast<unsigned>(std::atoi(value));
    else if (key == "--rare-host-every") o.rare_host_every = std::strtoull(value, nullptr, 10);
    else if (key == "--content") o.content = value;
    else if (key == "--sizes") {
      o.sizes.clear();
      for (const char* p = value; *p;) {
        char* end = nullptr;
        o.sizes.push_back(std::clamp<size_t>(std::strtoul(p, &end, 10), kHeaders + 8, 9000));
        p = *end ? end + 1 : end;
      }
    } else {
      std::fprintf(stderr, "packet_sender: unknown option %s\n", argv[i]);
      std::exit(2);
    }
  }
  return o;
}

/// About as compressible as service traffic: words that repeat, numbers and tokens that do not.
void fill(std::mt19937_64& rng, std::string_view kind, uint8_t* out, size_t size) {
  static constexpr std::array<std::string_view, 16> kWords{
      "GET /api/v1/items/", "HTTP/1.1 200 OK\r\n", "Content-Type: application/json\r\n", "\"status\":\"active\",", "\"name\":\"",
      "User-Agent: client/2.1\r\n", "\"created_at\":\"2026-03-01T", "Accept: */*\r\n", "SELECT id, total FROM orders WHERE id = ",
      "\"price\":", "Cache-Control: no-cache\r\n", "traceparent: 00-", "null,", "true,", "Host: orders.shop.svc\r\n", "\r\n\r\n"};
  size_t at = 0;
  if (kind == "fixed") {
    for (; at < size; ++at) out[at] = static_cast<uint8_t>("the quick brown fox jumps over the lazy dog"[at % 43]);
    return;
  }
  while (at < size) {
    if (kind == "random" || rng() % 2 == 0) {
      uint64_t value = rng();
      if (kind == "random") {
        const size_t n = std::min<size_t>(8, size - at);
        std::memcpy(out + at, &value, n);
        at += n;
      } else {
        for (int i = 0; i < 12 && at < size; ++i, value >>= 5) out[at++] = static_cast<uint8_t>("abcdefghijklmnopqrstuvwxyz012345"[value & 31]);
      }
    } else {
      const auto word = kWords[rng() % kWords.size()];
      const size_t n = std::min(word.size(), size - at);
      std::memcpy(out + at, word.data(), n);
      at += n;
    }
  }
}

uint16_t ip_checksum(const uint8_t* p) {
  uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += static_cast<uint32_t>(p[i] << 8 | p[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

std::vector<uint8_t> make_packet(std::mt19937_64& rng, const Options& o, size_t size, bool rare) {
  std::vector<uint8_t> p(size);
  const uint8_t macs[14] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};
  std::memcpy(p.data(), macs, 14);
  uint8_t* ip = p.data() + 14;
  const auto put16 = [](uint8_t* at, size_t v) {
    at[0] = static_cast<uint8_t>(v >> 8);
    at[1] = static_cast<uint8_t>(v);
  };
  ip[0] = 0x45;
  put16(ip + 2, size - 14);
  ip[8] = 64;
  ip[9] = 17;
  const auto host = [&](uint8_t* at) {
    const unsigned h = static_cast<unsigned>(rng() % o.hosts) + 1;
    at[0] = 10, at[1] = 9, at[2] = static_cast<uint8_t>(h >> 8), at[3] = static_cast<uint8_t>(h);
  };
  host(ip + 12);
  host(ip + 16);
  if (rare) ip[16] = 10, ip[17] = 9, ip[18] = 200, ip[19] = 200;
  put16(ip + 10, ip_checksum(ip));
  uint8_t* udp = ip + 20;
  static constexpr std::array<uint16_t, 6> kServices{53, 80, 443, 5432, 6379, 8080};
  put16(udp, 20'000 + rng() % o.ports);
  put16(udp + 2, kServices[rng() % kServices.size()]);
  put16(udp + 4, size - 34);
  fill(rng, o.content, p.data() + kHeaders, size - kHeaders);
  return p;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const int s = socket(AF_PACKET, SOCK_RAW, 0);
  const int one = 1, buffer = 8 << 20;
  setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
  setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(o.interface.c_str()));
  if (s < 0 || bind(s, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror(o.interface.c_str());
    return 1;
  }
  std::mt19937_64 rng(42);
  std::vector<std::vector<uint8_t>> packets;
  for (size_t i = 0; i < kTemplates; ++i) packets.push_back(make_packet(rng, o, o.sizes[i % o.sizes.size()], false));
  const auto rare = make_packet(rng, o, o.sizes.back(), true);

  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, kBatch * 3> parts{};
  std::array<uint64_t, kBatch> numbers{};
  uint64_t sent = 0, bytes = 0;
  const double start = seconds_now();
  for (;;) {
    const double elapsed = seconds_now() - start;
    if (o.count ? sent >= o.count : elapsed >= o.seconds) break;
    if (o.pps > 0 && static_cast<double>(sent) > elapsed * o.pps) {
      const double ahead = static_cast<double>(sent) / o.pps - elapsed;
      if (ahead > 1e-4) usleep(static_cast<useconds_t>(ahead * 1e6 * 0.8));
      continue;
    }
    for (size_t i = 0; i < kBatch; ++i) {
      const uint64_t number = sent + i;
      const auto& p = o.rare_host_every && number % o.rare_host_every == 0 ? rare : packets[number % kTemplates];
      numbers[i] = htobe64(number);
      // headers, running number, the rest of the payload
      parts[i * 3] = {const_cast<uint8_t*>(p.data()), kHeaders};
      parts[i * 3 + 1] = {&numbers[i], 8};
      parts[i * 3 + 2] = {const_cast<uint8_t*>(p.data() + kHeaders + 8), p.size() - kHeaders - 8};
      messages[i].msg_hdr.msg_iov = &parts[i * 3];
      messages[i].msg_hdr.msg_iovlen = 3;
    }
    const int n = sendmmsg(s, messages.data(), kBatch, 0);
    if (n < 0) {
      if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) continue;
      std::perror("sendmmsg");
      return 1;
    }
    for (int i = 0; i < n; ++i) bytes += messages[static_cast<size_t>(i)].msg_len;
    sent += static_cast<uint64_t>(n);
  }
  const double elapsed = seconds_now() - start;
  std::printf("{\"packets\": %llu, \"bytes\": %llu, \"seconds\": %.3f, \"pps\": %.0f}\n", static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(bytes), elapsed, static_cast<double>(sent) / elapsed);
}
