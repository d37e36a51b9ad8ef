// IEEE 802.11 and the headers that radios put in front of it.
#include "packet/decoder.hpp"

namespace lookback::packet {

namespace {
constexpr int kMaxPresentWords = 16;
}

/// https://www.radiotap.org: little-endian; the flags say whether the 802.11 header is padded to 4 bytes.
Place Decoder::radiotap(uint32_t offset) {
  constexpr uint32_t kTimer = 1, kFlags = 2, kMore = 0x80000000;
  constexpr uint8_t kPadded = 0x20;
  if (!has(offset, 8)) return cut();
  const uint32_t length = load<uint16_t>(base_ + offset + 2);
  const uint32_t present = load<uint32_t>(base_ + offset + 4);
  if (length < 8) return malformed();
  if (!has(offset, length)) return cut();
  uint32_t at = offset + 8;
  uint32_t word = present;
  for (int i = 0; (word & kMore) != 0; ++i) {
    if (i == kMaxPresentWords || at + 4 > offset + length) return malformed();
    word = load<uint32_t>(base_ + at);
    at += 4;
  }
  if ((present & kTimer) != 0) at = offset + ((at - offset + 7) & ~7u) + 8;
  const bool padded = (present & kFlags) != 0 && at < offset + length && (u8(at) & kPadded) != 0;
  return wlan_frame(offset + length, padded);
}

/// 144 bytes; some drivers put AVS there under the same link type.
Place Decoder::prism(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  if ((u32(offset) & 0xfffff000) == 0x80211000) return avs(offset);
  return wlan_frame(offset + 144, false);
}

Place Decoder::avs(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const uint32_t length = u32(offset + 4);
  if (length < 8 || length > 4096) return malformed();
  return wlan_frame(offset + length, false);
}

/// Per-packet information: length and link type are little-endian.
Place Decoder::ppi(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const uint32_t length = load<uint16_t>(base_ + offset + 2), type = load<uint32_t>(base_ + offset + 4);
  if (length < 8) return malformed();
  return optional_header(type > UINT16_MAX ? UINT16_MAX : static_cast<uint16_t>(type), offset + length);
}

Place Decoder::wlan(uint32_t offset) { return wlan_frame(offset, false); }

/// IEEE 802.11 clause 9.3.2: data frames with a body.
Place Decoder::wlan_frame(uint32_t offset, bool padded) {
  constexpr uint8_t kData = 2, kNoBody = 4, kQos = 8;
  if (!has(offset, 2)) return cut();
  const uint8_t control = u8(offset), flags = u8(offset + 1);
  const uint8_t type = control >> 2 & 3, subtype = control >> 4;
  if (type != kData || (subtype & kNoBody) != 0) return kDone;  // nothing of a network in it
  uint32_t header = 24;
  if ((flags & 3) == 3) header += 6;  // between access points: a fourth address
  bool aggregate = false;
  if ((subtype & kQos) != 0) {
    if (!has(offset, header + 2)) return cut();
    aggregate = (u8(offset + header) & 0x80) != 0;
    header += 2;
    if ((flags & 0x80) != 0) header += 4;  // HT control
  }
  if (padded) header = (header + 3) & ~3u;
  if (!has(offset, header)) return cut();
  if ((flags & 0x40) != 0) return leave(Unread::encrypted);
  if ((u16(offset + 22) & 0x0f00) != 0) return leave(Unread::fragment);  // the fragment number, little-endian
  return aggregate ? aggregated(offset + header) : logical_link(offset + header);
}

/// Several frames in one (clause 9.3.2.2): two addresses, a length, the frame, padding. None of them is the packet's own way, so all
/// of them are mentioned.
Place Decoder::aggregated(uint32_t offset) {
  aside_ = true;
  outermost_ = false;
  unsigned frames = 0;
  for (; offset < size_; ++frames) {
    if (!has(offset, 14)) {
      if (size_ - offset > 4) return cut();
      break;  // a frame check sequence
    }
    const uint32_t length = u16(offset + 12);
    if (length != 0 && !also({Layer::logical_link, offset + 14})) return leave(Unread::nesting);
    offset += (14 + length + 3) & ~3u;
  }
  return frames < 2 ? cut() : kDone;  // one alone may be all that is left
}

}  // namespace lookback::packet
