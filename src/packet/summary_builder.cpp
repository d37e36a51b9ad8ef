#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "lookback/packet/summary.hpp"
#include "lookback/base/ip_protocol.hpp"
#include "packet/decoder.hpp"
#include "packet/load.hpp"
#include "packet/summary_format.hpp"

namespace lookback::packet {

namespace {

// What an exact set of addresses may cost before a Bloom filter takes its place: up to
// kExactAddresses they are listed in any case; more only where they lie close together (pods of one
// network) and so cost little.
constexpr size_t kExactAddresses = 32;
constexpr uint64_t kExactBitsPerAddress = 16, kBloomBitsPerAddress = 10;

/// Two words that are an address (IPv4 in its mapped form); zero marks a free slot.
struct Key {
  uint64_t high = 0, low = 0;
  friend bool operator==(const Key&, const Key&) = default;
  [[nodiscard]] bool is_zero() const { return (high | low) == 0; }
};

/// An open-addressed set of at most kMaxKeys addresses; what comes after is counted as overflow.
class AddressSet {
 public:
  AddressSet() : slots_(kFewest) {}

  void add(const IpAddress& address) {
    Key key;
    std::memcpy(&key, address.bytes.data(), sizeof key);
    // Packets of one flow come in runs. (The zero key, "::", is rare and would meet the empty
    // memory.)
    if ((key == recent_[0] || key == recent_[1]) && !key.is_zero()) return;
    recent_[1] = recent_[0];
    recent_[0] = key;
    insert(key);
  }
  [[nodiscard]] bool overflowed() const { return count_ > Summary::kMaxKeys; }
  [[nodiscard]] size_t size() const { return count_; }

  template <class Use>
  void for_each(const Use& use) const {
    const auto give = [&](const Key& key) {
      IpAddress address;
      std::memcpy(address.bytes.data(), &key, sizeof key);
      use(address);
    };
    if (has_zero_) give(Key{});
    for (const Key& key : slots_) {
      if (!key.is_zero()) give(key);
    }
  }

  void clear() {
    // A table grown once is not kept for ever: clearing it would cost more than the next frame.
    if (slots_.size() > 8 * kFewest && count_ < slots_.size() / 8) slots_.resize(kFewest);
    std::fill(slots_.begin(), slots_.end(), Key{});
    recent_ = {};
    count_ = 0;
    has_zero_ = false;
  }

 private:
  static constexpr size_t kFewest = 256;

  void insert(const Key& key) {
    if (key.is_zero()) {  // the unspecified IPv6 address
      count_ += !has_zero_;
      has_zero_ = true;
      return;
    }
    Key& slot = find(key);
    if (!slot.is_zero() || overflowed()) return;
    slot = key;
    if (++count_ * 2 > slots_.size()) grow();
  }
  Key& find(const Key& key) {
    const size_t mask = slots_.size() - 1;
    const uint64_t hash = (key.high ^ std::rotl(key.low, 29)) * 0x9e3779b97f4a7c15;
    size_t at = static_cast<size_t>(hash >> 32) & mask;
    while (!slots_[at].is_zero() && slots_[at] != key) at = (at + 1) & mask;
    return slots_[at];
  }
  void grow() {
    std::vector<Key> old(2 * slots_.size());
    old.swap(slots_);
    for (const Key& key : old) {
      if (!key.is_zero()) find(key) = key;
    }
  }

  std::vector<Key> slots_;
  std::array<Key, 2> recent_{};
  size_t count_ = 0;
  bool has_zero_ = false;
};

class PortSet {
 public:
  void add(uint16_t port) {
    uint64_t& word = words_[port / 64];
    const uint64_t bit = uint64_t{1} << port % 64;
    count_ += (word & bit) == 0;
    word |= bit;
  }
  [[nodiscard]] size_t size() const { return count_; }
  [[nodiscard]] std::vector<uint32_t> sorted() const {
    std::vector<uint32_t> ports;
    ports.reserve(count_);
    for (uint32_t i = 0; i < words_.size(); ++i) {
      for (uint64_t word = words_[i]; word != 0; word &= word - 1)
        ports.push_back(64 * i + static_cast<uint32_t>(std::countr_zero(word)));
    }
    return ports;
  }
  void clear() {
    words_.fill(0);
    count_ = 0;
  }

 private:
  std::array<uint64_t, 1024> words_{};
  size_t count_ = 0;
};

}  // namespace

struct SummaryBuilder::Impl {
  AddressSet addresses;
  PortSet ports;
  bool opaque = false;
  bool unread = false;
};

SummaryBuilder::SummaryBuilder() : impl_(std::make_unique<Impl>()) {}
SummaryBuilder::~SummaryBuilder() = default;
SummaryBuilder::SummaryBuilder(SummaryBuilder&&) noexcept = default;
SummaryBuilder& SummaryBuilder::operator=(SummaryBuilder&&) noexcept = default;

void SummaryBuilder::add(const Headers& headers) {
  Impl& impl = *impl_;
  if (headers.opaque) impl.opaque = true;
  if (impl.opaque) return;
  if (headers.unread != Unread::nothing) impl.unread = true;
  for (size_t i = 0; i < headers.ip_count; ++i) {
    const IpLayer& layer = headers.ip[i];
    impl.addresses.add(layer.source);
    impl.addresses.add(layer.destination);
    if (layer.has_ports) {
      impl.ports.add(layer.source_port);
      impl.ports.add(layer.destination_port);
    }
  }
  for (size_t i = 0; i < headers.mentioned_count; ++i) {
    impl.addresses.add(headers.mentioned[i].source);
    impl.addresses.add(headers.mentioned[i].destination);
  }
  if (headers.arp) {
    impl.addresses.add(headers.arp_sender);
    impl.addresses.add(headers.arp_target);
  }
}

void SummaryBuilder::add(uint16_t link_type, std::span<const std::byte> data) {
  // TCP or UDP, outside of any tunnel, on IPv4 without options on Ethernet.
  constexpr size_t kIp = 14, kTransport = kIp + 20, kPorts = kTransport + 4, kUdpPayload = kTransport + 8;
  Impl& impl = *impl_;
  if (impl.opaque) return;
  const std::byte* at = data.data();
  if (link_type != link_type::kEthernet || data.size() < kPorts || load_be16(at + 12) != 0x0800 ||
      load8(at + kIp) != 0x45 || (load_be16(at + kIp + 6) & 0x1fff) != 0)
    return add(decode(link_type, data));
  const uint8_t protocol = load8(at + kIp + 9);
  const uint16_t from = load_be16(at + kTransport), to = load_be16(at + kTransport + 2);
  const bool plain =
      protocol == ip_protocol::kTcp || (protocol == ip_protocol::kUdp && !is_tunnel_port(to) && !is_tunnel_port(from) &&
                           data.size() >= kUdpPayload + 8 && !may_be_tunnel(at + kUdpPayload));
  if (!plain) return add(decode(link_type, data));
  impl.addresses.add(IpAddress::v4(at + kIp + 12));
  impl.addresses.add(IpAddress::v4(at + kIp + 16));
  impl.ports.add(from);
  impl.ports.add(to);
}

Summary SummaryBuilder::take() {
  Impl& impl = *impl_;
  Summary summary;
  if (!impl.opaque) {
    auto made = std::make_shared<Summary::Impl>();
    made->unread = impl.unread;
    if (!impl.addresses.overflowed()) {
      made->addresses = Summary::Impl::Addresses::exact;
      impl.addresses.for_each([&](const IpAddress& address) {
        if (address.is_v4()) {
          made->v4.push_back(
              load_be32(reinterpret_cast<const std::byte*>(address.bytes.data()) + 12));
        } else {
          made->v6.push_back(address);
        }
      });
      std::sort(made->v4.begin(), made->v4.end());
      std::sort(made->v6.begin(), made->v6.end());
      const size_t count = impl.addresses.size();
      unsigned order = 0;
      if (count > kExactAddresses &&
          set_bits(made->v4, order) + 128 * made->v6.size() > kExactBitsPerAddress * count) {
        made->addresses = Summary::Impl::Addresses::bloom;
        made->v4.clear();
        made->v6.clear();
        made->bloom.assign((count * kBloomBitsPerAddress + 7) / 8, 0);
        impl.addresses.for_each([&](const IpAddress& address) { bloom_add(made->bloom, address); });
      }
    }
    if (impl.ports.size() <= Summary::kMaxKeys) {
      made->any_port = false;
      made->ports = impl.ports.sorted();
    }
    summary = Summary(std::move(made));
  }
  impl.addresses.clear();
  impl.ports.clear();
  impl.opaque = impl.unread = false;
  return summary;
}

}  // namespace lookback::packet
