#include "lookback/packet/decode.hpp"
#include "lookback/base/ip_protocol.hpp"

#include "packet/decoder.hpp"

namespace lookback::packet {

namespace {

constexpr int kMaxExtensionHeaders = 16, kMaxSteps = 64;

constexpr bool is_extension(uint8_t protocol) {
  return protocol == ip_protocol::kHopByHop || protocol == ip_protocol::kRouting || protocol == ip_protocol::kDestinationOptions || protocol == ip_protocol::kMobility ||
         protocol == ip_protocol::kHostIdentity || protocol == ip_protocol::kShim6;
}

constexpr bool has_port_numbers(uint8_t protocol) {
  return protocol == ip_protocol::kTcp || protocol == ip_protocol::kUdp || protocol == ip_protocol::kSctp || protocol == ip_protocol::kDccp || protocol == ip_protocol::kUdpLite;
}

}  // namespace

void Decoder::run(uint16_t link_type) {
  if (!is_plain_link_type(link_type)) out_.opaque = true;
  const LinkLayer first = layer_of_link_type(link_type);
  if (first.layer == Layer::unknown) {
    leave(Unread::link_type);
    return;
  }
  follow({first.layer, first.skip});
  while (pending_count_ > 0) {
    aside_ = true;
    follow(pending_[--pending_count_]);
  }
}

void Decoder::follow(Place place) {
  for (int steps = 0; place.layer != Layer::nothing; ++steps) {
    if (steps == kMaxSteps) {
      leave(Unread::nesting);
      return;
    }
    switch (place.layer) {
#define X(name)                   \
  case Layer::name:               \
    place = name(place.offset);   \
    break;
      LOOKBACK_LAYERS(X)
#undef X
    }
  }
}

bool Decoder::also(Place place) {
  if (pending_count_ == std::size(pending_)) return false;
  pending_[pending_count_++] = place;
  return true;
}

Place Decoder::leave(Unread reason) {
  if (out_.unread == Unread::nothing) out_.unread = reason;
  if (!outer_done_) out_.opaque = true;
  return kDone;
}

/// An ICMP error may quote as little as it likes, and what it leaves out was never on this wire.
Place Decoder::cut() {
  const bool whole = quoted_ && out_.ip_count > 0 && out_.ip[0].payload_end <= size_;
  return whole ? kDone : leave(Unread::cut);
}

Place Decoder::nothing(uint32_t) { return kDone; }
Place Decoder::unknown(uint32_t) { return leave(Unread::protocol); }
Place Decoder::encrypted(uint32_t) { return leave(Unread::encrypted); }
Place Decoder::fragment(uint32_t) { return leave(Unread::fragment); }

bool Decoder::looks_like_ip(uint32_t offset) const {
  if (!has(offset, 20)) return false;
  const uint8_t first = u8(offset);
  return (first >> 4 == 4 && (first & 0x0f) >= 5) || first >> 4 == 6;
}

Place Decoder::ip_by_version(uint32_t offset) {
  if (!has(offset, 1)) return cut();
  switch (u8(offset) >> 4) {
    case 4:
      return {Layer::ipv4, offset};
    case 6:
      return {Layer::ipv6, offset};
    default:
      return leave(Unread::protocol);
  }
}

Place Decoder::raw_ip(uint32_t offset) { return ip_by_version(offset); }

/// RFC 826. The addresses are taken at the places they have for Ethernet and IPv4, as pcap-filter does, whatever the types and
/// lengths in front of them say.
Place Decoder::arp(uint32_t offset) {
  if (out_.ip_count == 0 && !aside_) out_.network_offset = offset;
  if (has(offset, 28)) {
    outer_done_ = true;
    const AddressPair pair{IpAddress::v4(base_ + offset + 14), IpAddress::v4(base_ + offset + 24)};
    if (!aside_) {
      out_.arp = true;
      out_.arp_sender = pair.source;
      out_.arp_target = pair.destination;
    } else if (out_.mentioned_count < std::size(out_.mentioned)) {
      out_.mentioned[out_.mentioned_count++] = pair;
    } else {
      leave(Unread::nesting);
    }
    return kDone;
  }
  if (has(offset, 18) && !aside_) {
    out_.arp = true;
    out_.arp_sender = IpAddress::v4(base_ + offset + 14);
  }
  return cut();
}

IpLayer* Decoder::new_layer(uint32_t offset) {
  outermost_ = false;
  IpLayer* layer = &mentioned_layer_;
  if (aside_) {
    if (out_.mentioned_count == std::size(out_.mentioned)) layer = nullptr;
    mentioned_layer_ = {};
  } else {
    layer = out_.ip_count < std::size(out_.ip) ? &out_.ip[out_.ip_count++] : nullptr;
  }
  if (layer == nullptr) {
    leave(Unread::nesting);
    return nullptr;
  }
  layer->ip_offset = offset;
  return layer;
}

Place Decoder::ipv4(uint32_t offset) {
  if (!has(offset, 20)) return cut();
  const std::byte* header = base_ + offset;
  const uint8_t version_and_length = load8(header);
  const uint32_t header_bytes = (version_and_length & 0x0f) * 4u;
  if (version_and_length >> 4 != 4 || header_bytes < 20) return malformed();
  IpLayer* layer = new_layer(offset);
  if (layer == nullptr) return kDone;
  layer->source = IpAddress::v4(header + 12);
  layer->destination = IpAddress::v4(header + 16);
  if (aside_) out_.mentioned[out_.mentioned_count++] = {layer->source, layer->destination};
  layer->protocol = load8(header + 9);
  const uint16_t fragment = load_be16(header + 6);
  layer->fragment = (fragment & 0x1fff) != 0;
  layer->more_fragments = (fragment & 0x2000) != 0;
  const uint16_t total = load_be16(header + 2);
  // Zero is what segmentation offload leaves in captures of large sends.
  layer->payload_end = total >= header_bytes ? offset + total : size_;
  return transport(*layer, offset + header_bytes);
}

Place Decoder::ipv6(uint32_t offset) {
  if (!has(offset, 40)) return cut();
  const std::byte* header = base_ + offset;
  if (load8(header) >> 4 != 6) return malformed();
  IpLayer* layer = new_layer(offset);
  if (layer == nullptr) return kDone;
  layer->v6 = true;
  layer->source = IpAddress::v6(header + 8);
  layer->destination = IpAddress::v6(header + 24);
  if (aside_) out_.mentioned[out_.mentioned_count++] = {layer->source, layer->destination};
  layer->protocol = load8(header + 6);
  const uint16_t payload = load_be16(header + 4);
  layer->payload_end = payload != 0 ? offset + 40 + payload : size_;  // zero: jumbo or offload
  return transport(*layer, offset + 40);
}

/// Walks extension headers (RFC 8200 section 4; AH, RFC 4302, behind IPv4 too) to the transport header.
Place Decoder::transport(IpLayer& layer, uint32_t offset) {
  for (int count = 0;; ++count) {
    if (layer.fragment) {  // what follows is the middle of something
      outer_done_ = true;
      const bool may_be_tunnel =
          layer.protocol == ip_protocol::kUdp || layer.protocol == ip_protocol::kAuthentication || (layer.v6 && is_extension(layer.protocol)) ||
          (layer_of_ip_protocol(layer.protocol) != Layer::nothing && layer_of_ip_protocol(layer.protocol) != Layer::icmp &&
           layer_of_ip_protocol(layer.protocol) != Layer::icmp6);
      return may_be_tunnel && !quoted_ ? leave(Unread::fragment) : kDone;
    }
    const bool extension = layer.v6 && is_extension(layer.protocol);
    const bool fragment_header = layer.v6 && layer.protocol == ip_protocol::kFragment;
    if (!extension && !fragment_header && layer.protocol != ip_protocol::kAuthentication) break;
    if (!has(offset, 8)) return cut();
    if (count == kMaxExtensionHeaders) return leave(Unread::nesting);
    const std::byte* header = base_ + offset;
    if (fragment_header) {
      const uint16_t fragment = load_be16(header + 2);
      layer.fragment = (fragment & 0xfff8) != 0;
      layer.more_fragments = (fragment & 1) != 0;
      offset += 8;
    } else if (layer.protocol == ip_protocol::kAuthentication) {
      offset += (load8(header + 1) + 2u) * 4;
    } else {
      offset += (load8(header + 1) + 1u) * 8;
    }
    layer.protocol = load8(header);
  }
  layer.transport_offset = offset;
  if (has_port_numbers(layer.protocol)) return ports(layer, offset);
  outer_done_ = true;
  return {layer_of_ip_protocol(layer.protocol), offset};
}

Place Decoder::ports(IpLayer& layer, uint32_t offset) {
  if (!has(offset, 4)) {
    out_.opaque = true;
    return layer.protocol == ip_protocol::kUdp ? cut() : kDone;  // only UDP has more addresses behind its ports
  }
  layer.has_ports = true;
  layer.source_port = u16(offset);
  layer.destination_port = u16(offset + 2);
  outer_done_ = true;
  if (layer.protocol != ip_protocol::kUdp) return kDone;
  Layer carried = layer_of_udp_ports(layer.source_port, layer.destination_port);
  if (carried == Layer::nothing) carried = by_content(offset + 8);
  if (carried == Layer::nothing && layer.payload_end > size_ && content_is_cut(offset + 8)) return cut();
  return {carried, offset + 8};
}

/// A tunnel on a port that its users chose.
Layer Decoder::by_content(uint32_t offset) const {
  if (!has(offset, 8)) return Layer::nothing;
  const std::byte* payload = base_ + offset;
  if (has_vxlan_signature(payload) && looks_like_ethernet(offset + 8)) return Layer::vxlan;
  if (has_geneve_signature(payload) && looks_like_ethernet(offset + 8 + (load8(payload) & 0x3fu) * 4)) return Layer::geneve;
  if (has_wireguard_signature(payload)) return Layer::wireguard;
  return Layer::nothing;
}

/// What is left of a datagram does not tell whether it is a tunnel.
bool Decoder::content_is_cut(uint32_t offset) const {
  constexpr uint32_t kToAddresses = 14 + 20;
  if (!has(offset, 8)) return true;
  const std::byte* payload = base_ + offset;
  if (has_vxlan_signature(payload)) return !has(offset + 8, kToAddresses);
  return has_geneve_signature(payload) && !has(offset + 8 + (load8(payload) & 0x3fu) * 4, kToAddresses);
}

Headers decode(uint16_t link_type, std::span<const std::byte> data) {
  Headers headers;
  Decoder(data, headers).run(link_type);
  return headers;
}

std::string_view describe(Unread reason) {
  constexpr std::string_view kWords[kUnreadReasons] = {
      "nothing", "encrypted or compressed", "of an unknown link type", "of an unknown protocol", "nested too deep", "cut short",
      "malformed", "a later fragment of what may be a tunnel"};
  return kWords[static_cast<size_t>(reason)];
}

std::optional<TcpHeader> decode_tcp(const IpLayer& ip, std::span<const std::byte> data) {
  constexpr uint32_t kFixed = 20;
  if (ip.protocol != ip_protocol::kTcp || ip.transport_offset == 0 || ip.transport_offset > data.size() ||
      data.size() - ip.transport_offset < kFixed)
    return std::nullopt;
  const std::byte* header = data.data() + ip.transport_offset;
  const uint32_t header_bytes = (load8(header + 12) >> 4) * 4u;
  if (header_bytes < kFixed) return std::nullopt;
  TcpHeader tcp;
  tcp.sequence = load_be32(header + 4);
  tcp.acknowledgment = load_be32(header + 8);
  tcp.flags = load8(header + 13);
  tcp.window = load_be16(header + 14);
  tcp.payload_offset = ip.transport_offset + header_bytes;
  tcp.payload_length =
      ip.payload_end > tcp.payload_offset ? ip.payload_end - tcp.payload_offset : 0;
  return tcp;
}

}  // namespace lookback::packet
