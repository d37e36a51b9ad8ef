// Input: two bytes of link type (little-endian), the packet.
#include "lookback/base/result.hpp"
#include "lookback/packet/decode.hpp"
#include "packet/load.hpp"

using namespace lookback::packet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (size < 2) return 0;
  const auto packet = input.subspan(2);
  const Headers headers = decode(load<uint16_t>(input.data()), packet);
  LOOKBACK_CHECK(headers.ip_count <= std::size(headers.ip));
  LOOKBACK_CHECK(headers.mentioned_count <= std::size(headers.mentioned));
  LOOKBACK_CHECK(headers.network_offset <= packet.size());
  for (size_t i = 0; i < headers.ip_count; ++i) {
    const IpLayer& layer = headers.ip[i];
    LOOKBACK_CHECK(layer.ip_offset + (layer.v6 ? 40 : 20) <= packet.size());
    LOOKBACK_CHECK(!layer.has_ports || layer.transport_offset + 4 <= packet.size());
    LOOKBACK_CHECK(i == 0 || layer.ip_offset > headers.ip[i - 1].ip_offset);
    if (const auto tcp = decode_tcp(layer, packet)) {
      LOOKBACK_CHECK(layer.transport_offset + 20 <= packet.size());
      LOOKBACK_CHECK(tcp->payload_offset >= layer.transport_offset + 20);
    }
  }
  return 0;
}
