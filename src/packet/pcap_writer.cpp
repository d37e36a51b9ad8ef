#include <algorithm>
#include <cstring>

#include "lookback/base/time.hpp"
#include "lookback/packet/pcapng.hpp"
#include "packet/load.hpp"

namespace lookback::packet {

namespace {
constexpr uint32_t kMagicNanoseconds = 0xa1b23c4d, kMagicMicroseconds = 0xa1b2c3d4;
// What "no limit" is to readers: the largest packet that they take without suspicion.
constexpr uint32_t kUnlimitedSnaplen = 262144;
}  // namespace

void append_pcap_header(Buffer& out, uint16_t link_type, uint32_t snaplen, PcapStamps stamps) {
  const uint32_t header[6] = {
      stamps == PcapStamps::nanoseconds ? kMagicNanoseconds : kMagicMicroseconds,
      2u | 4u << 16,
      0,
      0,
      snaplen == 0 ? kUnlimitedSnaplen : snaplen,
      link_type};
  const auto bytes = std::as_bytes(std::span(header));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_pcap_record(Buffer& out, const PacketView& packet) {
  // Seconds are an unsigned 32-bit number: 1970 to 2106.
  const int64_t time =
      std::clamp<int64_t>(packet.time_ns, 0, int64_t{UINT32_MAX} * kNsPerSecond + kNsPerSecond - 1);
  const uint32_t header[4] = {static_cast<uint32_t>(time / kNsPerSecond),
                              static_cast<uint32_t>(time % kNsPerSecond),
                              static_cast<uint32_t>(packet.data.size()), packet.original_length};
  const auto bytes = std::as_bytes(std::span(header));
  out.insert(out.end(), bytes.begin(), bytes.end());
  out.insert(out.end(), packet.data.begin(), packet.data.end());
}

}  // namespace lookback::packet
