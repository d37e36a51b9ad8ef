#pragma once
// URLs (RFC 3986), by libcurl's own parser: what it connects to is what is checked here.

#include <cstdint>
#include <string>
#include <string_view>

#include "lookback/base/result.hpp"

namespace lookback::http {

struct Url {
  std::string scheme;  ///< "http" or "https"
  std::string host;    ///< lower case, without brackets: "hub.example", "::1"
  uint16_t port = 0;   ///< the scheme's where the URL has none
  std::string path;    ///< "" or "/under/this", without a slash at its end

  /// "http://[::1]:7400/under/this": how requests begin.
  [[nodiscard]] std::string base() const;
};

/// The URL of a daemon. `whose` is for the message: "hub". Kind invalid for other schemes, and for a user, a query or a fragment,
/// which mean nothing there.
[[nodiscard]] Result<Url> parse_url(std::string_view text, std::string_view whose);

}  // namespace lookback::http
