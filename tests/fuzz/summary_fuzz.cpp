// Input: the binary form of a summary, which the text form carries in base64.
#include <algorithm>

#include "lookback/base/hash.hpp"
#include "lookback/packet/summary.hpp"
#include "packet/summary_format.hpp"

using namespace lookback;
using namespace lookback::packet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)Summary::parse({reinterpret_cast<const char*>(data), size});
  const auto summary = Summary::parse(to_base64(std::as_bytes(std::span(data, size))));
  if (!summary) {
    LOOKBACK_CHECK(summary.error().kind == ErrorKind::corrupt);
    return 0;
  }
  // What was read answers, and says the same after it was written and read again.
  const auto again = Summary::parse(summary->to_text());
  LOOKBACK_CHECK(again.has_value());
  LOOKBACK_CHECK(again->to_text() == summary->to_text());
  IpAddress address;
  for (size_t i = 0; i < address.bytes.size() && i < size; ++i)
    address.bytes[i] = data[size - 1 - i];
  LOOKBACK_CHECK(summary->may_have_address(address) == again->may_have_address(address));
  for (const uint8_t bits : {128, 120, 96, 7, 0}) {
    IpAddress masked = address;
    for (unsigned i = bits; i < 128; ++i)
      masked.bytes[i / 8] &= static_cast<uint8_t>(~(0x80u >> i % 8));
    const Cidr network{masked, bits};
    LOOKBACK_CHECK(summary->may_have_network(network) == again->may_have_network(network));
    if (network.contains(address) && summary->may_have_address(address))
      LOOKBACK_CHECK(summary->may_have_network(network));
  }
  const auto port = static_cast<uint16_t>(size * 257);
  LOOKBACK_CHECK(summary->may_have_port(port) == again->may_have_port(port));
  return 0;
}
