#include "exporter/packet_digest.hpp"

#include "lookback/packet/decode.hpp"

namespace lookback::exporter {

PacketDigest digest_of(uint16_t link_type, std::span<const std::byte> data,
                       uint32_t original_length) {
  PacketDigest digest;
  digest.original_length = original_length;
  const packet::Headers headers = packet::decode(link_type, data);
  if (headers.ip_count == 0) return digest;
  const packet::IpLayer& ip = headers.ip[headers.ip_count - 1];
  digest.is_ip = true;
  digest.source = ip.source;
  digest.destination = ip.destination;
  digest.protocol = ip.protocol;
  if (ip.has_ports) {
    digest.source_port = ip.source_port;
    digest.destination_port = ip.destination_port;
  }
  if (const auto tcp = packet::decode_tcp(ip, data)) {
    digest.is_tcp = true;
    digest.sequence = tcp->sequence;
    digest.acknowledgment = tcp->acknowledgment;
    digest.payload_length = tcp->payload_length;
    digest.tcp_flags = tcp->flags;
    digest.window = tcp->window;
  }
  return digest;
}

}  // namespace lookback::exporter
