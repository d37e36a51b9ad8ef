#pragma once
// The hub's HTTP API. Each mount_… adds the routes of one file.

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "disk_budget.hpp"
#include "event_feed.hpp"
#include "export_log.hpp"
#include "library.hpp"
#include "lookback/http/server.hpp"
#include "node_registry.hpp"
#include "snapshot_service.hpp"
#include "verify_jobs.hpp"

namespace lookback::hub {

/// What the routes work on; outlives the server.
struct ApiContext {
  HubPaths paths;
  std::string hub_id;
  const Clock& clock;
  NodeRegistry& nodes;
  Library& library;
  DiskBudget& budget;
  SnapshotService& snapshots;
  VerifyJobs& verifications;
  ExportLog& exports;
  EventFeed& events;
  HubCounters& counters;
  http::Server& server;
  std::atomic<unsigned> running_exports{0};
  std::atomic<bool> stopping{false};
};

void mount_node_routes(http::Server& server, ApiContext& context);
void mount_snapshot_routes(http::Server& server, ApiContext& context);
void mount_archive_routes(http::Server& server, ApiContext& context);
void mount_export_routes(http::Server& server, ApiContext& context);
void mount_status_routes(http::Server& server, ApiContext& context);

/// Hub time when a request came in: what it waited for a worker does not count.
[[nodiscard]] int64_t arrival_ns(const http::Request& request, const Clock& clock);
/// Of an order's body: a name for each of the nodes that a hub may know, and tags.
inline constexpr uint64_t kMaxOrderBytes = 2 << 20;
/// Upload routes that take a small document, or none, and wait for something.
[[nodiscard]] inline http::RouteOptions order_route(uint64_t max_body_bytes = 4 << 10) {
  return {.max_body_bytes = max_body_bytes, .pool = http::StreamPool::orders};
}
/// The body of such a route, which has limited it.
[[nodiscard]] Result<std::string> read_document(http::Request& request);
[[nodiscard]] http::Response no_content();
/// The outcome as a response: 204 or a problem.
[[nodiscard]] http::Response answer(const Result<>& result);
[[nodiscard]] std::string status_document(const ApiContext& context);

}  // namespace lookback::hub
