#pragma once
// Tokens for less than everything. Each is made from the hub's token by HMAC-SHA-256 (RFC 2104) over the role's name, so that the
// hub keeps no list. A node's token speaks for the node of that name only. A client's token does what clients do, and cannot pass
// for a node. From neither can the hub's token be computed.

#include <functional>
#include <string>
#include <string_view>

namespace lookback::http {

enum class TokenRole {
  hub,     ///< a token of one's own choice: may do everything, and makes the others
  node,    ///< "node-" and 64 hexadecimal digits
  client,  ///< "client-" and 64 hexadecimal digits
};
/// By its form.
[[nodiscard]] TokenRole role_of(std::string_view token);

[[nodiscard]] std::string node_token(std::string_view hub_token, std::string_view node);
[[nodiscard]] std::string client_token(std::string_view hub_token);

/// Compares in a time that tells nothing about either, lengths included.
[[nodiscard]] bool same_token(std::string_view a, std::string_view b);

/// What a token may do at a path.
enum class Access { unknown, forbidden, allowed };
/// Method in upper case, path decoded and without query. Called from any thread.
using AccessRule = std::function<Access(std::string_view token, const std::string& method, const std::string& path)>;

}  // namespace lookback::http
