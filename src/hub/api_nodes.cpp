// Heartbeats and the list of nodes.
#include "api.hpp"
#include "json_text.hpp"

namespace lookback::hub {

namespace {

http::Response take_heartbeat(const http::Request& request, ApiContext& context) {
  const int64_t received_ns = arrival_ns(request, context.clock);
  auto beat = Heartbeat::parse(request.parameters.at("name"), request.body, request.peer_address);
  if (!beat) return http::Response::problem(beat.error());
  if (const auto taken = context.nodes.take(std::move(*beat)); !taken)
    return http::Response::problem(taken.error());
  Json reply = {{"received_ns", received_ns},
                {"interval_ns", kHeartbeatInterval},
                {"hub_ports", {context.server.port()}},
                {"node_ports", context.nodes.ports()},
                {"hub_id", context.hub_id}};
  reply["replied_ns"] = context.clock.realtime_ns();
  return http::Response::json(to_text(reply));
}

}  // namespace

void mount_node_routes(http::Server& server, ApiContext& context) {
  server.add("POST", "/api/v1/nodes/{name}/heartbeat",
             [&context](http::Request& request) { return take_heartbeat(request, context); });
  server.add("GET", "/api/v1/nodes", [&context](http::Request&) {
    Json list = Json::array();
    for (const NodeInfo& node : context.nodes.nodes()) list.push_back(node_json(node));
    return http::Response::json(to_text({{"nodes", std::move(list)}}));
  });
  server.add("DELETE", "/api/v1/nodes/{name}", [&context](http::Request& request) {
    (void)context.nodes.forget(
        request.parameters.at("name"));  // one that is not known is forgotten already
    return no_content();
  });
}

}  // namespace lookback::hub
