// What lies above IP and carries packets again, or quotes them.
#include "packet/decoder.hpp"

namespace lookback::packet {

/// RFC 2784 and RFC 2890; source routes as in RFC 1701.
Place Decoder::gre(uint32_t offset) {
  constexpr uint16_t kChecksum = 0x8000, kRouting = 0x4000, kKey = 0x2000, kSequence = 0x1000, kErspan = 0x88be;
  constexpr int kMaxRoutes = 16;
  if (!has(offset, 4)) return cut();
  const uint16_t flags = u16(offset);
  const uint16_t protocol = u16(offset + 2);
  if ((flags & 7) == 1) return gre_of_pptp(offset);
  if ((flags & 7) != 0) return leave(Unread::protocol);
  uint32_t at = offset + 4;
  if ((flags & (kChecksum | kRouting)) != 0) at += 4;
  if ((flags & kKey) != 0) at += 4;
  if ((flags & kSequence) != 0) at += 4;
  if ((flags & kRouting) != 0) {
    for (int i = 0;; ++i) {
      if (i == kMaxRoutes) return leave(Unread::nesting);
      if (!has(at, 4)) return cut();
      const uint32_t family = u16(at), length = u8(at + 3);
      at += 4 + length;
      if (family == 0 && length == 0) break;
    }
  }
  if (protocol == 0) return kDone;  // keepalives
  // ERSPAN of type I has neither a sequence number nor a header.
  if (protocol == kErspan && (flags & kSequence) == 0) return inside(Layer::ethernet, at);
  return inside(layer_of_ether_type(protocol), at);
}

/// RFC 2637 section 4.1; without a sequence number it only acknowledges.
Place Decoder::gre_of_pptp(uint32_t offset) {
  const uint16_t flags = u16(offset);
  if ((flags & 0x1000) == 0) return kDone;
  return {Layer::ppp, offset + 12 + ((flags & 0x0080) != 0 ? 4u : 0u)};
}

/// draft-foschiano-erspan section 4.2.
Place Decoder::erspan2(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  switch (u8(offset) >> 4) {
    case 1:
      return inside(Layer::ethernet, offset + 8);
    case 2:
      return erspan3(offset);
    default:
      return looks_like_ethernet(offset) ? inside(Layer::ethernet, offset) : leave(Unread::protocol);
  }
}

/// Section 4.3: a platform's own 8 bytes may follow; the frame is Ethernet or IP.
Place Decoder::erspan3(uint32_t offset) {
  if (!has(offset, 12)) return cut();
  const uint16_t kind = u16(offset + 10);
  const uint32_t at = offset + 12 + ((kind & 1) != 0 ? 8 : 0);
  switch (kind >> 10 & 0x1f) {
    case 0:
      return inside(Layer::ethernet, at);
    case 2:
      return inside(Layer::raw_ip, at);
    default:
      return leave(Unread::protocol);
  }
}

/// WCCP version 2 puts a redirect header in front, version 1 does not.
Place Decoder::wccp(uint32_t offset) { return ip_by_version(looks_like_ip(offset) ? offset : offset + 4); }

/// RFC 3378.
Place Decoder::ether_ip(uint32_t offset) {
  if (!has(offset, 2)) return cut();
  if (u8(offset) >> 4 != 3 && (u8(offset) & 0x0f) != 3) return leave(Unread::protocol);
  return inside(Layer::ethernet, offset + 2);
}

/// RFC 2004: the addresses that the tunnel replaced.
Place Decoder::minimal_ip(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const bool with_source = (u8(offset + 1) & 0x80) != 0;
  if (with_source && !has(offset, 12)) return cut();
  if (out_.mentioned_count == std::size(out_.mentioned)) return leave(Unread::nesting);
  const IpAddress destination = IpAddress::v4(base_ + offset + 4);
  out_.mentioned[out_.mentioned_count++] = {with_source ? IpAddress::v4(base_ + offset + 8) : destination, destination};
  return kDone;
}

/// RFC 3931 section 4.1.1. Only the ends know how long cookie and sublayer are: the first length with a frame behind it is taken.
Place Decoder::l2tp_ip(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  if (u32(offset) == 0) return kDone;  // control
  for (const uint32_t extra : {4u, 0u, 8u, 12u}) {
    const uint32_t at = offset + 4 + extra;
    if (looks_like_ethernet(at)) return inside(Layer::ethernet, at);
    if (has(at, 4) && u16(at) == 0xff03) return inside(Layer::ppp, at);
  }
  return has(offset, 30) ? leave(Unread::protocol) : cut();
}

/// RFC 2661 section 3.1; version 3 has another header (RFC 3931 section 4.1.2).
Place Decoder::l2tp(uint32_t offset) {
  if (!has(offset, 2)) return cut();
  const uint16_t flags = u16(offset);
  if ((flags & 0x8000) != 0) return kDone;  // control
  if ((flags & 0x000f) == 3) return l2tp_ip(offset + 4);
  if ((flags & 0x000f) != 2) return kDone;
  uint32_t at = offset + 6 + ((flags & 0x4000) != 0 ? 2 : 0) + ((flags & 0x0800) != 0 ? 4 : 0);
  if ((flags & 0x0200) != 0) {
    if (!has(at, 2)) return cut();
    at += 2u + u16(at);
  }
  return inside(Layer::ppp, at);
}

/// RFC 7761 section 4.9.3: a register message holds the packet.
Place Decoder::pim(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  if (u8(offset) != 0x21) return kDone;
  return inside(Layer::raw_ip, offset + 8);
}

Place Decoder::quoted(Layer layer, uint32_t offset) {
  aside_ = quoted_ = true;
  if (!has(offset, 1)) return cut();
  return {layer, offset};
}

/// RFC 792.
Place Decoder::icmp(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  switch (u8(offset)) {
    case 3:   // unreachable
    case 4:   // source quench
    case 5:   // redirect
    case 11:  // time exceeded
    case 12:  // parameter problem
      return quoted(Layer::ipv4, offset + 8);
    default:
      return kDone;
  }
}

/// RFC 4443 section 3; redirects (RFC 4861 section 4.6.3) quote in an option.
Place Decoder::icmp6(uint32_t offset) {
  constexpr uint8_t kRedirect = 137, kRedirectedHeader = 4;
  constexpr int kMaxOptions = 16;
  if (!has(offset, 8)) return cut();
  const uint8_t type = u8(offset);
  if (type >= 1 && type <= 4) return quoted(Layer::ipv6, offset + 8);
  if (type != kRedirect) return kDone;
  uint32_t at = offset + 40;
  for (int i = 0; i < kMaxOptions && has(at, 8); ++i) {
    if (u8(at) == kRedirectedHeader) return quoted(Layer::ipv6, at + 8);
    if (u8(at + 1) == 0) return kDone;
    at += u8(at + 1) * 8u;
  }
  const bool more = out_.ip_count > 0 && at < out_.ip[out_.ip_count - 1].payload_end;
  return more && !has(at, 8) ? cut() : kDone;
}

/// RFC 7348. Without the I flag it is something else on that port.
Place Decoder::vxlan(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  if ((u8(offset) & 0x08) == 0) return kDone;
  return inside(Layer::ethernet, offset + 8);
}

/// draft-ietf-nvo3-vxlan-gpe: the P flag says that a next protocol stands there.
Place Decoder::vxlan_gpe(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const uint8_t flags = u8(offset);
  if ((flags & 0x08) == 0) return kDone;
  return inside((flags & 0x04) != 0 ? layer_of_nsh_protocol(u8(offset + 3)) : Layer::ethernet, offset + 8);
}

/// RFC 8926 section 3.4.
Place Decoder::geneve(uint32_t offset) {
  if (!has(offset, 8)) return cut();
  const uint8_t first = u8(offset);
  if (first >> 6 != 0) return kDone;  // another version, or not Geneve
  return inside(layer_of_ether_type(u16(offset + 2)), offset + 8 + (first & 0x3fu) * 4);
}

/// 3GPP TS 29.281 section 5: a G-PDU holds a packet, or an Ethernet frame.
Place Decoder::gtp(uint32_t offset) {
  constexpr uint8_t kPacket = 255;
  constexpr int kMaxExtensions = 16;
  if (!has(offset, 8)) return cut();
  const uint8_t flags = u8(offset);
  if (flags >> 5 != 1 || u8(offset + 1) != kPacket) return kDone;
  uint32_t at = offset + 8;
  if ((flags & 7) != 0) {
    if (!has(at, 4)) return cut();
    uint8_t next = (flags & 4) != 0 ? u8(at + 3) : 0;
    at += 4;
    for (int i = 0; next != 0; ++i) {
      if (i == kMaxExtensions) return leave(Unread::nesting);
      if (!has(at, 1)) return cut();
      const uint32_t bytes = u8(at) * 4u;
      if (bytes == 0) return malformed();
      if (!has(at, bytes)) return cut();
      next = u8(at + bytes - 1);
      at += bytes;
    }
  }
  outermost_ = false;
  if (looks_like_ip(at)) return ip_by_version(at);
  if (looks_like_ethernet(at)) return {Layer::ethernet, at};
  if (has(at, 2) && u16(at) == 0xff03) return {Layer::ppp, at};
  return has(at, 20) ? leave(Unread::protocol) : cut();
}

/// 3GPP TS 09.60: version 0 has a header of 20 bytes.
Place Decoder::gtp_prime(uint32_t offset) {
  if (!has(offset, 20)) return cut();
  if (u8(offset) >> 5 != 0 || u8(offset + 1) != 255) return kDone;
  return inside(Layer::raw_ip, offset + 20);
}

/// RFC 4380 section 5.1.1: authentication and origin may stand in front of IPv6.
Place Decoder::teredo(uint32_t offset) {
  for (int headers = 0; headers < 2; ++headers) {
    if (!has(offset, 4)) return cut();
    const uint16_t kind = u16(offset);
    if (kind == 1)
      offset += 13u + u8(offset + 2) + u8(offset + 3);
    else if (kind == 0)
      offset += 8;
    else
      break;
  }
  if (!has(offset, 1)) return cut();
  return u8(offset) >> 4 == 6 ? inside(Layer::ipv6, offset) : kDone;
}

/// RFC 3948: four zero bytes mean IKE, a single 0xff keeps the translation alive.
Place Decoder::esp_in_udp(uint32_t offset) {
  if (!has(offset, 4)) return kDone;
  return u32(offset) == 0 ? kDone : leave(Unread::encrypted);
}

/// RFC 9300 section 5.1: eight bytes.
Place Decoder::lisp(uint32_t offset) { return inside(Layer::raw_ip, offset + 8); }

/// RFC 9301 section 5.8: type 8 holds a packet.
Place Decoder::lisp_control(uint32_t offset) {
  if (!has(offset, 4)) return cut();
  return u8(offset) >> 4 == 8 ? inside(Layer::raw_ip, offset + 4) : kDone;
}

/// TaZmen's sniffer protocol, of MikroTik: tagged fields up to an end mark.
Place Decoder::tzsp(uint32_t offset) {
  constexpr int kMaxFields = 32;
  if (!has(offset, 4)) return cut();
  if (u8(offset) != 1 || u8(offset + 1) > 1) return kDone;
  const uint16_t kind = u16(offset + 2);
  uint32_t at = offset + 4;
  for (int i = 0;; ++i) {
    if (i == kMaxFields) return leave(Unread::nesting);
    if (!has(at, 1)) return cut();
    const uint8_t tag = u8(at++);
    if (tag == 1) break;
    if (tag == 0) continue;
    if (!has(at, 1)) return cut();
    at += 1u + u8(at);
  }
  switch (kind) {
    case 1:
      return inside(Layer::ethernet, at);
    case 18:
      return inside(Layer::wlan, at);
    case 119:
      return inside(Layer::prism, at);
    case 127:
      return inside(Layer::avs, at);
    default:
      return leave(Unread::protocol);
  }
}

/// Messages of types 1 to 3 set a connection up; 4 has a packet in it.
Place Decoder::wireguard(uint32_t offset) {
  if (!has(offset, 4)) return kDone;
  return has_wireguard_signature(base_ + offset) ? leave(Unread::encrypted) : kDone;
}

}  // namespace lookback::packet
