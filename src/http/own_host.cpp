#include "lookback/http/own_host.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "listen_address.hpp"

namespace lookback::http {

namespace ip = boost::asio::ip;

namespace {

std::optional<ip::address> literal(std::string_view host) {
  boost::system::error_code ec;
  const auto address = ip::make_address(std::string(host.substr(0, host.find('%'))), ec);
  if (ec) return std::nullopt;
  return address;
}

bool is_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return text.empty() || (error == std::errc() && end == text.data() + text.size());
}

/// Letters, digits and what else stands in the names of hosts (RFC 952, and "_" of practice).
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
}

bool is_interface_address(const ip::address& address) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  const std::string wanted = address_text(address);
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    char text[INET6_ADDRSTRLEN] = "";
    if (one->ifa_addr == nullptr) continue;
    if (one->ifa_addr->sa_family == AF_INET) {
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr, text, sizeof text);
    }
    if (wanted == text) return true;
  }
  return false;
}

bool is_host_name(std::string_view host) {
  char text[256] = "";
  ::gethostname(text, sizeof text - 1);
  const auto own = authority_host(text);
  if (!own) return false;
  return host == *own || host == std::string_view(*own).substr(0, own->find('.'));
}

}  // namespace

std::optional<std::string> authority_host(std::string_view authority) {
  std::string host(authority);
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string::npos) return std::nullopt;
    const std::string_view rest = std::string_view(host).substr(end + 1);
    if (!rest.empty() && (rest[0] != ':' || !is_port(rest.substr(1)))) return std::nullopt;
    host = host.substr(1, end - 1);
    const auto address = literal(host);
    if (!address || !address->is_v6()) return std::nullopt;
    return host.substr(0, host.find('%'));
  }
  if (const auto address = literal(host); address && address->is_v6()) return host.substr(0, host.find('%'));
  if (const auto colon = host.find(':'); colon != std::string::npos) {
    if (!is_port(std::string_view(host).substr(colon + 1))) return std::nullopt;
    host.resize(colon);
  }
  if (host.ends_with('.')) host.pop_back();
  if (!is_name(host)) return std::nullopt;
  return host;
}

bool is_ip_literal(std::string_view host) { return literal(host).has_value(); }

bool is_loopback_host(std::string_view host) {
  // The second and third are what Debian's /etc/hosts calls ::1.
  if (host == "localhost" || host == "ip6-localhost" || host == "ip6-loopback") return true;
  const auto address = literal(host);
  return address && is_loopback(*address);
}

bool is_own_host(std::string_view host) {
  if (is_loopback_host(host)) return true;
  if (const auto address = literal(host)) return is_interface_address(*address);
  return is_host_name(host);
}

}  // namespace lookback::http
