// Heartbeats and the list of nodes.
#include <algorithm>

#include "api.hpp"
#include "json_text.hpp"

namespace lookback::hub {

namespace {

/// What a node says of itself; a document of some kilobytes.
constexpr uint64_t kMaxHeartbeatBytes = 64 << 10;

http::Response take_heartbeat(http::Request& request, ApiContext& context) {
  const int64_t received_ns = arrival_ns(request, context.clock);
  auto beat = Heartbeat::parse(request.parameters.at("name"), request.body, request.peer_address,
                               context.nodes.policy());
  if (!beat) return http::Response::problem(beat.error());
  if (const auto taken = context.nodes.take(std::move(*beat)); !taken)
    return http::Response::problem(taken.error());
  Json reply = {{"received_ns", received_ns},
                {"interval_ns", kHeartbeatInterval},
                {"hub_id", context.hub_id},
                {"live_freezes", context.snapshots.live_freezes()}};
  reply["replied_ns"] = context.clock.realtime_ns();
  return http::Response::json(to_text(reply));
}

/// From when to when each node has packets, by its own clock, and all of them together.
http::Response boundaries(http::Request& /*request*/, ApiContext& context) {
  std::optional<int64_t> oldest, newest;
  Json list = Json::array();
  for (const NodeInfo& node : context.nodes.nodes()) {
    const NodeStatus& status = node.status;
    if (status.oldest_ns) oldest = std::min(oldest.value_or(*status.oldest_ns), *status.oldest_ns);
    if (status.newest_ns) newest = std::max(newest.value_or(*status.newest_ns), *status.newest_ns);
    list.push_back({{"name", node.name},
                    {"state", to_string(node.state)},
                    {"oldest", time_to_json(status.oldest_ns)},
                    {"newest", time_to_json(status.newest_ns)}});
  }
  return http::Response::json(to_text(
      {{"oldest", time_to_json(oldest)}, {"newest", time_to_json(newest)}, {"nodes", std::move(list)}}));
}

http::Response list_nodes(http::Request& /*request*/, ApiContext& context) {
  Json list = Json::array();
  for (const NodeInfo& node : context.nodes.nodes()) list.push_back(node_json(node));
  return http::Response::json(to_text({{"nodes", std::move(list)}}));
}

http::Response forget_node(http::Request& request, ApiContext& context) {
  (void)context.nodes.forget(request.parameters.at("name"));  // one that is not known is forgotten already
  return no_content();
}

using http::Role, http::RunsOn;

const ApiRoute kNodeRoutes[] = {
    {"GET", "/api/v1/nodes", Role::client, RunsOn::worker, "Lists the nodes.", list_nodes},
    {"GET", "/api/v1/boundaries", Role::client, RunsOn::worker, "Tells since when each node has packets.", boundaries},
    {"POST", "/api/v1/nodes/{name}/heartbeat", Role::node, RunsOn::worker, "Takes a node's report of itself.", take_heartbeat,
     {.max_body_bytes = kMaxHeartbeatBytes}},
    {"DELETE", "/api/v1/nodes/{name}", Role::client, RunsOn::worker, "Forgets a node.", forget_node},
};

}  // namespace

ApiTable node_routes() {
  return kNodeRoutes;
}

}  // namespace lookback::hub
