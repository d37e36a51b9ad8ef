#include "lookback/http/roles.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <span>

#include "lookback/base/hash.hpp"

namespace lookback::http {

namespace {

constexpr std::string_view kNodePrefix = "node-", kClientPrefix = "client-";
constexpr size_t kDigits = 64;

bool has_form(std::string_view token, std::string_view prefix) {
  if (!token.starts_with(prefix) || token.size() != prefix.size() + kDigits) return false;
  token.remove_prefix(prefix.size());
  return std::all_of(token.begin(), token.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

TokenRole role_of(std::string_view token) {
  if (has_form(token, kNodePrefix)) return TokenRole::node;
  if (has_form(token, kClientPrefix)) return TokenRole::client;
  return TokenRole::hub;
}

std::string node_token(std::string_view hub_token, std::string_view node) {
  return std::string(kNodePrefix) + hmac_sha256_hex(hub_token, "lookback node " + std::string(node));
}

std::string client_token(std::string_view hub_token) {
  return std::string(kClientPrefix) + hmac_sha256_hex(hub_token, "lookback client");
}

bool same_token(std::string_view a, std::string_view b) {
  const std::string left = sha256_hex(std::as_bytes(std::span(a))), right = sha256_hex(std::as_bytes(std::span(b)));
  return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace lookback::http
