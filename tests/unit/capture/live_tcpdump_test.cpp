// The ring's filters held against tcpdump, both live on the same interface and the same packets.

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "lookback/base/file.hpp"
#include "lookback/capture/capture.hpp"
#include "lookback/packet/kernel_block.hpp"
#include "lookback/packet/pcapng.hpp"
#include "unit/capture/support/network_namespace.hpp"
#include "unit/support/skip.hpp"
#include "unit/support/temporary_directory.hpp"

namespace lookback::capture {
namespace {

/// tcpdump in the calling thread's network namespace, writing to a file of its own.
///
/// A filter that begins with inbound or outbound is given to it as a direction and the rest. As a filter it fails at first:
/// libpcap judges what came into its ring before the filter was attached by itself, as long as that lasts, and there it does not
/// see the direction and takes nothing.
class Tcpdump {
 public:
  Tcpdump(const std::string& interface, const std::string& filter)
      : file_(directory_ / "packets") {
    int words[2];
    REQUIRE(pipe(words) == 0);
    process_ = fork();
    REQUIRE(process_ >= 0);
    if (process_ == 0) {
      dup2(words[1], STDERR_FILENO);
      close(words[0]);
      close(words[1]);
      std::string rest = filter;
      const char* direction = "inout";
      for (const char* one : {"in", "out"}) {
        const std::string word = std::string(one) + "bound";
        if (!rest.starts_with(word)) continue;
        direction = one;
        rest.erase(0, word.size());
        if (rest.starts_with(" and ")) rest.erase(0, 5);
      }
      execlp("tcpdump", "tcpdump", "-i", interface.c_str(), "-n", "-s", "0", "-U", "--immediate-mode", "-Z", "root",
             "-Q", direction, "-w", file_.c_str(), rest.c_str(), nullptr);
      _exit(127);
    }
    close(words[1]);
    errors_ = Fd(words[0]);
    std::string said;
    while (said.find("listening on") == std::string::npos) {
      char text[256];
      const ssize_t got = read(errors_.get(), text, sizeof text);
      if (got <= 0) FAIL("tcpdump does not run: " << said);
      said.append(text, static_cast<size_t>(got));
    }
  }
  ~Tcpdump() {
    if (process_ > 0) stop();
  }

  /// Ends it; what it wrote.
  std::vector<std::string> packets() {
    stop();
    const auto content = read_file(file_);
    REQUIRE(content);
    size_t at = 0;
    auto reader = packet::CaptureReader::open([&](std::span<std::byte> out) -> Result<size_t> {
      const size_t size = std::min(out.size(), content->size() - at);
      std::copy_n(as_bytes(*content).begin() + static_cast<ptrdiff_t>(at), size, out.begin());
      at += size;
      return size;
    });
    REQUIRE(reader);
    std::vector<std::string> all;
    for (;;) {
      const auto packet = reader->next();
      REQUIRE(packet);
      if (!*packet) return all;
      all.emplace_back(as_text((*packet)->view.data));
    }
  }

 private:
  void stop() {
    kill(process_, SIGINT);
    waitpid(process_, nullptr, 0);
    process_ = -1;
  }

  test::TemporaryDirectory directory_;
  std::filesystem::path file_;
  pid_t process_ = -1;
  Fd errors_;
};

std::vector<std::string> ring_packets(Ring& ring) {
  std::vector<std::string> all;
  std::this_thread::sleep_for(std::chrono::milliseconds(ring.retire_timeout_ms() + 5));
  for (;;) {
    const auto block = ring.next(0);
    REQUIRE(block);
    if (!*block) return all;
    packet::KernelBlockWalker walker(block->memory().first(block->used_bytes), block->first_packet, block->packets);
    while (const auto packet = walker.next()) {
      std::string data(as_text(packet->view.data));
      if (packet->has_vlan) {
        const uint32_t tag = uint32_t{packet->vlan_tpid} << 16 | packet->vlan_tci;
        const char bytes[4] = {static_cast<char>(tag >> 24), static_cast<char>(tag >> 16), static_cast<char>(tag >> 8),
                               static_cast<char>(tag)};
        data.insert(12, bytes, 4);
      }
      all.push_back(std::move(data));
    }
  }
}

template <class Send>
void compare(const std::string& interface, const std::vector<const char*>& filters, const Send& send) {
  size_t matched = 0;
  for (const char* filter : filters) {
    INFO(interface << ": " << filter);
    Tcpdump tcpdump(interface, filter);
    RingOptions options;
    options.interfaces = {interface};
    options.filter = filter;
    options.ring_bytes = 4 << 20;
    options.exclude = {{"192.0.2.2", 7401, "192.0.2.1", 0}};  // does not disturb what follows it
    const auto ring = Ring::open(options);
    REQUIRE(ring);
    send();
    const auto ours = ring_packets(**ring);
    CHECK(ours == tcpdump.packets());
    matched += ours.size();
  }
  CHECK(matched > filters.size());
}

bool can_compare() {
  if (!test::can_use_network_namespaces()) return false;
  if (std::system("tcpdump --version >/dev/null 2>&1") == 0) return true;
  test::note_skip("tcpdump is not installed");
  return false;
}

}  // namespace

TEST_CASE("filters on Ethernet match what tcpdump's match, tags included", "[root]") {
  if (!can_compare()) return;
  const test::NetworkNamespace net;
  net.ip("link add va type veth peer name vb");
  for (const char* name : {"va", "vb"}) {
    net.ip(std::string("link set dev ") + name + " addrgenmode none");
    net.ip(std::string("link set dev ") + name + " up");
  }
  constexpr uint32_t kTag10 = 0x8100000a, kTag20 = 0x81000014, kService = 0x88a80064, kOld = 0x81000064;
  std::vector<std::vector<std::byte>> frames;
  for (const auto& tags : std::vector<std::vector<uint32_t>>{
           {}, {kTag10}, {kTag20}, {kService, kTag10}, {kOld, kTag20}, {kService}}) {
    frames.push_back(test::udp_frame(1000, 2000, "short", tags));
    frames.push_back(test::udp_frame(2000, 53, std::string(300, 'l'), tags));
  }
  frames.push_back(test::tcp_frame(1, 40000, 2, 80));
  frames.push_back(test::tcp_frame(3, 80, 4, 40000));
  auto broadcast = test::udp_frame(68, 67, "to all");
  std::fill_n(broadcast.begin(), 6, std::byte{0xff});
  frames.push_back(broadcast);
  const test::FrameSender sender("va");
  const test::FrameSender back("vb");
  compare("vb",
          {"", "vlan", "vlan 10", "vlan 10 and udp", "vlan 20 and host 10.9.0.2", "not vlan", "udp", "tcp",
           "vlan and vlan", "vlan 100 and vlan 10", "vlan 100 and vlan 10 and udp port 53", "vlan and udp port 53",
           "tcp port 80 or (vlan 20 and udp port 2000)", "udp port 53 or vlan 10", "less 80", "greater 200",
           "ether broadcast", "ether src 02:00:00:00:00:01 and not ip", "inbound", "outbound", "outbound and vlan",
           "ip[8] = 64", "udp[4:2] > 100", "host 10.9.0.1 or host 10.9.0.4", "portrange 1-1000",
           "ether proto 0x88a8", "vlan 10 or vlan 20"},
          [&] {
            for (const auto& frame : frames) sender.send(frame);
            back.send(frames[0]);
            back.send(frames[2]);
          });
}

TEST_CASE("filters on a tun device match what tcpdump's match", "[root]") {
  if (!can_compare()) return;
  const test::NetworkNamespace net;
  const Fd tun = test::open_tun("tun0");
  net.ip("link set tun0 addrgenmode none");
  net.ip("link set tun0 up");
  compare("tun0", {"", "ip", "ip6", "udp port 2000", "udp[8:4] = 0x73686f72", "inbound", "outbound", "less 60", "tcp"}, [&] {
    for (const auto& frame : {test::udp_frame(1000, 2000, "short"), test::udp_frame(2000, 53, std::string(200, 'x')),
                              test::tcp_frame(1, 2, 3, 4)})
      REQUIRE(write(tun.get(), frame.data() + 14, frame.size() - 14) == static_cast<ssize_t>(frame.size() - 14));
  });
}

TEST_CASE("filters on loopback match what tcpdump's match", "[root]") {
  if (!can_compare()) return;
  const test::NetworkNamespace net;
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  compare("lo", {"", "udp", "icmp", "udp port 9", "host 127.0.0.1 and not icmp", "inbound", "not vlan"}, [&] {
    for (const uint16_t port : {9, 10, 9}) {
      to.sin_port = htons(port);
      REQUIRE(sendto(fd.get(), "over loopback", 13, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) == 13);
    }
  });
}

}  // namespace lookback::capture
