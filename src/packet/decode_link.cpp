// What lies below the network layer: link layers, tags and labels. 802.11 is in decode_wlan.cpp.
#include "packet/decoder.hpp"

namespace lookback::packet {

namespace {
constexpr uint16_t kSmallestEtherType = 0x0600;  // below it the field is a length (IEEE 802.3)
constexpr int kMaxTags = 8, kMaxLabels = 16;
}  // namespace

bool Decoder::looks_like_ethernet(uint32_t offset) const {
  if (!has(offset, 14)) return false;
  const uint16_t type = u16(offset + 12);
  if (type == 0x0800 || type == 0x86dd) return looks_like_ip(offset + 14) && (u8(offset + 14) >> 4 == 4) == (type == 0x0800);
  if (type < kSmallestEtherType) return type >= 3 && type <= size_ - offset - 14;
  return is_vlan(type) || layer_of_ether_type(type) != Layer::unknown;
}

Place Decoder::ethernet(uint32_t offset) {
  if (!has(offset, 14)) return cut();
  // Cisco's inter-switch link: a frame inside a frame that is sent to 01-00-0c-00-00 or 03-00-0c-00-00.
  if ((u32(offset) & 0xfdffffff) == 0x01000c00 && u8(offset + 4) == 0 && u16(offset + 12) < kSmallestEtherType &&
      looks_like_ethernet(offset + 26))
    return inside(Layer::ethernet, offset + 26);
  return tagged(offset + 12);
}

/// An EtherType with what it announces behind it; skips VLAN tags.
Place Decoder::tagged(uint32_t offset) {
  if (!has(offset, 2)) return cut();
  return ether_type(u16(offset), offset + 2);
}

Place Decoder::ether_type(uint16_t type, uint32_t offset) {
  for (int tags = 0; is_vlan(type); ++tags) {
    if (tags == kMaxTags) return leave(Unread::nesting);
    if (!has(offset, 4)) return cut();
    if (outermost_) {
      if (out_.vlan_count < 2) out_.vlan_ids[out_.vlan_count] = u16(offset) & 0x0fff;
      ++out_.vlan_count;
    }
    type = u16(offset + 2);
    offset += 4;
  }
  if (outermost_) {
    out_.ether_type = type;
    out_.network_offset = offset;
  }
  if (type >= kSmallestEtherType) return {layer_of_ether_type(type), offset};
  if (type == 1) return kDone;  // in cooked captures: Novell's frames without 802.2
  return {Layer::logical_link, offset};
}

/// IEEE 802.2.
Place Decoder::logical_link(uint32_t offset) {
  if (!has(offset, 3)) return cut();
  const uint8_t destination = u8(offset);
  const uint32_t control_bytes = (u8(offset + 2) & 3) == 3 ? 1 : 2;
  const uint32_t payload = offset + 2 + control_bytes;
  if (destination == 0xaa) return snap(payload);
  // ISO network protocols: RFC 1483 sends IP so, too.
  if (destination == 0xfe && has(payload, 1) && (u8(payload) == 0xcc || u8(payload) == 0x8e)) return ip_by_version(payload + 1);
  return {layer_of_service_access_point(destination), payload};
}

/// RFC 1042, IEEE 802.1H and RFC 2684: an organization and its number for what follows.
Place Decoder::snap(uint32_t offset) {
  if (!has(offset, 5)) return cut();
  const uint32_t organization = u32(offset) >> 8;
  const uint16_t type = u16(offset + 3);
  if (organization == 0 || organization == 0x0000f8) {
    if (type < kSmallestEtherType) return malformed();
    return ether_type(type, offset + 5);
  }
  if (organization == 0x0080c2) {  // bridged: with padding on ATM, without on frame relay
    if (type != 1 && type != 7) return leave(Unread::protocol);
    return inside(Layer::ethernet, looks_like_ethernet(offset + 7) ? offset + 7 : offset + 5);
  }
  // CDP and PVST+ of Cisco, AppleTalk, Extreme's EDP.
  if (organization == 0x00000c || organization == 0x080007 || organization == 0x00e02b) return kDone;
  return leave(Unread::protocol);
}

/// The address family in the byte order of the machine that recorded (LOOP: network order).
Place Decoder::bsd_loopback(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  uint32_t family = load<uint32_t>(base_ + offset);
  if (family > 0xffff) family = __builtin_bswap32(family);
  switch (family) {
    case 2:
      return {Layer::ipv4, offset + 4};
    case 10:  // Linux
    case 24:
    case 28:  // NetBSD and OpenBSD, FreeBSD
    case 30:  // Darwin
      return {Layer::ipv6, offset + 4};
    default:
      return leave(Unread::protocol);
  }
}

Place Decoder::cooked_v2(uint32_t offset) {
  if (!has(offset, 20)) return cut();
  return ether_type(u16(offset), offset + 20);
}

/// RFC 1661 and RFC 1662: address and control may be left out; so may the protocol's first byte.
Place Decoder::ppp(uint32_t offset) {
  if (!has(offset, 2)) return cut();
  if (u16(offset) == 0xff03) return ppp_protocol(offset + 2);
  // What links with either framing record.
  if (u8(offset) == 0x0f || u8(offset) == 0x8f) return cisco_hdlc(offset);
  return ppp_protocol(offset);
}

Place Decoder::ppp_protocol(uint32_t offset) {
  if (!has(offset, 2)) return cut();
  const uint8_t first = u8(offset);
  const bool compressed = (first & 1) != 0;
  const uint16_t protocol = compressed ? first : u16(offset);
  const uint32_t payload = offset + (compressed ? 1 : 2);
  if (protocol != 0x0031) return {layer_of_ppp_protocol(protocol), payload};
  // RFC 3518: flags and the kind of frame; up to here there may be padding in front.
  if (!has(payload, 2)) return cut();
  if (u8(payload + 1) != 1) return leave(Unread::protocol);
  return inside(Layer::ethernet, payload + 2);
}

/// RFC 2516 section 4.
Place Decoder::pppoe(uint32_t offset) {
  if (!has(offset, 6)) return cut();
  if (u8(offset) != 0x11) return malformed();
  if (u8(offset + 1) != 0) return kDone;
  return ppp_protocol(offset + 6);
}

Place Decoder::cisco_hdlc(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  if (u16(offset + 2) == 0x8035) return kDone;  // SLARP
  return tagged(offset + 2);
}

/// RFC 2427, and Cisco's way of an EtherType behind the address.
Place Decoder::frame_relay(uint32_t offset) {
  uint32_t at = offset;
  do {
    if (at - offset == 4) return malformed();
    if (!has(at, 1)) return cut();
  } while ((u8(at++) & 1) == 0);
  if (!has(at, 2)) return cut();
  if (u8(at) != 3) return tagged(at);
  ++at;
  if (u8(at) == 0) ++at;  // padding
  if (!has(at, 1)) return cut();
  const uint8_t protocol = u8(at++);
  switch (protocol) {
    case 0x80:
      return snap(at);
    case 0xcc:
    case 0x8e:
      return ip_by_version(at);
    case 0xcf:
      return ppp_protocol(at);
    case 0x08:  // Q.933
    case 0x81:  // ISO
    case 0x82:
    case 0x83:
      return kDone;
    default:
      return leave(Unread::protocol);
  }
}

/// IEEE 802.5, with source routing.
Place Decoder::token_ring(uint32_t offset) {
  if (!has(offset, 16)) return cut();
  const uint32_t routing = (u8(offset + 8) & 0x80) != 0 ? u8(offset + 14) & 0x1fu : 0;
  if ((u8(offset + 1) & 0xc0) != 0x40) return kDone;  // no logical link behind it
  return logical_link(offset + 14 + routing);
}

/// `offset` is that of the type (RFC 1201; RFC 1051 has no more header behind it).
Place Decoder::arcnet(uint32_t offset) {
  if (!has(offset, 5)) return cut();
  switch (u8(offset)) {
    case 196:
    case 212:
      return ip_by_version(offset + 4);
    case 240:
      return ip_by_version(offset + 1);
    case 213:
      return {Layer::arp, offset + 4};
    case 241:
      return {Layer::arp, offset + 1};
    default:
      return kDone;
  }
}

/// RFC 2684: IP alone on its circuit has no header at all.
Place Decoder::atm(uint32_t offset) {
  if (!has(offset, 3)) return cut();
  if (looks_like_ip(offset)) return ip_by_version(offset);
  return logical_link(offset);
}

Place Decoder::sunatm(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  switch (u8(offset) & 0x0f) {
    case 1:  // LAN emulation: two bytes in front of the frame
      return {Layer::ethernet, offset + 6};
    case 2:
      return logical_link(offset + 4);
    case 6:  // signalling
      return kDone;
    default:
      return leave(Unread::protocol);
  }
}

/// RFC 4338: a network header in front of IP.
Place Decoder::fibre_channel(uint32_t offset) {
  if (!has(offset, 24)) return cut();
  if (u8(offset + 8) != 5) return kDone;
  const bool network_header = (u8(offset + 13) & 0x20) != 0;
  return logical_link(offset + 24 + (network_header ? 16 : 0));
}

/// RFC 4391 section 6: an EtherType and two bytes that are reserved.
Place Decoder::infiniband(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  return ether_type(u16(offset), offset + 4);
}

/// Type, length and value in the order of the machine that recorded, which readers have brought into ours.
Place Decoder::nflog(uint32_t offset) {
  constexpr uint16_t kPayload = 9;
  constexpr int kMaxAttributes = 64;
  uint32_t at = offset + 4;
  for (int i = 0; i < kMaxAttributes; ++i) {
    if (!has(at, 4)) return cut();
    const uint32_t length = load<uint16_t>(base_ + at);
    const uint16_t type = load<uint16_t>(base_ + at + 2) & 0x7fff;
    if (length < 4) return malformed();
    if (type == kPayload) {
      constexpr uint8_t kArpFamily = 3;
      return u8(offset) == kArpFamily ? Place{Layer::arp, at + 4} : ip_by_version(at + 4);
    }
    at += (length + 3) & ~3u;
  }
  return leave(Unread::nesting);
}

/// The header's first byte is its length, to be rounded up to 4.
Place Decoder::pflog(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  return ip_by_version(offset + ((u8(offset) + 3u) & ~3u));
}

/// Apple's, in the order of the machine that recorded.
Place Decoder::pktap(uint32_t offset) {
  if (!has(offset, 12)) return cut();
  const uint32_t length = load<uint32_t>(base_ + offset), type = load<uint32_t>(base_ + offset + 8);
  if (length < 12 || length > 4096) return malformed();
  return optional_header(type > UINT16_MAX ? UINT16_MAX : static_cast<uint16_t>(type), offset + length);
}

/// A link type inside of another: the numbers are libpcap's own, which differ for raw IP and ATM.
Place Decoder::optional_header(uint16_t data_link_type, uint32_t offset) {
  const LinkLayer inner = layer_of_link_type(data_link_type == 11 ? uint16_t{100} : data_link_type);
  if (inner.layer == Layer::unknown) return leave(Unread::link_type);
  return {inner.layer, offset + inner.skip};
}

/// Endace's: 16 bytes, extension headers, a kind of frame.
Place Decoder::erf(uint32_t offset) {
  constexpr int kMaxExtensions = 8;
  if (!has(offset, 16)) return cut();
  const uint8_t type = u8(offset + 8);
  uint32_t at = offset + 16;
  bool more = (type & 0x80) != 0;
  for (int i = 0; more; ++i) {
    if (i == kMaxExtensions) return leave(Unread::nesting);
    if (!has(at, 8)) return cut();
    more = (u8(at) & 0x80) != 0;
    at += 8;
  }
  switch (type & 0x7f) {
    case 2:
    case 11:
    case 16:
    case 20:
      return {Layer::ethernet, at + 2};
    case 22:
      return {Layer::ipv4, at};
    case 23:
      return {Layer::ipv6, at};
    default:
      return leave(Unread::protocol);
  }
}

/// RFC 3032. Nothing says what is behind the last label: IP has its version there, a pseudowire's control word (RFC 4385) a zero.
Place Decoder::mpls(uint32_t offset) {
  for (int labels = 0;; ++labels) {
    if (labels == kMaxLabels) return leave(Unread::nesting);
    if (!has(offset, 4)) return cut();
    const bool last = (u8(offset + 2) & 1) != 0;
    offset += 4;
    if (last) break;
  }
  if (!has(offset, 1)) return cut();
  outermost_ = false;
  if (looks_like_ip(offset)) return ip_by_version(offset);
  const uint8_t first = u8(offset) >> 4;
  if (first == 1) {  // associated channel (RFC 5586); IP in it has numbers of its own
    if (!has(offset, 4)) return cut();
    const uint16_t channel = u16(offset + 2);
    return channel == 0x0021 || channel == 0x0057 ? ip_by_version(offset + 4) : kDone;
  }
  if (first == 0 && looks_like_ethernet(offset + 4)) return {Layer::ethernet, offset + 4};
  if (looks_like_ethernet(offset)) return {Layer::ethernet, offset};
  if (!has(offset, 20)) return cut();
  return leave(Unread::protocol);
}

/// IEEE 802.1ah: priority and service id, then the customer's frame.
Place Decoder::backbone_bridge(uint32_t offset) { return inside(Layer::ethernet, offset + 4); }
Place Decoder::vn_tag(uint32_t offset) { return {Layer::tagged, offset + 4}; }
Place Decoder::e_tag(uint32_t offset) { return {Layer::tagged, offset + 6}; }
/// Two bytes of forwarding tag, then the frame.
Place Decoder::fabric_path(uint32_t offset) { return inside(Layer::ethernet, offset + 2); }
Place Decoder::cisco_metadata(uint32_t offset) { return {Layer::tagged, offset + 6}; }

/// IEEE 802.1AE clause 9: only the tag stands in front of what is merely signed.
Place Decoder::macsec(uint32_t offset) {
  if (!has(offset, 6)) return cut();
  const uint8_t control = u8(offset);
  if ((control & 0x0c) != 0) return leave(Unread::encrypted);
  return {Layer::tagged, offset + 6 + ((control & 0x20) != 0 ? 8 : 0)};
}

/// RFC 6325 section 3.
Place Decoder::trill(uint32_t offset) {
  if (!has(offset, 6)) return cut();
  const uint32_t option_words = u16(offset) >> 6 & 0x1fu;
  return inside(Layer::ethernet, offset + 6 + option_words * 4);
}

/// RFC 8300 section 2.
Place Decoder::nsh(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const uint32_t words = u8(offset + 1) & 0x3fu;
  if (words < 2) return malformed();
  return inside(layer_of_nsh_protocol(u8(offset + 3)), offset + words * 4);
}

}  // namespace lookback::packet
