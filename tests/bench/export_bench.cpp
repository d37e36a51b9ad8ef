// The data of bench_export.py.
//
//   bench_export make FOLDER MEGABYTES [NODES [events]]   the same made-up traffic as each node saw
//   it: a.pcap, b.pcap…, and all of them as test.tar.zst

#include <fcntl.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lookback/archive/archive.hpp"
#include "lookback/base/fd.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/exporter/member_builder.hpp"
#include "lookback/packet/pcapng.hpp"

using namespace lookback;

namespace {

constexpr int64_t kStart = 1'700'000'000 * kNsPerSecond;
constexpr int64_t kStep = 8'000;   // 125,000 packets a second
constexpr int64_t kWay = 120'000;  // from one node to the other

template <class T>
T require(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "bench_export: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// HTTP, a key-value store, DNS and bulk data between some hundred hosts: some two thirds of the
/// bytes can be compressed.
class Traffic {
 public:
  struct Packet {
    std::array<std::byte, 2048> bytes;
    uint32_t length;
  };

  Traffic() {
    noise_.resize(1 << 20);
    for (uint64_t& word : noise_) word = random_();
  }

  static constexpr uint32_t kFirstClient = 0x0a000000, kFirstServer = 0x0a010000;
  static constexpr uint32_t kClients = 200, kServers = 20;
  static uint64_t client_port_of(uint64_t client, uint64_t server) {
    return 32768 + (client * kServers + server) % 28000;
  }

  void next(Packet& packet) {
    ++number_;
    const uint64_t draw = random_();
    const auto kind = draw % 100;
    if (kind < 20) return make(packet, 6, 80, 0, draw);                        // acknowledgments
    if (kind < 45) return make(packet, 6, 80, 200 + draw / 100 % 1200, draw);  // HTTP
    if (kind < 65) return make(packet, 6, 6379, 20 + draw / 100 % 200, draw);  // key-value store
    if (kind < 75) return make(packet, 17, 53, 30 + draw / 100 % 100, draw);   // DNS
    return make(packet, 6, 443, 1400, draw);  // TLS, and bulk data in clear
  }

 private:
  static void put16(std::byte* to, uint64_t value) {
    to[0] = static_cast<std::byte>(value >> 8);
    to[1] = static_cast<std::byte>(value);
  }
  static void put32(std::byte* to, uint64_t value) {
    put16(to, value >> 16);
    put16(to + 2, value);
  }

  void make(Packet& packet, uint8_t protocol, uint16_t port, uint64_t payload, uint64_t draw) {
    static constexpr std::string_view kText =
        "GET /api/v1/orders?customer=4711&page=3 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: "
        "curl/8.1\r\nAccept: application/json\r\n"
        "X-Request-Id: 0badc0de\r\n\r\nHTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: "
        "application/json\r\nContent-Length: 512\r\n\r\n"
        "{\"orders\":[{\"id\":1,\"customer\":4711,\"total\":\"12.50\",\"state\":\"paid\",\"lines\":"
        "[{\"sku\":\"A-100\",\"count\":2}]},";
    const bool rare =
        number_ % 200'000 >= 199'600;  // a burst, so that about one frame in a hundred has it
    std::byte* const out = packet.bytes.data();
    const size_t transport = protocol == 6 ? 32 : 8;
    packet.length = static_cast<uint32_t>(14 + 20 + transport + payload);
    std::memset(out, 0, 14 + 20 + transport);
    out[0] = out[6] = std::byte{2};
    out[5] = std::byte{1};
    out[11] = std::byte{2};
    put16(out + 12, 0x0800);
    std::byte* const ip = out + 14;
    ip[0] = std::byte{0x45};
    put16(ip + 2, 20 + transport + payload);
    put16(ip + 4, number_);
    ip[8] = std::byte{64};
    ip[9] = std::byte{protocol};
    const uint64_t client = rare ? 0x0a09c8c8 : kFirstClient + draw / 7 % kClients,
                   server = kFirstServer + draw / 1400 % kServers;
    const bool answer = draw / 3 % 2 == 0;
    const auto client_port = static_cast<uint16_t>(client_port_of(client, server));
    put32(ip + 12, answer ? server : client);
    put32(ip + 16, answer ? client : server);
    std::byte* const l4 = ip + 20;
    put16(l4, answer ? port : client_port);
    put16(l4 + 2, answer ? client_port : port);
    if (protocol == 6) {
      put32(l4 + 4, number_ * 1400);
      put32(l4 + 8, number_ * 7);
      l4[12] = std::byte{0x80};
      l4[13] = std::byte{0x18};
      put16(l4 + 14, 501);
      put16(l4 + 16, draw);
      put32(l4 + 20, 0x0101080a);
      put32(l4 + 24, number_ / 100);
      put32(l4 + 28, number_ / 100 - 3);
    } else {
      put16(l4 + 4, 8 + payload);
      put16(l4 + 6, draw);
    }
    std::byte* const data = l4 + transport;
    if (port == 443 && draw % 2 == 0) {
      std::memcpy(data, noise_.data() + draw % (noise_.size() - 200), payload);
    } else {
      for (size_t at = 0; at < payload;) {
        const size_t from = (draw + at) % kText.size(),
                     part = std::min(payload - at, kText.size() - from);
        std::memcpy(data + at, kText.data() + from, part);
        at += part;
      }
      if (payload > 40) put32(data + 20, random_());
    }
  }

  std::mt19937_64 random_{7};
  std::vector<uint64_t> noise_;
  uint64_t number_ = 0;
};

/// One node's packets as a pcap file and as members of the archive.
class Node {
 public:
  Node(const std::string& folder, std::string name, archive::ArchiveWriter& writer)
      : name_(std::move(name)),
        writer_(writer),
        file_(require(open_file(folder + "/" + name_ + ".pcap", O_WRONLY | O_CREAT | O_TRUNC))),
        builder_(name_, {{2, "eth0", 1, "", 1500}}, "bench") {
    packet::append_pcap_header(buffer_, 1, 0);
  }

  void add(const Traffic::Packet& packet, int64_t time) {
    packet::PacketView view;
    view.time_ns = time;
    view.data = std::span(packet.bytes).first(packet.length);
    view.original_length = packet.length;
    view.direction = packet::Direction::inbound;
    packet::append_pcap_record(buffer_, view);
    builder_.add(view);
    if (buffer_.size() > 1 << 20) flush();
    if (builder_.content_bytes() >= exporter::kMemberBytes) end_member();
  }
  /// The sockets at both ends of all connections, as if the node had them all.
  void add_events() {
    archive::FrameEncoder encoder;
    archive::MemberContent member;
    Sha256 hash;
    const uint16_t ports[] = {80, 6379, 443};
    std::string text = fmt::format(
        "{{\"kind\":\"checkpoint\",\"time\":{},\"version\":1,\"cgroups\":1,\"processes\":0,"
        "\"sockets\":"
        "{}}}\n{{\"kind\":\"cgroup\",\"time\":{},\"id\":7,\"container\":\"{:064x}\",\"runtime\":"
        "\"docker\",\"name\":\"web\"}}\n",
        kStart, 6 * Traffic::kClients * Traffic::kServers, kStart, 0xabcdef);
    const auto end_frame = [&] {
      const auto content = std::as_bytes(std::span(text));
      hash.update(content);
      archive::FrameEntry frame;
      frame.content_bytes = content.size();
      frame.compressed_bytes = encoder.encode(content, member.compressed);
      frame.first_ns = frame.last_ns = kStart;
      member.size += content.size();
      member.frames.push_back(frame);
      text.clear();
    };
    uint32_t socket = 0;
    for (uint32_t i = 0; i < 3 * Traffic::kClients * Traffic::kServers; ++i) {
      const uint32_t client = i / 3 % Traffic::kClients, server = i / 3 / Traffic::kClients;
      const auto client_port =
          Traffic::client_port_of(Traffic::kFirstClient + client, Traffic::kFirstServer + server);
      const auto end = [&](std::string_view role, std::string_view comm, uint32_t pid,
                           std::string_view ends) {
        text += fmt::format(
            "{{\"kind\":\"socket\",\"time\":{},\"state\":\"open\",\"role\":\"{}\",\"socket\":{},"
            "\"protocol\":\"tcp\",\"netns\":1,{},\"pid\":{},\"tid\":{},\"comm\":\"{}\",\"cgroup\":"
            "7}}\n",
            kStart, role, ++socket, ends, pid, pid, comm);
      };
      const std::string at_client = fmt::format("10.0.0.{}", client),
                        at_server = fmt::format("10.1.0.{}", server);
      constexpr std::string_view kEnds =
          "\"local\":\"{}\",\"local_port\":{},\"remote\":\"{}\",\"remote_port\":{}";
      end("client", "client", 1000 + client,
          fmt::format(fmt::runtime(kEnds), at_client, client_port, at_server, ports[i % 3]));
      end("server", "server", 100 + server,
          fmt::format(fmt::runtime(kEnds), at_server, ports[i % 3], at_client, client_port));
      if (text.size() > 512 << 10) end_frame();
    }
    if (!text.empty()) end_frame();
    member.sha256 = to_hex(hash.finish());
    (void)require(
        writer_.append(fmt::format("nodes/{}/os-events/00000000.ndjson", name_), name_, member));
  }
  void finish(archive::Manifest& manifest) {
    flush();
    if (builder_.packets() > 0) end_member();
    archive::NodeEntry& node = manifest.nodes.emplace_back();
    node.name = name_;
    node.status = "complete";
    node.clock = {{kStart, 0, 50'000, 0}};
    node.interfaces = {{"eth0", 1, ""}};
  }

 private:
  void flush() {
    require(write_all(file_.get(), buffer_));
    buffer_.clear();
  }
  void end_member() {
    (void)require(writer_.append(fmt::format("nodes/{}/packets/{:08}.pcapng", name_, member_++),
                                 name_, builder_.finish()));
  }

  std::string name_;
  archive::ArchiveWriter& writer_;
  Fd file_;
  exporter::MemberBuilder builder_;
  packet::Buffer buffer_;
  int member_ = 0;
};

void make(const std::string& folder, uint64_t megabytes, size_t node_count, bool with_events) {
  auto writer = require(archive::ArchiveWriter::create(folder + "/test.partial", 0));
  archive::Manifest manifest;
  manifest.name = "bench";
  manifest.id = "bench";
  manifest.created_by = "bench";
  std::vector<std::unique_ptr<Node>> nodes;
  for (size_t i = 0; i < node_count; ++i) {
    nodes.push_back(
        std::make_unique<Node>(folder, std::string(1, static_cast<char>('a' + i)), writer));
  }
  for (const auto& node : nodes) {
    if (with_events) node->add_events();
  }
  Traffic traffic;
  Traffic::Packet packet;
  int64_t time = kStart;
  for (uint64_t bytes = 0; bytes < megabytes * 1'000'000; bytes += packet.length + 16) {
    traffic.next(packet);
    time += kStep;
    for (size_t i = 0; i < node_count; ++i) {
      packet.bytes[14 + 8] = static_cast<std::byte>(64 - 2 * i);
      nodes[i]->add(packet, time + static_cast<int64_t>(i) * kWay);
    }
  }
  for (const auto& node : nodes) node->finish(manifest);
  manifest.window = {kStart, time + kNsPerSecond};
  std::remove((folder + "/test.tar.zst").c_str());
  const uint64_t size = require(writer.commit(std::move(manifest), folder + "/test.tar.zst"));
  std::printf("archive_bytes=%llu from_ns=%lld to_ns=%lld\n", static_cast<unsigned long long>(size),
              static_cast<long long>(kStart), static_cast<long long>(time));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view job = argc > 1 ? argv[1] : "";
  if (job == "make" && argc >= 4 && argc <= 6) {
    make(argv[2], std::stoull(argv[3]), argc > 4 ? std::stoul(argv[4]) : 2,
         argc > 5 && argv[5] == std::string_view("events"));
    return 0;
  }
  std::fprintf(stderr, "usage: bench_export make FOLDER MEGABYTES [NODES [events]]\n");
  return 2;
}
