#pragma once
// Which hosts are this machine: for what a daemon answers to, and for whom a client gives the machine's own token.

#include <optional>
#include <string>
#include <string_view>

namespace lookback::http {

/// The host of "host", "host:port" or "[v6]:port" in lower case, without brackets and a final dot; nothing where the
/// text is not one (RFC 3986 section 3.2, without user information).
[[nodiscard]] std::optional<std::string> authority_host(std::string_view authority);

/// An IP literal. A name may be made to mean any address by whoever answers for it in DNS, a literal means itself.
[[nodiscard]] bool is_ip_literal(std::string_view host);
/// localhost and the addresses of the loopback interface.
[[nodiscard]] bool is_loopback_host(std::string_view host);
/// Also the addresses of the machine's interfaces, and its host name. Asks the kernel, never DNS. `host` as
/// authority_host gives it. Any thread.
[[nodiscard]] bool is_own_host(std::string_view host);

}  // namespace lookback::http
