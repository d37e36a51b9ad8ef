// Orders, lists, cancelling and deleting.
#include <charconv>

#include "api.hpp"
#include "json_text.hpp"

namespace lookback::hub {

namespace {

/// Of an order's body: a name for each of the nodes that a hub may know, and tags.
constexpr uint64_t kMaxOrderBytes = 2 << 20;
constexpr uint64_t kPage = 500, kMostPage = 5'000;  // snapshots of a list at a time

http::Response create_snapshot(http::Request& request, ApiContext& context) {
  const int64_t now_ns = arrival_ns(request, context.clock);
  const auto body = read_document(request);
  if (!body) return http::Response::problem(body.error());
  const auto order = SnapshotOrder::parse(*body);
  if (!order) return http::Response::problem(order.error());
  auto created = context.snapshots.create(*order, now_ns);
  if (created) return http::Response::json(archive::snapshot_to_text(*created, archive::NodeDetail::full), 202);
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

http::Response list_snapshots(http::Request& request, ApiContext& context) {
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

http::Response show_snapshot(http::Request& request, ApiContext& context) {
  const auto snapshot = context.snapshots.show(request.parameters.at("name"));
  if (!snapshot) return http::Response::problem(snapshot.error());
  return http::Response::json(archive::snapshot_to_text(*snapshot, archive::NodeDetail::full));
}

http::Response cancel_snapshot(http::Request& request, ApiContext& context) {
  if (const auto body = read_document(request); !body) return http::Response::problem(body.error());
  return ended(context.snapshots.cancel(request.parameters.at("name")));
}

http::Response delete_snapshot(http::Request& request, ApiContext& context) {
  return ended(context.snapshots.remove(request.parameters.at("name")));
}

using http::Role, http::RunsOn;

const ApiRoute kSnapshotRoutes[] = {
    {"GET", "/api/v1/snapshots", Role::client, RunsOn::worker, "Lists the snapshots, by name.", list_snapshots},
    {"GET", "/api/v1/snapshots/{name}", Role::client, RunsOn::worker, "Shows a snapshot.", show_snapshot},
    // An order waits for nodes; cancelling and deleting may wait for the snapshot's job.
    {"POST", "/api/v1/snapshots", Role::client, RunsOn::order, "Orders a snapshot.", create_snapshot, {.max_body_bytes = kMaxOrderBytes}},
    {"POST", "/api/v1/snapshots/{name}/cancel", Role::client, RunsOn::order, "Cancels a snapshot that is being made.", cancel_snapshot,
     {.max_body_bytes = kMaxEmptyBytes}},
    {"DELETE", "/api/v1/snapshots/{name}", Role::client, RunsOn::order, "Deletes a snapshot.", delete_snapshot, {.max_body_bytes = kMaxEmptyBytes}},
};

}  // namespace

ApiTable snapshot_routes() {
  return kSnapshotRoutes;
}

}  // namespace lookback::hub
