#include "request_guard.hpp"

#include <algorithm>

#include "lookback/http/own_host.hpp"

namespace lookback::http {

namespace {

constexpr size_t kMaxShown = 128;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view header(const RequestHead& head, const char* name) {
  const auto it = head.headers.find(name);
  return it == head.headers.end() ? std::string_view() : std::string_view(it->second);
}

/// The media type without its parameters (RFC 9110 section 8.3.1).
std::string media_type(std::string_view value) {
  value = value.substr(0, value.find(';'));
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  return lower(value);
}

/// Health checks come from load balancers under whatever name, and say nothing.
bool is_health_check(const RequestHead& head) {
  return (head.method == "GET" || head.method == "HEAD") &&
         (head.target.path == "/healthz" || head.target.path == "/readyz");
}

}  // namespace

RequestGuard::RequestGuard(const std::vector<std::string>& allowed_hosts, bool tls,
                           std::function<bool(const std::string&)> in_certificate)
    : scheme_(tls ? "https://" : "http://"), in_certificate_(std::move(in_certificate)) {
  for (const std::string& text : allowed_hosts) {
    if (const auto host = authority_host(text)) allowed_hosts_.push_back(*host);
  }
}

bool RequestGuard::is_known(const std::string& host, std::string_view local_address) const {
  if (host == local_address || is_loopback_host(host)) return true;
  if (std::find(allowed_hosts_.begin(), allowed_hosts_.end(), host) != allowed_hosts_.end()) return true;
  if (in_certificate_ && in_certificate_(host)) return true;
  return is_own_host(host);
}

std::optional<Refusal> RequestGuard::check_host(std::string_view authority, std::string_view local_address) const {
  const auto host = authority_host(authority);
  if (host && is_known(*host, local_address)) return std::nullopt;
  const std::string shown = host.value_or(std::string(authority)).substr(0, kMaxShown);
  return Refusal{421, fmt::format("this daemon is not '{}': use its address, or start it with --allowed-host {}", shown,
                                  host ? shown : "NAME")};
}

std::optional<Refusal> RequestGuard::check(const RequestHead& head, std::string_view local_address) const {
  if (is_health_check(head)) return std::nullopt;
  const std::string_view host = header(head, "host");
  // HTTP/1.0 knows no Host, and no browser speaks it.
  if (head.headers.contains("host")) {
    if (auto refusal = check_host(host, local_address)) return refusal;
  }
  if (head.target.authority) {
    if (auto refusal = check_host(*head.target.authority, local_address)) return refusal;
  }
  if (head.headers.contains("origin")) {
    const std::string_view origin = header(head, "origin");
    if (lower(origin) != scheme_ + lower(host))
      return Refusal{403, fmt::format("a web page of '{}' may not use this daemon, which answers programs: send no "
                                      "Origin header",
                                      origin.substr(0, kMaxShown))};
  }
  // Sent by browsers only (Fetch Metadata): "none" is an address that the user typed.
  if (head.headers.contains("sec-fetch-site")) {
    const std::string site = lower(header(head, "sec-fetch-site"));
    if (site != "same-origin" && site != "none")
      return Refusal{403, "a web page of another site may not use this daemon, which answers programs: send no "
                          "Sec-Fetch-Site header"};
  }
  return std::nullopt;
}

std::optional<Refusal> RequestGuard::check_type(const RequestHead& head, const BodyRule& rule) {
  if (!head.has_body || rule.body_types.empty()) return std::nullopt;
  const std::string type = media_type(header(head, "content-type"));
  const auto& types = rule.body_types;
  if (std::find(types.begin(), types.end(), type) != types.end()) return std::nullopt;
  std::string wanted;
  for (const std::string& one : types) wanted += (wanted.empty() ? "" : " or ") + one;
  return Refusal{415, type.empty() ? fmt::format("the body's type is not said: send Content-Type: {}", types.front())
                                   : fmt::format("the body is of type '{}', this takes {}: send Content-Type: {}",
                                                 type.substr(0, kMaxShown), wanted, types.front())};
}

}  // namespace lookback::http
