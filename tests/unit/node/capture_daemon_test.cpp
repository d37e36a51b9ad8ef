// The whole capture daemon, spoken to over HTTP: with packets of the test's own, and with the kernel's ring in a network
// namespace.

#include "lookback/node/capture_daemon.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "lookback/archive/member.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/log.hpp"
#include "lookback/http/client.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/capture/support/network_namespace.hpp"
#include "unit/node/support/fake_ring.hpp"
#include "unit/node/support/fixtures.hpp"
#include "unit/support/damage.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::node {
namespace {

using test::FakePacket;
using test::FakeRing;
using test::value_of;

constexpr int64_t kMs = 1'000'000;

struct Read {
  int64_t time_ns;
  std::string data, interface, description;
};

/// What a member's frames decode to.
std::vector<std::byte> content_of(const archive::MemberContent& member) {
  std::vector<std::byte> content;
  archive::FrameDecoder decoder;
  size_t at = 0;
  for (const auto& frame : member.frames) {
    const size_t old = content.size();
    content.resize(old + frame.content_bytes);
    REQUIRE(decoder.decode(std::span(member.compressed).subspan(at, frame.compressed_bytes),
                           std::span(content).subspan(old)));
    at += frame.compressed_bytes;
  }
  return content;
}

std::vector<Read> read_capture(const std::vector<std::byte>& content) {
  size_t at = 0;
  auto reader = value_of(packet::CaptureReader::open([&](std::span<std::byte> out) -> Result<size_t> {
    const size_t size = std::min(out.size(), content.size() - at);
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(at), size, out.begin());
    at += size;
    return size;
  }));
  std::vector<Read> packets;
  while (const auto packet = value_of(reader.next())) {
    const auto& interface = reader.interfaces().at(packet->view.interface);
    packets.push_back({packet->view.time_ns, std::string(as_text(packet->view.data)), interface.name,
                       interface.description});
  }
  return packets;
}

/// A client of one daemon.
class Api {
 public:
  explicit Api(const CaptureDaemon& daemon, const std::string& token = {})
      : client_(value_of(http::Client::create(
            {.base_url = fmt::format("http://127.0.0.1:{}", daemon.port()), .token = token, .ca_file = {}}))) {}

  http::ClientResponse raw(const std::string& method, const std::string& path,
                           const std::string& body = {}) {
    return value_of(client_.request(method, path, body));
  }
  Json json(const std::string& method, const std::string& path, const std::string& body = {}) {
    const auto response = raw(method, path, body);
    INFO(method << " " << path << " " << response.status << " " << response.body);
    REQUIRE(response.status < 300);
    return value_of(parse_json(response.body, path));
  }
  Json freeze(const std::string& id, int64_t from_ns, int64_t to_ns,
              const std::vector<std::string>& networks = {}) {
    return json("POST", "/api/v1/freezes",
                Json{{"id", id},
                     {"owner", "a test"},
                     {"from", format_time_ns(from_ns)},
                     {"to", format_time_ns(to_ns)},
                     {"ttl_ns", 3600 * kNsPerSecond},
                     {"networks", networks}}
                    .dump());
  }
  /// All packets of a freeze, each member checked on the way.
  std::vector<Read> packets(const std::string& id, const Json& freeze) {
    std::vector<Read> all;
    for (size_t i = 0; i < freeze["members"].size(); ++i) {
      const auto path =
          fmt::format("/api/v1/freezes/{}/members/{}", id, freeze["members"][i]["index"].get<uint32_t>());
      const auto response = raw("GET", path);
      if (response.status == 204) continue;
      REQUIRE(response.status == 200);
      CHECK(raw("GET", path).body == response.body);
      const auto bytes = as_bytes(response.body);
      const auto member = value_of(archive::decode_member({bytes.begin(), bytes.end()}));
      archive::MemberChecker checker;
      REQUIRE(checker.check(member));
      CHECK(member.size <= freeze["members"][i]["content_bytes"].get<uint64_t>());
      CHECK(member.packets <= freeze["members"][i]["packets"].get<uint64_t>());
      if (freeze["members"][i].value("kind", "packets") == "os-events") continue;
      const auto read = read_capture(content_of(member));
      CHECK(read.size() == member.packets);
      all.insert(all.end(), read.begin(), read.end());
    }
    return all;
  }

 private:
  http::Client client_;
};

/// A daemon on a ring of the test's.
struct FakeNode {
  test::TemporaryDirectory directory;
  const Clock& clock;
  FakeRing* ring = nullptr;  // the daemon's
  std::unique_ptr<CaptureDaemon> daemon;

  explicit FakeNode(const Clock& given = Clock::system(), CaptureOptions options = {}) : clock(given) {
    options.node = "n1";
    options.listen = "127.0.0.1:0";
    options.data_dir = directory.path() / "data";
    options.storage_bytes = 128ULL << 20;
    options.ring_bytes = 16ULL << 20;
    options.os_events = false;  // see the observe module's tests
    daemon = value_of(CaptureDaemon::start(
        options, clock, [&](const capture::RingOptions& ring_options) -> Result<std::unique_ptr<capture::Ring>> {
          auto made = std::make_unique<FakeRing>(ring_options.block_reserve);
          ring = made.get();
          return made;
        }));
  }
};

std::string udp_text(uint16_t source_port, uint16_t port, const std::string& payload) {
  return std::string(as_text(test::udp_frame(source_port, port, payload)));
}

}  // namespace

TEST_CASE("a frozen window comes back trimmed, byte for byte, as often as it is asked for") {
  FakeNode node;
  Api api(*node.daemon);
  const int64_t start = node.clock.realtime_ns() - 1000 * kMs;
  std::vector<FakePacket> packets;
  for (int i = 0; i < 1000; ++i)
    packets.push_back({start + i * kMs / 2, udp_text(1, static_cast<uint16_t>(i), std::string(static_cast<size_t>(i), 'p'))});
  node.ring->give(packets);

  const auto freeze = api.freeze("f1", start + 100 * kMs, start + 300 * kMs);
  CHECK(freeze["id"] == "f1");
  CHECK(freeze["owner"] == "a test");
  CHECK(freeze["from"] == format_time_ns(start + 100 * kMs));
  const auto read = api.packets("f1", freeze);
  REQUIRE(read.size() == 400);
  for (size_t i = 0; i < read.size(); ++i) {
    CHECK(read[i].time_ns == packets[i + 200].time_ns);
    CHECK(read[i].data == packets[i + 200].data);
  }
  CHECK(read[0].interface == "eth0");
  CHECK(read[0].description == "node n1");
  CHECK(freeze["interfaces"][0]["name"] == "eth0");
  CHECK(freeze["compressed_bytes"].get<uint64_t>() > 0);
  CHECK(freeze["compressed_bytes"].get<uint64_t>() < freeze["content_bytes"].get<uint64_t>());

  // The same id is the same freeze, whatever else is asked.
  const auto again = api.freeze("f1", start, start + 200 * kMs);
  CHECK(again == freeze);
  CHECK(api.json("GET", "/api/v1/freezes/f1") == freeze);
  CHECK(api.json("GET", "/api/v1/freezes")["freezes"].size() == 1);
  const auto renewed = api.json("POST", "/api/v1/freezes/f1/renew", R"({"ttl_ns": 7200000000000})");
  CHECK(renewed["expires"] > freeze["expires"]);
  CHECK(api.raw("DELETE", "/api/v1/freezes/f1").status == 204);
  CHECK(api.raw("DELETE", "/api/v1/freezes/f1").status == 204);
  CHECK(api.raw("GET", "/api/v1/freezes/f1").status == 404);
  CHECK(api.raw("GET", "/api/v1/freezes/f1/members/0").status == 404);
}

TEST_CASE("a freeze's networks filter its members, after a restart too") {
  test::TemporaryDirectory directory;
  CaptureOptions options;
  options.node = "n1";
  options.listen = "127.0.0.1:0";
  options.data_dir = directory.path();
  options.storage_bytes = 128ULL << 20;
  options.os_events = false;
  FakeRing* ring = nullptr;
  const auto source = [&](const capture::RingOptions& given) -> Result<std::unique_ptr<capture::Ring>> {
    auto made = std::make_unique<FakeRing>(given.block_reserve);
    ring = made.get();
    return made;
  };
  auto daemon = value_of(CaptureDaemon::start(options, Clock::system(), source));
  const int64_t start = Clock::system().realtime_ns() - 1000 * kMs;
  const auto frame = [](uint8_t source_host, uint8_t destination_host) {
    return std::string(as_text(test::tcp_frame(source_host, 1, destination_host, 2)));
  };
  ring->give({{start, frame(1, 2)}, {start + 1, frame(3, 4)}, {start + 2, frame(4, 1)}});
  std::vector<std::string> bodies;
  {
    Api api(*daemon);
    const auto freeze = api.freeze("f", start, start + kMs, {"10.9.0.1"});
    const auto read = api.packets("f", freeze);
    REQUIRE(read.size() == 2);
    CHECK(read[0].time_ns == start);
    CHECK(read[1].time_ns == start + 2);
    bodies.push_back(api.raw("GET", "/api/v1/freezes/f/members/0").body);
    // Nobody: the run is there, and nothing in it.
    const auto none = api.freeze("none", start, start + kMs, {"192.168.0.0/16"});
    REQUIRE(none["members"].size() == 1);
    CHECK(api.raw("GET", "/api/v1/freezes/none/members/0").status == 204);
  }
  daemon.reset();
  daemon = value_of(CaptureDaemon::start(options, Clock::system(), source));
  Api api(*daemon);
  CHECK(api.raw("GET", "/api/v1/freezes/f/members/0").body == bodies[0]);
}

TEST_CASE("what is found damaged while members are read is told by the freeze from then on") {
  test::TemporaryDirectory directory;
  CaptureOptions options;
  options.node = "n1";
  options.listen = "127.0.0.1:0";
  options.data_dir = directory.path();
  options.storage_bytes = 128ULL << 20;
  options.os_events = false;
  FakeRing* ring = nullptr;
  const auto source = [&](const capture::RingOptions& given) -> Result<std::unique_ptr<capture::Ring>> {
    auto made = std::make_unique<FakeRing>(given.block_reserve);
    ring = made.get();
    return made;
  };
  auto daemon = value_of(CaptureDaemon::start(options, Clock::system(), source));
  const int64_t start = Clock::system().realtime_ns();
  ring->give({{start, udp_text(1, 2, "first")}, {start + 1, udp_text(1, 2, "second")}});
  {
    Api api(*daemon);
    auto freeze = api.freeze("f", start, Clock::system().realtime_ns());
    CHECK(freeze["complete"] == true);
    CHECK(freeze["gaps"].empty());
    // The only block of packets: header page and note in front of it.
    for (const auto& item : std::filesystem::directory_iterator(directory.path() / "freezes" / "f")) {
      if (item.path().extension() != ".lbs") continue;
      test::flip(item.path(), 2 * 4096 + 20);
    }
    CHECK(api.raw("GET", "/api/v1/freezes/f/members/0").status == 204);
  }
  for (int run = 0; run < 2; ++run) {
    Api api(*daemon);
    const auto freeze = api.json("GET", "/api/v1/freezes/f");
    CHECK(freeze["complete"] == false);
    CHECK(freeze["reason"] == "damaged segment (2 packets lost)");
    REQUIRE(freeze["gaps"].size() == 1);
    CHECK(freeze["gaps"][0]["packets"] == 2);
    CHECK(freeze["gaps"][0]["start"] == format_time_ns(start));
    CHECK(freeze["gaps"][0]["end"] == format_time_ns(start + 2));
    if (run == 0) {
      daemon.reset();
      daemon = value_of(CaptureDaemon::start(options, Clock::system(), source));
    }
  }
}

TEST_CASE("a window that ends a little ahead is awaited, as the clocks are not quite the same") {
  FakeNode node;
  Api api(*node.daemon);
  const int64_t now = node.clock.realtime_ns(), end = now + 200 * kMs;
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    node.ring->give({{now + 50 * kMs, "within"}, {end, "behind"}});
  });
  const auto freeze = api.freeze("f", now, end);
  later.join();
  CHECK(node.clock.realtime_ns() >= end);
  const auto packets = api.packets("f", freeze);
  REQUIRE(packets.size() == 1);
  CHECK(packets[0].data == "within");
}

TEST_CASE("wrong requests are refused with a reason") {
  FakeNode node;
  Api api(*node.daemon);
  const int64_t now = node.clock.realtime_ns();
  const auto post = [&](const std::string& body) {
    const auto response = api.raw("POST", "/api/v1/freezes", body);
    CHECK(response.headers.at("content-type") == "application/problem+json");
    CHECK(response.status == 400);
    return response.body;
  };
  const auto order = [&](int64_t from, int64_t to, const Json& networks = Json::array()) {
    return Json{{"id", "x"}, {"owner", ""}, {"from", format_time_ns(from)}, {"to", format_time_ns(to)}, {"networks", networks}}.dump();
  };
  CHECK(post(order(now - kMs, now + 60'000 * kMs)).find("future") != std::string::npos);
  CHECK(post(order(now, now)).find("empty") != std::string::npos);
  CHECK(post(order(now - kMs, now, {"10.0.0.0/33"})).find("10.0.0.0/33") != std::string::npos);
  CHECK(post(order(now - kMs, now, "10.0.0.0/8")).find("networks") != std::string::npos);
  CHECK(post("{").find("JSON") != std::string::npos);
  CHECK(post(R"({"id": "../x", "from": "2020-01-01T00:00:00Z", "to": "2020-01-01T00:00:01Z"})").find("freeze id") !=
        std::string::npos);
  CHECK(api.raw("GET", "/api/v1/freezes/none").status == 404);
  CHECK(api.raw("POST", "/api/v1/freezes/none/renew", R"({"ttl_ns": 1})").status == 404);
  CHECK(api.raw("GET", "/api/v1/freezes/none/members/zero").status == 400);

  const auto start = [&](CaptureOptions options) {
    const auto daemon = CaptureDaemon::start(std::move(options), Clock::system());
    REQUIRE_FALSE(daemon);
    CHECK(daemon.error().kind == ErrorKind::invalid);
    return daemon.error().message;
  };
  CaptureOptions options;
  CHECK(start(options).find("data") != std::string::npos);
  options.data_dir = node.directory.path() / "other";
  options.node = "a/b";
  CHECK(start(options).find("a/b") != std::string::npos);
  options.node = "n2";
  options.hub_url = "hub:7400";
  CHECK(start(options).find("hub:7400") != std::string::npos);
  options.hub_url.clear();
  options.listen = "0.0.0.0:0";
  CHECK(start(options).find("0.0.0.0") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(options.data_dir));
}

TEST_CASE("the token opens everything but the health checks") {
  CaptureOptions options;
  options.token = "secret";
  FakeNode node(Clock::system(), options);
  Api stranger(*node.daemon), friendly(*node.daemon, "secret");
  CHECK(stranger.raw("GET", "/healthz").status == 200);
  CHECK(stranger.raw("GET", "/readyz").status == 200);
  for (const char* path : {"/api/v1/status", "/api/v1/boundaries", "/metrics", "/api/v1/freezes"}) {
    CHECK(stranger.raw("GET", path).status == 401);
    CHECK(friendly.raw("GET", path).status == 200);
  }
  CHECK(stranger.raw("POST", "/api/v1/freezes", "{}").status == 401);
}

TEST_CASE("status, boundaries and metrics say what was recorded and lost") {
  FakeNode node;
  Api api(*node.daemon);
  const int64_t start = node.clock.realtime_ns() - 1000 * kMs;
  node.ring->give({{start, udp_text(1, 2, "a")}, {start + 5, udp_text(1, 2, "b")}});
  node.ring->drop(7);
  (void)api.freeze("f", start, start + kMs);
  const auto status = api.json("GET", "/api/v1/status");
  CHECK(status["node"] == "n1");
  CHECK(status["packets"] == 2);
  CHECK(status["oldest"] == format_time_ns(start));
  CHECK(status["newest"] == format_time_ns(start + 5));
  CHECK(status["drops"]["packets"] == 7);
  CHECK(status["hub"]["registered"] == false);
  CHECK(status["layers"]["packets"]["state"] == "recording");
  CHECK(status["quota_bytes"] == 128ULL << 20);
  CHECK(status["used_bytes"].get<uint64_t>() <= 128ULL << 20);
  CHECK(status["retention_ns"].is_null());
  bool lost = false;
  for (const auto& gap : status["gaps"]) lost |= gap["packets"] == 7 && gap["reason"] == "kernel ring full";
  CHECK(lost);
  const auto boundaries = api.json("GET", "/api/v1/boundaries");
  CHECK(boundaries == Json{{"oldest", status["oldest"]}, {"newest", status["newest"]}});
  const std::string metrics = api.raw("GET", "/metrics").body;
  CHECK(metrics.find("\nlookback_capture_packets_total 2\n") != std::string::npos);
  CHECK(metrics.find("\nlookback_capture_dropped_packets_total{reason=\"ring_full\"} 7\n") != std::string::npos);
  CHECK(metrics.find("\nlookback_capture_freezes 1\n") != std::string::npos);
  CHECK(value_of(parse_json(node.daemon->status_json(), "status"))["node"] == "n1");
}

TEST_CASE("when the ring breaks the daemon says so and wait() returns") {
  FakeNode node;
  Api api(*node.daemon);
  node.ring->break_down();
  const auto ended = node.daemon->wait();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().message == "the ring broke");
  CHECK(api.raw("GET", "/readyz").status == 503);
  CHECK(api.raw("GET", "/healthz").status == 200);
  CHECK(api.json("GET", "/api/v1/status")["layers"]["packets"]["state"] == "failed");
}

TEST_CASE("what crosses a veth pair is in the frozen window, byte for byte", "[root]") {
  if (!test::can_use_network_namespaces()) return;
  const test::NetworkNamespace net;
  net.ip("link add va type veth peer name vb");
  for (const char* name : {"va", "vb"}) {
    net.ip(std::string("link set dev ") + name + " addrgenmode none");
    net.ip(std::string("link set dev ") + name + " up");
  }
  test::TemporaryDirectory directory;
  CaptureOptions options;
  options.node = "veth";
  options.listen = "127.0.0.1:0";
  options.data_dir = directory.path();
  options.storage_bytes = 256ULL << 20;
  options.ring_bytes = 32ULL << 20;
  options.interfaces = {"v?"};
  auto daemon = value_of(CaptureDaemon::start(options));
  Api api(*daemon);

  const int64_t before = Clock::system().realtime_ns();
  std::vector<std::string> sent;
  const test::FrameSender sender("va");
  for (int i = 0; i < 20'000; ++i) {
    const auto tags = i % 3 == 0 ? std::vector<uint32_t>{0x8100000a} : std::vector<uint32_t>{};
    const auto frame = test::udp_frame(static_cast<uint16_t>(i), 9, std::string(static_cast<size_t>(i * 37 % 1450), 'x'), tags);
    sent.emplace_back(as_text(frame));
    sender.send(frame);
  }
  const int64_t after = Clock::system().realtime_ns();
  const auto freeze = api.freeze("f", before, after);
  std::vector<std::string> at_va, at_vb;
  int64_t last = 0;
  for (const auto& packet : api.packets("f", freeze)) {
    (packet.interface == "va" ? at_va : at_vb).push_back(packet.data);
    CHECK(packet.time_ns >= before);
    CHECK(packet.time_ns < after);
    last = packet.time_ns;
  }
  CHECK(last > 0);
  CHECK(at_va == sent);
  CHECK(at_vb == sent);
  const auto status = api.json("GET", "/api/v1/status");
  CHECK(status["drops"]["packets"] == 0);
  CHECK(status["packets"].get<uint64_t>() >= 2 * sent.size());
}

}  // namespace lookback::node
