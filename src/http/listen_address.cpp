#include "listen_address.hpp"

#include <charconv>

namespace lookback::http {

namespace ip = boost::asio::ip;

Result<ip::tcp::endpoint> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return fail(ErrorKind::invalid,
                "'{}' is not a listen address: give ADDRESS:PORT, such as 127.0.0.1:7400", text);
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size())
    return fail(ErrorKind::invalid, "'{}' is not a port (in the listen address '{}')", port_text,
                text);
  if (host == "localhost") host = "127.0.0.1";
  if (host.empty()) return ip::tcp::endpoint(ip::tcp::v6(), port);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(ErrorKind::invalid, "'{}': an IPv6 address needs brackets, such as [::1]:7400",
                text);
  }
  boost::system::error_code ec;
  const auto address = ip::make_address(std::string(host), ec);
  if (ec) {
    return fail(ErrorKind::invalid,
                "'{}' is not an IP address (in the listen address '{}'); names other than localhost "
                "are not resolved",
                host, text);
  }
  return ip::tcp::endpoint(address, port);
}

bool is_loopback(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return ip::make_address_v4(ip::v4_mapped, address.to_v6()).is_loopback();
  return address.is_loopback();
}

std::string address_text(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    return ip::make_address_v4(ip::v4_mapped, address.to_v6()).to_string();
  return address.to_string();
}

}  // namespace lookback::http
