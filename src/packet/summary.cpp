#include "lookback/packet/summary.hpp"

#include <algorithm>
#include <cstring>

#include "lookback/base/hash.hpp"
#include "packet/load.hpp"
#include "packet/summary_format.hpp"

namespace lookback::packet {

namespace {

uint32_t v4_number(const IpAddress& address) {
  return load_be32(reinterpret_cast<const std::byte*>(address.bytes.data()) + 12);
}

/// The network's first and last address, as IPv4 numbers.
std::pair<uint32_t, uint32_t> v4_range(const Cidr& network) {
  const uint32_t first = v4_number(network.network);
  const unsigned host_bits = 128u - network.prefix_bits;
  return {first, host_bits >= 32 ? UINT32_MAX : first | ((1u << host_bits) - 1)};
}

template <class T>
bool has_in(const std::vector<T>& sorted, const T& first, const T& last) {
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), first);
  return at != sorted.end() && *at <= last;
}

IpAddress last_of(const Cidr& network) {
  IpAddress last = network.network;
  for (unsigned i = network.prefix_bits; i < 128; ++i)
    last.bytes[i / 8] |= static_cast<uint8_t>(0x80u >> i % 8);
  return last;
}

tl::unexpected<Error> damaged() {
  return fail(ErrorKind::corrupt, "a damaged frame summary");
}

}  // namespace

std::string Summary::to_text() const {
  if (impl_ == nullptr) return {};
  std::string out;
  out += static_cast<char>(kSummaryVersion);
  out += static_cast<char>(impl_->unread);
  out += static_cast<char>(impl_->addresses);
  switch (impl_->addresses) {
    case Impl::Addresses::anything:
      break;
    case Impl::Addresses::exact:
      append_set(out, impl_->v4);
      append_varint(out, impl_->v6.size());
      for (const IpAddress& address : impl_->v6)
        out.append(reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size());
      break;
    case Impl::Addresses::bloom:
      append_varint(out, impl_->bloom.size());
      out.append(reinterpret_cast<const char*>(impl_->bloom.data()), impl_->bloom.size());
      break;
  }
  out += static_cast<char>(!impl_->any_port);
  if (!impl_->any_port) append_set(out, impl_->ports);
  return to_base64(std::as_bytes(std::span(out.data(), out.size())));
}

Result<Summary> Summary::parse(std::string_view text) {
  if (text.empty()) return Summary();
  TRY_ASSIGN(const std::string bytes, from_base64(text));
  SummaryReader reader(bytes);
  const auto version = reader.byte();
  if (!version || *version == 0) return damaged();
  if (*version > kSummaryVersion) return Summary();  // what a later program wrote may be read, only not skipped
  auto impl = std::make_shared<Impl>();
  if (*version == 1) {
    impl->unread = true;  // it looked into fewer tunnels
  } else {
    const auto flags = reader.byte();
    if (!flags || *flags > 1) return damaged();
    impl->unread = *flags != 0;
  }
  const auto addresses = reader.byte();
  if (!addresses || *addresses > 2) return damaged();
  impl->addresses = static_cast<Impl::Addresses>(*addresses);
  if (impl->addresses == Impl::Addresses::exact) {
    auto v4 = reader.set(UINT32_MAX);
    const auto v6_count = v4 ? reader.varint() : std::nullopt;
    if (!v6_count || *v6_count > kMaxKeys) return damaged();
    impl->v4 = std::move(*v4);
    impl->v6.resize(*v6_count);
    for (IpAddress& address : impl->v6) {
      const auto raw = reader.bytes(address.bytes.size());
      if (!raw) return damaged();
      std::memcpy(address.bytes.data(), raw->data(), raw->size());
    }
    // Strictly ascending, or searching would not find what is there.
    if (std::adjacent_find(impl->v6.begin(), impl->v6.end(), std::greater_equal<>()) !=
        impl->v6.end())
      return damaged();
  } else if (impl->addresses == Impl::Addresses::bloom) {
    const auto count = reader.varint();
    const auto raw = count && *count > 0 ? reader.bytes(*count) : std::nullopt;
    if (!raw) return damaged();
    impl->bloom.assign(raw->begin(), raw->end());
  }
  const auto ports = reader.byte();
  if (!ports || *ports > 1) return damaged();
  impl->any_port = *ports == 0;
  if (!impl->any_port) {
    auto set = reader.set(UINT16_MAX);
    if (!set) return damaged();
    impl->ports = std::move(*set);
  }
  if (!reader.at_end()) return damaged();
  return Summary(std::move(impl));
}

bool Summary::has_unread() const {
  return impl_ == nullptr || impl_->unread;
}

bool Summary::may_have_address(const IpAddress& address) const {
  if (impl_ == nullptr) return true;
  switch (impl_->addresses) {
    case Impl::Addresses::anything:
      return true;
    case Impl::Addresses::bloom:
      return bloom_has(impl_->bloom, address);
    case Impl::Addresses::exact:
      break;
  }
  if (address.is_v4())
    return std::binary_search(impl_->v4.begin(), impl_->v4.end(), v4_number(address));
  return std::binary_search(impl_->v6.begin(), impl_->v6.end(), address);
}

bool Summary::may_have_network(const Cidr& network) const {
  if (network.is_host()) return may_have_address(network.network);
  if (impl_ == nullptr || impl_->addresses != Impl::Addresses::exact) return true;
  if (network.is_v4()) {
    const auto [first, last] = v4_range(network);
    return has_in(impl_->v4, first, last);
  }
  return has_in(impl_->v6, network.network, last_of(network));
}

bool Summary::may_have_port_in(uint16_t first, uint16_t last) const {
  if (impl_ == nullptr || impl_->any_port) return true;
  return has_in<uint32_t>(impl_->ports, first, last);
}

}  // namespace lookback::packet
