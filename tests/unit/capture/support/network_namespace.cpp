#include "unit/capture/support/network_namespace.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>

#include "unit/support/skip.hpp"

namespace lookback::test {
namespace {

void put16(std::vector<std::byte>& out, uint32_t value) {
  out.push_back(static_cast<std::byte>(value >> 8));
  out.push_back(static_cast<std::byte>(value));
}

std::vector<std::byte> ethernet(const std::vector<uint32_t>& tags) {
  std::vector<std::byte> frame;
  for (const int byte : {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}) frame.push_back(std::byte(byte));
  for (const uint32_t tag : tags) {
    put16(frame, tag >> 16);
    put16(frame, tag);
  }
  put16(frame, ETH_P_IP);
  return frame;
}

void put_ipv4(std::vector<std::byte>& out, uint8_t protocol, uint8_t source, uint8_t destination,
              size_t payload) {
  const size_t start = out.size();
  put16(out, 0x4500);
  put16(out, static_cast<uint32_t>(20 + payload));
  put16(out, 0);
  put16(out, 0);
  put16(out, 0x4000u | protocol);
  put16(out, 0);
  for (const uint8_t last : {source, destination})
    for (const int byte : {10, 9, 0, int{last}}) out.push_back(std::byte(byte));
  uint32_t sum = 0;
  for (size_t i = start; i < out.size(); i += 2)
    sum += std::to_integer<uint32_t>(out[i]) << 8 | std::to_integer<uint32_t>(out[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  out[start + 10] = static_cast<std::byte>(~sum >> 8);
  out[start + 11] = static_cast<std::byte>(~sum);
}

}  // namespace

bool can_use_network_namespaces() {
  static const bool able = [] {
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd >= 0) close(fd);
    return fd >= 0 && geteuid() == 0;
  }();
  if (!able) note_skip("network namespaces need root");
  return able;
}

NetworkNamespace::NetworkNamespace() {
  outside_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(outside_.valid());
  REQUIRE(unshare(CLONE_NEWNET) == 0);
  ip("link set lo up");
}

NetworkNamespace::~NetworkNamespace() {
  // Only a broken kernel refuses the way back; going on in the wrong namespace would be worse than ending.
  if (setns(outside_.get(), CLONE_NEWNET) != 0) std::abort();
}

void NetworkNamespace::ip(const std::string& arguments) const {
  INFO("ip " << arguments);
  REQUIRE(std::system(("ip " + arguments).c_str()) == 0);
}

FrameSender::FrameSender(const std::string& interface)
    : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)),
      index_(static_cast<int>(if_nametoindex(interface.c_str()))) {
  REQUIRE(fd_.valid());
  REQUIRE(index_ != 0);
}

void FrameSender::send(std::span<const std::byte> frame) const {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = index_;
  // The protocol decides how the kernel reads the frame's tags.
  std::memcpy(&address.sll_protocol, frame.data() + 12, 2);
  REQUIRE(sendto(fd_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&address),
                 sizeof address) == static_cast<ssize_t>(frame.size()));
}

void send_frame(const std::string& interface, std::span<const std::byte> frame) {
  FrameSender(interface).send(frame);
}

std::vector<std::byte> udp_frame(uint16_t source_port, uint16_t destination_port,
                                 std::string_view payload, const std::vector<uint32_t>& tags) {
  auto frame = ethernet(tags);
  put_ipv4(frame, IPPROTO_UDP, 1, 2, 8 + payload.size());
  put16(frame, source_port);
  put16(frame, destination_port);
  put16(frame, static_cast<uint32_t>(8 + payload.size()));
  put16(frame, 0);
  for (const char c : payload) frame.push_back(std::byte(c));
  return frame;
}

std::vector<std::byte> tcp_frame(uint8_t source, uint16_t source_port, uint8_t destination,
                                 uint16_t destination_port) {
  auto frame = ethernet({});
  put_ipv4(frame, IPPROTO_TCP, source, destination, 20);
  put16(frame, source_port);
  put16(frame, destination_port);
  for (const int word : {0, 1, 0, 0, 0x5010, 1000, 0, 0}) put16(frame, static_cast<uint32_t>(word));
  return frame;
}

Fd open_tun(const std::string& name) {
  Fd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  REQUIRE(fd.valid());
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  REQUIRE(ioctl(fd.get(), TUNSETIFF, &request) == 0);
  return fd;
}

}  // namespace lookback::test
