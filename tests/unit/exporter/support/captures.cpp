#include "unit/exporter/support/captures.hpp"

#include "lookback/base/fd.hpp"

namespace lookback::test {

std::vector<std::byte> udp_packet(uint32_t number, size_t payload) {
  std::vector<std::byte> bytes;
  const auto put = [&](std::initializer_list<unsigned> values) {
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  };
  const size_t ip_length = 28 + payload, udp_length = 8 + payload;
  put({2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0});
  put({0x45, 0, static_cast<unsigned>(ip_length >> 8), static_cast<unsigned>(ip_length & 0xff), 0, 1, 0, 0, 64, 17, 0, 0});
  put({10, 0, number >> 8 & 0xff, number & 0xff, 10, 1, 0, 1});
  put({0x30, 0x39, 0, 53, static_cast<unsigned>(udp_length >> 8), static_cast<unsigned>(udp_length & 0xff), 0, 0});
  for (size_t i = 0; i < payload; ++i) put({static_cast<unsigned>((number * 7 + i * i) & 0xff)});
  return bytes;
}

std::string pcapng_of(const std::vector<packet::PcapngInterface>& interfaces, const std::vector<Stored>& packets) {
  packet::Buffer out;
  packet::append_section_header(out, "a test");
  for (const auto& interface : interfaces) packet::append_interface(out, interface);
  for (const Stored& packet : packets) packet::append_packet(out, packet.view());
  return std::string(as_text(out));
}

std::string pcap_of(const std::vector<Stored>& packets) {
  packet::Buffer out;
  packet::append_pcap_header(out, packet::link_type::kEthernet, 0);
  for (const Stored& packet : packets) packet::append_pcap_record(out, packet.view());
  return std::string(as_text(out));
}

}  // namespace lookback::test
