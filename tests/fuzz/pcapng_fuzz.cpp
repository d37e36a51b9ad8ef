#include <algorithm>
#include <cstring>

#include "lookback/packet/section_walker.hpp"

using namespace lookback;
using namespace lookback::packet;

namespace {

Result<CaptureReader> open(std::span<const std::byte> bytes, size_t chunk) {
  return CaptureReader::open([bytes, chunk](std::span<std::byte> out) mutable -> Result<size_t> {
    const size_t n = std::min({out.size(), bytes.size(), chunk});
    if (n != 0) std::memcpy(out.data(), bytes.data(), n);
    bytes = bytes.subspan(n);
    return n;
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  auto reader = open(bytes, 1 + size % 61);
  auto whole = open(bytes, SIZE_MAX);
  LOOKBACK_CHECK(reader.has_value() == whole.has_value());
  SectionWalker walker(bytes);
  RawPacket raw;
  bool walking = true;
  while (reader) {
    const auto packet = reader->next();
    const auto same = whole->next();
    // How the bytes arrive makes no difference.
    LOOKBACK_CHECK(packet.has_value() == same.has_value());
    if (!packet) LOOKBACK_CHECK(packet.error().message == same.error().message);
    if (!packet || !*packet) break;
    const PacketView& view = (*packet)->view;
    LOOKBACK_CHECK(view.interface < reader->interfaces().size());
    LOOKBACK_CHECK(view.data.size() <= size);
    LOOKBACK_CHECK(std::ranges::equal(view.data, (*same)->view.data));
    // As long as a section is one of ours, both ways of reading it agree.
    walking = walking && walker.next(raw);
    if (walking) {
      LOOKBACK_CHECK(raw.view.time_ns == view.time_ns);
      LOOKBACK_CHECK(std::ranges::equal(raw.view.data, view.data));
      LOOKBACK_CHECK(raw.view.original_length == view.original_length);
    }
  }
  while (walking && walker.next(raw)) {
    LOOKBACK_CHECK(raw.block.data() >= bytes.data());
    LOOKBACK_CHECK(raw.block.data() + raw.block.size() <= bytes.data() + size);
  }
  return 0;
}
