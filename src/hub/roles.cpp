#include "roles.hpp"

#include <optional>

namespace lookback::hub {

namespace {

/// NAME of POST /api/v1/nodes/NAME/heartbeat.
std::optional<std::string_view> node_of_heartbeat(const std::string& method, std::string_view path) {
  constexpr std::string_view kBefore = "/api/v1/nodes/", kBehind = "/heartbeat";
  if (method != "POST" || !path.starts_with(kBefore) || !path.ends_with(kBehind)) return std::nullopt;
  if (path.size() <= kBefore.size() + kBehind.size()) return std::nullopt;
  return path.substr(kBefore.size(), path.size() - kBefore.size() - kBehind.size());
}

}  // namespace

http::AccessRule hub_access(const std::string& hub_token) {
  return [hub_token, client = http::client_token(hub_token)](std::string_view token, const std::string& method,
                                                             const std::string& path) {
    const auto node = node_of_heartbeat(method, path);
    if (http::same_token(token, client)) return node ? http::Access::forbidden : http::Access::allowed;
    if (node && http::same_token(token, http::node_token(hub_token, *node))) return http::Access::allowed;
    // It may be another node's. There is no list of them, so it cannot be told from one that was made up.
    return http::Access::unknown;
  };
}

}  // namespace lookback::hub
