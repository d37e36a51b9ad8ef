#include "node/self_exclusion.hpp"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "lookback/packet/ip_address.hpp"

namespace lookback::node {
namespace {

std::string numeric(const sockaddr* address, socklen_t size) {
  char text[NI_MAXHOST];
  if (getnameinfo(address, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  std::string name = text;
  name.resize(std::min(name.size(), name.find('%')));
  return name;
}

/// This machine's own addresses.
std::vector<std::string> own_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  std::vector<std::string> addresses;
  for (const auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    std::string text;
    if (entry->ifa_addr->sa_family == AF_INET) text = numeric(entry->ifa_addr, sizeof(sockaddr_in));
    if (entry->ifa_addr->sa_family == AF_INET6)
      text = numeric(entry->ifa_addr, sizeof(sockaddr_in6));
    if (!text.empty()) addresses.push_back(text);
  }
  return addresses;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace

Result<HubAddress> parse_hub_url(const std::string& url) {
  HubAddress hub;
  std::string_view rest = url;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    hub.port = 80;
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    hub.port = 443;
  } else {
    return fail(ErrorKind::invalid, "'{}' is no URL of a hub: expected http://HOST:PORT", url);
  }
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (const size_t at = rest.rfind('@'); at != std::string_view::npos) rest.remove_prefix(at + 1);
  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return fail(ErrorKind::invalid, "'{}' lacks a ']'", url);
    hub.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!rest.empty() && rest.front() == ':') port = rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    hub.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon + 1);
  }
  if (hub.host.empty()) return fail(ErrorKind::invalid, "'{}' names no host", url);
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), hub.port);
    if (error != std::errc() || end != port.data() + port.size() || hub.port == 0)
      return fail(ErrorKind::invalid, "'{}' has no valid port", url);
  }
  return hub;
}

std::vector<std::string> resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  std::vector<std::string> addresses;
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next)
    if (auto text = numeric(entry->ai_addr, entry->ai_addrlen); !text.empty())
      addresses.push_back(std::move(text));
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

bool SelfExclusion::set_hub(const std::vector<std::string>& addresses,
                            const std::vector<uint16_t>& ports) {
  std::set<std::string> hub(addresses.begin(), addresses.end());
  // A hub on this machine is reached by others under any of its addresses.
  const auto own = own_addresses();
  if (std::any_of(hub.begin(), hub.end(), [&](const std::string& address) {
        return is_loopback(address) || std::find(own.begin(), own.end(), address) != own.end();
      }))
    hub.insert(own.begin(), own.end());

  const std::lock_guard lock(mutex_);
  const size_t ports_before = ports_.size();
  ports_.insert(ports.begin(), ports.end());
  ports_.erase(0);
  const bool changed = hub != hub_ || ports_.size() != ports_before;
  hub_ = std::move(hub);
  return changed;
}

bool SelfExclusion::add_caller(const std::string& address) {
  if (!packet::IpAddress::parse(address)) return false;
  const std::lock_guard lock(mutex_);
  if (hub_.contains(address) || callers_.contains(address) || callers_.size() >= kMaxCallers)
    return false;
  callers_.insert(address);
  return true;
}

std::vector<capture::ExcludedPeer> SelfExclusion::peers() const {
  const std::lock_guard lock(mutex_);
  std::vector<capture::ExcludedPeer> peers;
  const std::vector<uint16_t> ports(ports_.begin(), ports_.end());
  if (ports.empty()) return peers;
  std::set<std::string> all = hub_;
  all.insert(callers_.begin(), callers_.end());
  for (const auto& address : all) peers.push_back({address, ports});
  return peers;
}

}  // namespace lookback::node
