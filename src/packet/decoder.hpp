#pragma once
// The way through a packet's headers: each function of Decoder reads one header and says what follows it where. decode.cpp holds the
// loop and the network layer, decode_link.cpp what lies below it, decode_wlan.cpp 802.11, decode_tunnel.cpp what lies above.

#include <cstdint>
#include <span>

#include "lookback/packet/decode.hpp"
#include "packet/layers.hpp"
#include "packet/load.hpp"

namespace lookback::packet {

/// What comes next, and where.
struct Place {
  Layer layer;
  uint32_t offset;
};

class Decoder {
 public:
  Decoder(std::span<const std::byte> data, Headers& headers)
      : base_(data.data()), size_(data.size() > kLimit ? kLimit : static_cast<uint32_t>(data.size())), out_(headers) {}

  void run(uint16_t link_type);

 private:
  static constexpr uint32_t kLimit = 1u << 30;  // keeps sums of offsets inside 32 bits
  static constexpr Place kDone{Layer::nothing, 0};

#define X(name) [[nodiscard]] Place name(uint32_t offset);
  LOOKBACK_LAYERS(X)
#undef X

  void follow(Place place);
  /// Puts a place aside, to be followed after this one; false where there is no room left.
  bool also(Place place);

  // Reading. The offset has been checked with has() by whoever calls.
  [[nodiscard]] bool has(uint32_t offset, uint32_t bytes) const { return offset <= size_ && size_ - offset >= bytes; }
  [[nodiscard]] uint8_t u8(uint32_t offset) const { return load8(base_ + offset); }
  [[nodiscard]] uint16_t u16(uint32_t offset) const { return load_be16(base_ + offset); }
  [[nodiscard]] uint32_t u32(uint32_t offset) const { return load_be32(base_ + offset); }

  // Ends of the way.
  Place leave(Unread reason);
  Place cut();
  Place malformed() { return leave(Unread::malformed); }

  /// A whole Ethernet header with something behind it that looks like what it says.
  [[nodiscard]] bool looks_like_ethernet(uint32_t offset) const;
  [[nodiscard]] bool looks_like_ip(uint32_t offset) const;
  /// By the first half byte; unknown where it is of neither IP.
  [[nodiscard]] Place ip_by_version(uint32_t offset);

  /// A header inside of another packet follows: tags from here on are not the frame's own.
  Place inside(Layer layer, uint32_t offset) {
    outermost_ = false;
    return {layer, offset};
  }
  Place ether_type(uint16_t type, uint32_t offset);
  [[nodiscard]] Place snap(uint32_t offset);
  [[nodiscard]] Place wlan_frame(uint32_t offset, bool padded);
  [[nodiscard]] Place aggregated(uint32_t offset);
  [[nodiscard]] Place optional_header(uint16_t data_link_type, uint32_t offset);

  [[nodiscard]] IpLayer* new_layer(uint32_t offset);
  [[nodiscard]] Place transport(IpLayer& layer, uint32_t offset);
  [[nodiscard]] Place ports(IpLayer& layer, uint32_t offset);
  [[nodiscard]] Layer by_content(uint32_t offset) const;
  [[nodiscard]] bool content_is_cut(uint32_t offset) const;
  [[nodiscard]] Place quoted(Layer layer, uint32_t offset);
  [[nodiscard]] Place gre_of_pptp(uint32_t offset);

  const std::byte* base_;
  uint32_t size_;
  Headers& out_;
  bool outermost_ = true;
  /// IP headers from here on are mentioned, not travelled by.
  bool aside_ = false, quoted_ = false;
  /// The outermost IP header and the ports behind it were read.
  bool outer_done_ = false;
  uint8_t pending_count_ = 0;
  Place pending_[4] = {};
  IpLayer mentioned_layer_;
};

// Signatures of tunnels on ports of their users' choice: the first eight bytes behind UDP.
/// VXLAN: only the I flag, the reserved bytes zero (RFC 7348 section 5).
[[nodiscard]] inline bool has_vxlan_signature(const std::byte* payload) {
  return (load_be32(payload) ^ 0x08000000) == 0 && load8(payload + 7) == 0;
}
/// Geneve with Ethernet inside: version 0, the reserved bits zero (RFC 8926 section 3.4).
[[nodiscard]] inline bool has_geneve_signature(const std::byte* payload) {
  return (load_be32(payload) & 0xc03fffff) == 0x6558 && load8(payload + 7) == 0;
}
/// WireGuard's data messages: type 4, three zero bytes.
[[nodiscard]] inline bool has_wireguard_signature(const std::byte* payload) {
  return load_be32(payload) == 0x04000000;
}
/// Of UDP on ports that say nothing.
[[nodiscard]] inline bool may_be_tunnel(const std::byte* payload) {
  return has_vxlan_signature(payload) || has_geneve_signature(payload) || has_wireguard_signature(payload);
}

}  // namespace lookback::packet
