#pragma once
// A network namespace of a test's own: every interface and packet of the test stays in it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lookback/base/fd.hpp"

namespace lookback::test {

/// Whether namespaces and packet sockets can be had (root). Where not, notes the running test case as skipped; it returns next.
[[nodiscard]] bool can_use_network_namespaces();

/// Moves the calling thread into a new namespace with loopback up, and back on destruction. Threads that it starts
/// in the meantime are in it too. The namespace ends with its last thread and socket.
class NetworkNamespace {
 public:
  NetworkNamespace();
  ~NetworkNamespace();
  NetworkNamespace(const NetworkNamespace&) = delete;
  NetworkNamespace& operator=(const NetworkNamespace&) = delete;

  /// Runs ip(8) with the words of `arguments`; fails the test where ip does.
  void ip(const std::string& arguments) const;

 private:
  Fd outside_;
};

/// Sends frames as they are out of an interface.
class FrameSender {
 public:
  explicit FrameSender(const std::string& interface);
  void send(std::span<const std::byte> frame) const;

 private:
  Fd fd_;
  int index_ = 0;
};
/// One frame; takes some milliseconds (closing a packet socket does).
void send_frame(const std::string& interface, std::span<const std::byte> frame);

/// An Ethernet frame from 02::1 to 02::2 with the VLAN tags given (outermost first), IPv4 10.9.0.1 → 10.9.0.2, UDP.
[[nodiscard]] std::vector<std::byte> udp_frame(uint16_t source_port, uint16_t destination_port,
                                               std::string_view payload,
                                               const std::vector<uint32_t>& tags = {});
/// The same for TCP with the addresses' last bytes given.
[[nodiscard]] std::vector<std::byte> tcp_frame(uint8_t source, uint16_t source_port,
                                               uint8_t destination, uint16_t destination_port);

/// Opens a tun device (frames are IP packets); what is written to it "arrives" on the interface.
[[nodiscard]] Fd open_tun(const std::string& name);

}  // namespace lookback::test
