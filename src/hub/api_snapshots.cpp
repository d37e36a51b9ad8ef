// Orders, lists, cancelling, deleting, verifying, and the feed of events.
#include <charconv>

#include "api.hpp"
#include "json_text.hpp"
#include "lookback/base/fd.hpp"

namespace lookback::hub {

namespace {

constexpr std::chrono::seconds kFeedInterval{10};
constexpr uint64_t kPage = 500, kMostPage = 5'000;  // snapshots of a list at a time

http::Response create(http::Request& request, ApiContext& context) {
  const int64_t now_ns = arrival_ns(request, context.clock);
  const auto body = read_document(request);
  if (!body) return http::Response::problem(body.error());
  const auto order = SnapshotOrder::parse(*body);
  if (!order) return http::Response::problem(order.error());
  auto created = context.snapshots.create(*order, now_ns);
  if (created) return http::Response::json(archive::snapshot_to_text(*created, archive::NodeDetail::full), 202);
  // It is not the hub that cannot be reached.
  if (created.error().kind == ErrorKind::unreachable)
    return http::Response::problem(created.error(), 503);
  return http::Response::problem(created.error());
}

/// What an end has left: nothing (204), or the nodes that could not be told.
http::Response ended(const Result<std::vector<Unreleased>>& left) {
  if (!left) return http::Response::problem(left.error());
  if (left->empty()) return no_content();
  Json list = Json::array();
  for (const Unreleased& one : *left) list.push_back({{"node", one.node}, {"reason", one.why}});
  return http::Response::json(to_text({{"unreleased", std::move(list)}}));
}

http::Response list(const http::Request& request, ApiContext& context) {
  uint64_t limit = kPage;
  if (const auto text = request.query_value("limit")) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), limit);
    if (error != std::errc() || end != text->data() + text->size() || limit == 0 || limit > kMostPage)
      return http::Response::problem(
          {ErrorKind::invalid, fmt::format("'limit' is a number from 1 to {}", kMostPage)});
  }
  const auto page = context.snapshots.list(request.query_value("cursor").value_or(""), limit);
  std::string text = "{\"snapshots\":[";
  for (const archive::Snapshot& snapshot : page.snapshots) {
    if (text.back() != '[') text += ',';
    text += archive::snapshot_to_text(snapshot, archive::NodeDetail::brief);
    text.pop_back();  // the line's end
  }
  text += "],\"next\":" + dump_json(page.next ? Json(*page.next) : Json(nullptr)) + "}\n";
  return http::Response::json(std::move(text));
}

Result<> feed(const http::BodyWriter& write, ApiContext& context) {
  const auto send = [&](const std::string& text) { return write(as_bytes(text)); };
  uint64_t last = context.events.last_number();
  TRY(send(": lookback hub events\n\n"));
  for (;;) {
    const auto batch = context.events.wait(last, kFeedInterval);
    std::string text;
    if (batch.missed > 0)
      text += fmt::format("event: missed\ndata: {{\"events\":{}}}\n\n", batch.missed);
    for (const auto& event : batch.events) {
      text += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.number, event.type, event.data);
      last = event.number;
    }
    if (batch.closed) return text.empty() ? Result<>() : send(text);
    // A comment now and then finds out whether anybody still listens.
    TRY(send(text.empty() ? ":\n\n" : text));
  }
}

}  // namespace

void mount_snapshot_routes(http::Server& server, ApiContext& context) {
  // Upload routes have threads of their own: an order waits for nodes, and cancelling and deleting
  // may wait for jobs.
  server.add_upload("POST", "/api/v1/snapshots",
                    [&context](http::Request& request) { return create(request, context); },
                    order_route(kMaxOrderBytes));
  server.add_upload("POST", "/api/v1/snapshots/{name}/cancel", [&context](http::Request& request) {
    if (const auto body = read_document(request); !body)
      return http::Response::problem(body.error());
    return ended(context.snapshots.cancel(request.parameters.at("name")));
  }, order_route());
  server.add_upload("DELETE", "/api/v1/snapshots/{name}", [&context](http::Request& request) {
    return ended(context.snapshots.remove(request.parameters.at("name")));
  }, order_route());
  server.add("GET", "/api/v1/snapshots",
             [&context](http::Request& request) { return list(request, context); });
  server.add("GET", "/api/v1/snapshots/{name}", [&context](http::Request& request) {
    const auto snapshot = context.snapshots.show(request.parameters.at("name"));
    if (!snapshot) return http::Response::problem(snapshot.error());
    return http::Response::json(archive::snapshot_to_text(*snapshot, archive::NodeDetail::full));
  });
  server.add("POST", "/api/v1/snapshots/{name}/verify", [&context](http::Request& request) {
    const std::string& name = request.parameters.at("name");
    if (!context.library.contains(name)) {
      const auto known = context.snapshots.show(name);
      if (known)
        return http::Response::problem(
            {ErrorKind::conflict, fmt::format("snapshot {} is not finished", name)});
      return http::Response::problem(known.error());
    }
    const auto id = context.verifications.start(name, context.paths.archive(name));
    if (!id) return http::Response::problem(id.error());
    return http::Response::json(to_text({{"job", *id}}), 202);
  });
  server.add("GET", "/api/v1/jobs/{id}", [&context](http::Request& request) {
    const auto job = context.verifications.find(request.parameters.at("id"));
    if (!job) return http::Response::problem(job.error());
    return http::Response::json(to_text(*job));
  });
  server.add("GET", "/api/v1/events", [&context](http::Request&) {
    http::Response response;
    response.content_type = "text/event-stream";
    response.pool = http::StreamPool::feeds;
    response.stream = [&context](const http::BodyWriter& write) { return feed(write, context); };
    return response;
  });
}

}  // namespace lookback::hub
