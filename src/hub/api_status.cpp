// Health, status and metrics (Prometheus text format 0.0.4).
#include <iterator>

#include "api.hpp"
#include "json_text.hpp"
#include "lookback/base/version.hpp"

namespace lookback::hub {

namespace {

struct NodeCounts {
  size_t up = 0, late = 0, lost = 0;
  [[nodiscard]] size_t all() const { return up + late + lost; }
};

NodeCounts count_nodes(const ApiContext& context) {
  NodeCounts counts;
  for (const NodeInfo& node : context.nodes.nodes()) {
    switch (node.state) {
      case NodeState::up:
        ++counts.up;
        break;
      case NodeState::late:
        ++counts.late;
        break;
      case NodeState::lost:
        ++counts.lost;
        break;
    }
  }
  return counts;
}

class Metrics {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    fmt::format_to(std::back_inserter(text_), "# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
  }
  template <class T>
  void value(std::string_view name, T value, std::string_view labels = {}) {
    fmt::format_to(std::back_inserter(text_), "{}{}{}{} {}\n", name, labels.empty() ? "" : "{",
                   labels, labels.empty() ? "" : "}", value);
  }
  template <class T>
  void single(std::string_view name, std::string_view type, std::string_view help, T number) {
    family(name, type, help);
    value(name, number);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string metrics_text(const ApiContext& context) {
  Metrics m;
  const NodeCounts nodes = count_nodes(context);
  m.family("lookback_hub_nodes", "gauge", "Nodes by state.");
  m.value("lookback_hub_nodes", nodes.up, "state=\"up\"");
  m.value("lookback_hub_nodes", nodes.late, "state=\"late\"");
  m.value("lookback_hub_nodes", nodes.lost, "state=\"lost\"");
  m.single("lookback_hub_heartbeats_total", "counter", "Heartbeats taken or refused.",
           context.nodes.heartbeats());
  m.family("lookback_hub_snapshots", "gauge", "Snapshots by state.");
  for (const auto& [state, count] : context.snapshots.counts())
    m.value("lookback_hub_snapshots", count, fmt::format("state=\"{}\"", state));
  m.single("lookback_hub_snapshots_completed_total", "counter",
           "Snapshots completed since the start.", context.counters.snapshots_completed.load());
  m.single("lookback_hub_snapshots_failed_total", "counter", "Snapshots failed since the start.",
           context.counters.snapshots_failed.load());
  m.single("lookback_hub_members_stored_total", "counter", "Members taken from nodes.",
           context.counters.members_stored.load());
  m.single("lookback_hub_members_dropped_total", "counter",
           "Members left out because they were damaged.", context.counters.members_dropped.load());
  m.single("lookback_hub_member_bytes_total", "counter", "Compressed bytes of members taken.",
           context.counters.member_bytes.load());
  m.single("lookback_hub_exports_running", "gauge", "Exports under way.",
           context.running_exports.load());
  const auto disk = disk_space(context.paths.root);
  m.single("lookback_hub_disk_total_bytes", "gauge", "Size of the data directory's file system.",
           disk ? disk->total_bytes : 0);
  m.single("lookback_hub_disk_available_bytes", "gauge", "What is available there.",
           disk ? disk->available_bytes : 0);
  m.single("lookback_hub_snapshot_bytes", "gauge",
           "Bytes that snapshots hold, unfinished ones included.", context.budget.used_bytes());
  m.single("lookback_hub_snapshot_quota_bytes", "gauge", "What they may hold; 0 stands for no limit.",
           context.budget.quota_bytes());
  const http::ServerStats http = context.server.stats();
  m.single("lookback_http_connections_total", "counter", "Connections accepted.", http.connections);
  m.single("lookback_http_requests_total", "counter", "Requests read.", http.requests);
  m.single("lookback_http_open_connections", "gauge", "Connections open.", http.open_connections);
  m.single("lookback_http_open_streams", "gauge", "Streamed responses and uploads under way.",
           http.open_streams);
  m.single("lookback_http_timeouts_total", "counter", "Connections dropped by a time-out.",
           http.timeouts);
  m.single("lookback_http_refused_total", "counter", "Requests answered 503 for lack of a slot.",
           http.refused);
  m.single("lookback_http_evicted_total", "counter", "Idle connections that made room for others.",
           http.evicted);
  m.family("lookback_build_info", "gauge", "The version, as a label.");
  m.value("lookback_build_info", 1, fmt::format("version=\"{}\"", version()));
  return m.take();
}

}  // namespace

std::string status_document(const ApiContext& context) {
  const NodeCounts nodes = count_nodes(context);
  const auto snapshots = context.snapshots.counts();
  const auto disk = disk_space(context.paths.root);
  return to_text({{"version", version()},
                  {"hub_id", context.hub_id},
                  {"nodes", nodes.all()},
                  {"nodes_up", nodes.up},
                  {"nodes_late", nodes.late},
                  {"nodes_lost", nodes.lost},
                  {"snapshots", snapshots.at("in_progress") + snapshots.at("completed") +
                                    snapshots.at("failed")},
                  {"snapshots_in_progress", snapshots.at("in_progress")},
                  {"snapshots_failed", snapshots.at("failed")},
                  {"disk",
                   {{"total_bytes", disk ? disk->total_bytes : 0},
                    {"available_bytes", disk ? disk->available_bytes : 0},
                    {"used_bytes", context.budget.used_bytes()},
                    {"quota_bytes", context.budget.quota_bytes()}}}});
}

namespace {

http::Response ok(http::Request& /*request*/, ApiContext& /*context*/) {
  return http::Response::text("ok\n");
}

http::Response status(http::Request& /*request*/, ApiContext& context) {
  return http::Response::json(status_document(context));
}

http::Response metrics(http::Request& /*request*/, ApiContext& context) {
  http::Response response = http::Response::text(metrics_text(context));
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

using http::Role, http::RunsOn;

const ApiRoute kStatusRoutes[] = {
    {"GET", "/healthz", Role::anyone, RunsOn::worker, "Tells whether the process answers.", ok},
    // Nothing is served before everything is ready.
    {"GET", "/readyz", Role::anyone, RunsOn::worker, "Tells whether the hub is ready.", ok},
    {"GET", "/metrics", Role::client, RunsOn::worker, "Metrics for Prometheus.", metrics},
    {"GET", "/api/v1/status", Role::client, RunsOn::worker, "Tells how the hub is.", status},
};

}  // namespace

ApiTable status_routes() {
  return kStatusRoutes;
}

}  // namespace lookback::hub
