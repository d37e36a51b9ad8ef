#include "exporter/dedup_key.hpp"

#include <algorithm>
#include <array>

#include "exporter/bytes.hpp"
#include "lookback/base/hash.hpp"
#include "lookback/base/ip_protocol.hpp"
#include "lookback/packet/decode.hpp"

namespace lookback::exporter {

namespace {

using Bytes = std::span<const std::byte>;
__extension__ typedef unsigned __int128 Sum;

constexpr uint8_t kFin = 0x01, kSyn = 0x02, kPush = 0x08, kCwr = 0x80;
constexpr size_t kSmallestEthernet = 60;  // IEEE 802.3, without the frame check sequence

constexpr size_t kWordsOfHeader = KeyedHash::kMaxHeader / 8, kWordsOfBody = KeyedHash::kMaxBody / 8;
constexpr size_t kExtraWords = 4;

Sum nh(const std::byte* text, size_t bytes, const uint64_t* key) {
  Sum sum = 0;
  size_t offset = 0;
  for (; offset + 16 <= bytes; offset += 16, key += 2) {
    sum +=
        Sum{load<uint64_t>(text + offset) + key[0]} * (load<uint64_t>(text + offset + 8) + key[1]);
  }
  if (offset < bytes) {
    std::byte tail[16] = {};
    std::memcpy(tail, text + offset, bytes - offset);
    sum += Sum{load<uint64_t>(tail) + key[0]} * (load<uint64_t>(tail + 8) + key[1]);
  }
  return sum;
}

/// The headers of a packet in a buffer of their own, where fields can be blanked.
class HeaderCopy {
 public:
  /// Copies data[start, end); false where that is too long.
  [[nodiscard]] bool take(Bytes data, size_t start, size_t end) {
    if (end - start > KeyedHash::kMaxHeader) return false;
    start_ = start;
    size_ = end - start;
    std::memcpy(bytes_.data(), data.data() + start, size_);
    return true;
  }
  /// Blanks `bytes` bytes at `offset` of the packet.
  void blank(size_t offset, size_t bytes) {
    const size_t at = offset - start_;
    if (at < size_) std::memset(bytes_.data() + at, 0, std::min(bytes, size_ - at));
  }
  void mask(size_t offset, uint8_t keep) {
    const size_t at = offset - start_;
    if (at < size_) bytes_[at] &= std::byte{keep};
  }
  [[nodiscard]] Bytes bytes() const { return {bytes_.data(), size_}; }

 private:
  std::array<std::byte, KeyedHash::kMaxHeader> bytes_;
  size_t start_ = 0, size_ = 0;
};

size_t transport_header_bytes(uint8_t protocol) {
  switch (protocol) {
    case ip_protocol::kTcp:
      return 20;
    case ip_protocol::kUdp:
    case ip_protocol::kUdpLite:
      return 8;
    case ip_protocol::kDccp:
    case ip_protocol::kSctp:
      return 12;
    default:
      return 0;
  }
}

/// TTL or hop limit, and every checksum that a network card may fill in.
void blank_what_changes(HeaderCopy& copy, const packet::Headers& headers) {
  for (unsigned layer = 0; layer < headers.ip_count; ++layer) {
    const packet::IpLayer& ip = headers.ip[layer];
    if (ip.v6) {
      copy.blank(ip.ip_offset + 7, 1);
    } else {
      copy.blank(ip.ip_offset + 8, 1);
      copy.blank(ip.ip_offset + 10, 2);
    }
    if (ip.transport_offset == 0 || ip.fragment) continue;
    switch (ip.protocol) {
      case ip_protocol::kTcp:
        copy.blank(ip.transport_offset + 16, 2);
        break;
      case ip_protocol::kUdp:
      case ip_protocol::kUdpLite:
      case ip_protocol::kDccp:
        copy.blank(ip.transport_offset + 6, 2);
        break;
      case ip_protocol::kSctp:
        copy.blank(ip.transport_offset + 8, 4);
        break;
      default:
        break;
    }
  }
}

/// What differs between a super-packet and the segments cut from it: lengths, IP identification,
/// sequence number, and the flags that stand on one of the segments only.
void blank_what_segmentation_changes(HeaderCopy& copy, const packet::Headers& headers) {
  for (unsigned layer = 0; layer < headers.ip_count; ++layer) {
    const packet::IpLayer& ip = headers.ip[layer];
    if (ip.v6) {
      copy.blank(ip.ip_offset + 4, 2);
    } else {
      copy.blank(ip.ip_offset + 2, 4);
    }
    if (ip.protocol == ip_protocol::kUdp && ip.transport_offset != 0) copy.blank(ip.transport_offset + 4, 2);
  }
  const uint32_t tcp = headers.ip[headers.ip_count - 1].transport_offset;
  copy.blank(tcp + 4, 4);
  copy.mask(tcp + 13, static_cast<uint8_t>(~(kFin | kPush | kCwr)));
}

bool any_fragment(const packet::Headers& headers) {
  return std::any_of(headers.ip, headers.ip + headers.ip_count,
                     [](const packet::IpLayer& ip) { return ip.fragment || ip.more_fragments; });
}

/// A packet without IP: an ARP message is its own identity, anything else is compared with its link
/// layer.
void key_without_ip(const KeyedHash& hash, uint16_t link_type, Bytes data,
                    const packet::Headers& headers, DedupKey& key) {
  std::array<std::byte, KeyedHash::kMaxHeader> header;
  store(header.data(), headers.arp ? uint16_t{0} : link_type);
  Bytes body = data;
  if (headers.arp) {
    constexpr size_t kFixed =
        8;  // RFC 826: two addresses of each kind follow, of the lengths at bytes 4 and 5
    body = data.subspan(std::min<size_t>(headers.network_offset, data.size()));
    if (body.size() < kFixed) return;
    const size_t message =
        kFixed + 2 * (std::to_integer<size_t>(body[4]) + std::to_integer<size_t>(body[5]));
    body = body.first(std::min(body.size(), message));
  } else if (link_type == packet::link_type::kEthernet && data.size() <= kSmallestEthernet) {
    while (!body.empty() && body.back() == std::byte{0}) body = body.first(body.size() - 1);
  }
  if (body.size() > KeyedHash::kMaxBody) return;
  key.content = hash({header.data(), sizeof(uint16_t)}, body);
  key.kind = DedupKey::Kind::whole;
}

}  // namespace

KeyedHash::KeyedHash()
    : key_(
          std::make_unique_for_overwrite<uint64_t[]>(kWordsOfHeader + kWordsOfBody + kExtraWords)) {
  // SplitMix64 stretches a random seed; an attacker sees neither the key nor any hash.
  uint64_t state = random_u64();
  for (size_t word = 0; word < kWordsOfHeader + kWordsOfBody + kExtraWords; ++word) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    key_[word] = z ^ (z >> 31);
  }
}

uint64_t KeyedHash::operator()(Bytes header, Bytes body) const {
  const uint64_t* const body_key = key_.get() + kWordsOfHeader;
  const uint64_t* const extra = body_key + kWordsOfBody;
  Sum sum = nh(header.data(), header.size(), key_.get()) + nh(body.data(), body.size(), body_key);
  sum += Sum{header.size() + extra[0]} * (body.size() + extra[1]);
  const Sum mixed =
      Sum{static_cast<uint64_t>(sum) ^ extra[2]} * (static_cast<uint64_t>(sum >> 64) ^ extra[3]);
  return static_cast<uint64_t>(mixed) ^ static_cast<uint64_t>(mixed >> 64) ^
         static_cast<uint64_t>(sum);
}

DedupKey make_dedup_key(const KeyedHash& hash, uint16_t link_type, Bytes data) {
  DedupKey key;
  if (link_type == packet::link_type::kLinuxSll2 && data.size() >= 20)
    key.ifindex = __builtin_bswap32(load<uint32_t>(data.data() + 4));
  const packet::Headers headers = packet::decode(link_type, data);
  if (headers.ip_count == 0) {
    key_without_ip(hash, link_type, data, headers, key);
    return key;
  }
  const packet::IpLayer& outer = headers.ip[0];
  const packet::IpLayer& inner = headers.ip[headers.ip_count - 1];
  // Behind the datagram's end stands padding, which depends on the link.
  const size_t start = outer.ip_offset;
  const size_t end =
      outer.payload_end > start ? std::min<size_t>(outer.payload_end, data.size()) : data.size();

  HeaderCopy copy;
  const auto tcp = inner.protocol == ip_protocol::kTcp && !any_fragment(headers)
                       ? packet::decode_tcp(inner, data)
                       : std::nullopt;
  const bool stream = tcp && tcp->payload_length > 0 && (tcp->flags & kSyn) == 0 &&
                      tcp->payload_offset > start &&
                      size_t{tcp->payload_offset} + tcp->payload_length <= end;
  size_t header_end = inner.ip_offset + (inner.v6 ? 40U : 20U);
  if (inner.transport_offset != 0)
    header_end = inner.transport_offset + transport_header_bytes(inner.protocol);
  if (stream) header_end = tcp->payload_offset;
  header_end = std::clamp(header_end, start, end);
  const Bytes body = data.subspan(header_end, end - header_end);
  if (body.size() > KeyedHash::kMaxBody || !copy.take(data, start, header_end)) return key;
  blank_what_changes(copy, headers);
  key.content = hash(copy.bytes(), body);
  key.kind = DedupKey::Kind::whole;
  if (stream) {
    blank_what_segmentation_changes(copy, headers);
    key.kind = DedupKey::Kind::stream;
    key.flow = hash(copy.bytes(), {});
    key.sequence = tcp->sequence;
    key.length = tcp->payload_length;
    key.payload_offset = tcp->payload_offset;
    key.fin = (tcp->flags & kFin) != 0;
  }
  return key;
}

}  // namespace lookback::exporter
