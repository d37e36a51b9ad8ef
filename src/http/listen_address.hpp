#pragma once
// "127.0.0.1:7400", "[::1]:7400", "localhost:7400", ":7400".

#include <boost/asio/ip/tcp.hpp>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::http {

[[nodiscard]] Result<boost::asio::ip::tcp::endpoint> parse_listen_address(std::string_view text);
[[nodiscard]] bool is_loopback(const boost::asio::ip::address& address);
/// "10.0.0.7" for ::ffff:10.0.0.7.
[[nodiscard]] std::string address_text(const boost::asio::ip::address& address);

}  // namespace lookback::http
