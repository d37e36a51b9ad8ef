#include "node/api.hpp"

#include <charconv>

#include "lookback/base/fd.hpp"
#include "lookback/base/json.hpp"
#include "lookback/base/json_time.hpp"
#include "lookback/base/time.hpp"
#include "node/event_member.hpp"

namespace lookback::node {
namespace {

using http::Request, http::Response, http::Role, http::RunsOn;

/// Bodies: the networks of a snapshot are what may be many.
constexpr uint64_t kMaxFreezeOrder = 256 << 10, kMaxRenewal = 4 << 10;

/// What a caller wrote wrongly is its mistake, not corrupt data.
Error as_invalid(Error error) {
  if (error.kind == ErrorKind::corrupt) error.kind = ErrorKind::invalid;
  return error;
}

Result<FreezeOrder> parse_order(const std::string& body) {
  FreezeOrder order;
  TRY_ASSIGN(const Json document, parse_json(body, "the request"));
  TRY_ASSIGN(order.id, json_get<std::string>(document, "id"));
  TRY_ASSIGN(order.owner, json_get_or<std::string>(document, "owner", ""));
  TRY_ASSIGN(order.hub, json_get_or<std::string>(document, "hub", ""));
  TRY_ASSIGN(order.window.from_ns, json_time(document, "from"));
  TRY_ASSIGN(order.window.to_ns, json_time(document, "to"));
  TRY_ASSIGN(order.time_to_live_ns,
             json_get_or<int64_t>(document, "ttl_ns", order.time_to_live_ns));
  if (const auto networks = document.find("networks");
      networks != document.end() && !networks->is_null()) {
    if (!networks->is_array()) return fail(ErrorKind::invalid, "'networks' must be a list");
    for (const auto& network : *networks) {
      if (!network.is_string()) return fail(ErrorKind::invalid, "'networks' must hold texts");
      order.networks.push_back(network.get<std::string>());
    }
  }
  return order;
}

Json document_of(const ApiParts& parts, const FrozenWindow& window) {
  return freeze_document(window, parts.excluded(window.freeze.window));
}

Response freeze_response(const ApiParts& parts, const Result<FrozenWindow>& window, int status = 200) {
  if (!window) return Response::problem(window.error());
  return Response::json(dump_json(document_of(parts, *window)), status);
}

Response create_freeze(Request& request, const ApiParts& parts) {
  const auto order = parse_order(request.body);
  if (!order) return Response::problem(as_invalid(order.error()));
  parts.on_caller(request.peer_address, request.peer_port);
  const auto created = parts.freezes->create(*order);
  if (!created) return Response::problem(created.error());
  return freeze_response(parts, created->window, created->existed ? 200 : 201);
}

Response renew_freeze(Request& request, const ApiParts& parts) {
  const auto document = parse_json(request.body, "the request");
  if (!document) return Response::problem(as_invalid(document.error()));
  const auto time_to_live = json_get<int64_t>(*document, "ttl_ns");
  if (!time_to_live) return Response::problem(as_invalid(time_to_live.error()));
  const std::string& id = request.parameters["id"];
  if (auto renewed = parts.freezes->renew(id, *time_to_live); !renewed)
    return Response::problem(renewed.error());
  return freeze_response(parts, parts.freezes->find(id));
}

Response send_member(Request& request, const ApiParts& parts) {
  const std::string& id = request.parameters["id"];
  const std::string& text = request.parameters["index"];
  size_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size())
    return Response::problem({ErrorKind::invalid, fmt::format("'{}' is not the index of a member", text)});

  parts.on_caller(request.peer_address, request.peer_port);
  const auto needed = parts.freezes->member_memory(id, index);
  if (!needed) return Response::problem(needed.error());
  const Response stopping = Response::problem({ErrorKind::unavailable, "the daemon is being stopped"});
  auto share = parts.memory->take(*needed);
  if (!share) return stopping;
  Result<std::optional<archive::MemberContent>> member = std::nullopt;
  if (!parts.pool->run([&] { member = parts.freezes->any_member(id, index); })) return stopping;
  if (!member) {
    auto response = Response::problem(member.error());
    // It was there once: gone (RFC 9110 15.5.11), so that nobody asks again.
    if (member.error().kind == ErrorKind::not_found) response.status = 410;
    return response;
  }
  Response response;
  response.content_type = "application/octet-stream";
  if (!*member) {
    response.status = 204;
    return response;
  }
  const auto content = std::make_shared<const archive::MemberContent>(std::move(**member));
  const auto header =
      std::make_shared<const std::vector<std::byte>>(archive::encode_member_header(*content));
  response.content_length = header->size() + content->compressed.size();
  // What is on its way takes memory until it has been sent.
  share->shrink(*response.content_length);
  const auto kept = std::make_shared<const MemoryBudget::Share>(std::move(*share));
  response.stream = [content, header, kept](const http::BodyWriter& write) -> Result<> {
    TRY(write(*header));
    return write(content->compressed);
  };
  return response;
}

Response healthz(Request& /*request*/, const ApiParts& /*parts*/) {
  return Response::text("ok\n");
}

Response readyz(Request& /*request*/, const ApiParts& parts) {
  const auto state = parts.state();
  if (state.failure) return Response::text(state.failure->message + "\n", 503);
  if (state.disk_failing) return Response::text("the disk does not take packets\n", 503);
  return Response::text("ready\n");
}

Response metrics(Request& /*request*/, const ApiParts& parts) {
  auto response = Response::text(metrics_text(parts.state()));
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

Response status(Request& /*request*/, const ApiParts& parts) {
  return Response::json(dump_json(status_document(parts.state())));
}

Response boundaries(Request& /*request*/, const ApiParts& parts) {
  const auto state = parts.state();
  return Response::json(dump_json({{"oldest", time_to_json(state.store.oldest_ns)}, {"newest", time_to_json(state.store.newest_ns)}}));
}

Response list_freezes(Request& /*request*/, const ApiParts& parts) {
  Json list = Json::array();
  for (const auto& window : parts.freezes->list()) list.push_back(document_of(parts, window));
  return Response::json(dump_json({{"freezes", std::move(list)}}));
}

Response show_freeze(Request& request, const ApiParts& parts) {
  return freeze_response(parts, parts.freezes->find(request.parameters["id"]));
}

Response release_freeze(Request& request, const ApiParts& parts) {
  if (auto released = parts.freezes->release(request.parameters["id"]); !released) return Response::problem(released.error());
  Response response;
  response.status = 204;
  return response;
}

const ApiRoute kRoutes[] = {
    {"GET", "/healthz", Role::anyone, RunsOn::worker, "Tells whether the process answers.", healthz},
    {"GET", "/readyz", Role::anyone, RunsOn::worker, "Tells whether the node records.", readyz},
    {"GET", "/metrics", Role::admin, RunsOn::worker, "Metrics for Prometheus.", metrics},
    {"GET", "/api/v1/status", Role::admin, RunsOn::worker, "Tells how the recording goes.", status},
    {"GET", "/api/v1/boundaries", Role::admin, RunsOn::worker, "Tells since when there are packets.", boundaries},
    {"GET", "/api/v1/freezes", Role::admin, RunsOn::worker, "Lists the frozen windows.", list_freezes},
    {"POST", "/api/v1/freezes", Role::admin, RunsOn::worker, "Freezes a window.", create_freeze, {.max_body_bytes = kMaxFreezeOrder}},
    {"GET", "/api/v1/freezes/{id}", Role::admin, RunsOn::worker, "Shows a frozen window and its members.", show_freeze},
    {"POST", "/api/v1/freezes/{id}/renew", Role::admin, RunsOn::worker, "Keeps a frozen window for longer.", renew_freeze,
     {.max_body_bytes = kMaxRenewal}},
    {"DELETE", "/api/v1/freezes/{id}", Role::admin, RunsOn::worker, "Releases a frozen window.", release_freeze},
    // It waits for its turn in the pool: not on one of the server's few workers.
    {"GET", "/api/v1/freezes/{id}/members/{index}", Role::admin, RunsOn::transfer, "Sends a member of a frozen window.", send_member},
};

}  // namespace

std::span<const ApiRoute> api_routes() {
  return kRoutes;
}

}  // namespace lookback::node
