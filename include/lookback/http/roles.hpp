#pragma once
// Who may do what. Tokens for less than everything are made from the hub's token by HMAC-SHA-256 (RFC 2104) over the role's name,
// so that the hub keeps no list. A node's token speaks for the node of that name only. A client's token does what clients do, and
// cannot pass for a node. The hub's token cannot be computed from either.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lookback::http {

/// What a route asks for, and what a caller has.
enum class Role {
  anyone,  ///< no token is asked for
  node,    ///< "node-" and 64 hexadecimal digits: speaks for one node
  client,  ///< "client-" and 64 hexadecimal digits
  admin,   ///< a token of one's own choice: may do everything, and makes the others
};
[[nodiscard]] std::string_view to_string(Role role);
/// The role of a token, by its form.
[[nodiscard]] Role role_of(std::string_view token);

/// Who makes a request.
struct Principal {
  std::string name;  ///< of a node its name; otherwise the role's
  Role role = Role::anyone;
};

/// The one place where roles are checked. `node`: the {name} in the path of a route for nodes.
[[nodiscard]] bool may_use(const Principal& principal, Role needed, std::string_view node);

/// Whose a token is; nothing where nobody has it. `node`: whose it may be, at a route for nodes; empty elsewhere. Any thread.
using Authenticator = std::function<std::optional<Principal>(std::string_view token, std::string_view node)>;

[[nodiscard]] std::string node_token(std::string_view hub_token, std::string_view node);
[[nodiscard]] std::string client_token(std::string_view hub_token);
/// Knows the tokens made from `hub_token`: the client's, and the node's of the name in question.
[[nodiscard]] Authenticator derived_tokens(const std::string& hub_token);

/// Compares in a time that tells nothing about either, lengths included.
[[nodiscard]] bool same_token(std::string_view a, std::string_view b);

}  // namespace lookback::http
