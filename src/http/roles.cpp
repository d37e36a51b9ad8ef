#include "lookback/http/roles.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <span>

#include "lookback/base/enum_names.hpp"
#include "lookback/base/hash.hpp"

namespace lookback::http {

namespace {

constexpr std::string_view kNodePrefix = "node-", kClientPrefix = "client-";
constexpr size_t kDigits = 64;
constexpr EnumNames<Role, 4> kRoles{{"anyone", "node", "client", "admin"}};

bool has_form(std::string_view token, std::string_view prefix) {
  if (!token.starts_with(prefix) || token.size() != prefix.size() + kDigits) return false;
  token.remove_prefix(prefix.size());
  return std::all_of(token.begin(), token.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string_view to_string(Role role) {
  return kRoles.of(role);
}

Role role_of(std::string_view token) {
  if (has_form(token, kNodePrefix)) return Role::node;
  if (has_form(token, kClientPrefix)) return Role::client;
  return Role::admin;
}

bool may_use(const Principal& principal, Role needed, std::string_view node) {
  if (needed == Role::anyone || principal.role == Role::admin) return true;
  if (principal.role != needed) return false;
  return needed != Role::node || principal.name == node;
}

std::string node_token(std::string_view hub_token, std::string_view node) {
  return std::string(kNodePrefix) + hmac_sha256_hex(hub_token, "lookback node " + std::string(node));
}

std::string client_token(std::string_view hub_token) {
  return std::string(kClientPrefix) + hmac_sha256_hex(hub_token, "lookback client");
}

Authenticator derived_tokens(const std::string& hub_token) {
  return [hub_token, client = client_token(hub_token)](std::string_view token, std::string_view node) -> std::optional<Principal> {
    if (same_token(token, client)) return Principal{std::string(to_string(Role::client)), Role::client};
    // There is no list of nodes: a token of another one cannot be told from one that was made up.
    if (!node.empty() && same_token(token, node_token(hub_token, node))) return Principal{std::string(node), Role::node};
    return std::nullopt;
  };
}

bool same_token(std::string_view a, std::string_view b) {
  const std::string left = sha256_hex(std::as_bytes(std::span(a))), right = sha256_hex(std::as_bytes(std::span(b)));
  return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace lookback::http
