#pragma once
// The hub's HTTP API: a table of routes for each file. man/lookback-api.5 tells of every one.

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "disk_budget.hpp"
#include "event_feed.hpp"
#include "export_log.hpp"
#include "jobs.hpp"
#include "library.hpp"
#include "lookback/http/route.hpp"
#include "node_registry.hpp"
#include "snapshot_service.hpp"

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
  Jobs& jobs;
  ExportLog& exports;
  EventFeed& events;
  HubCounters& counters;
  http::Server& server;
  std::atomic<unsigned> running_exports{0};
  std::atomic<bool> stopping{false};
};

using ApiRoute = http::Route<ApiContext>;
using ApiTable = std::span<const ApiRoute>;

[[nodiscard]] ApiTable status_routes();
[[nodiscard]] ApiTable node_routes();
[[nodiscard]] ApiTable snapshot_routes();
[[nodiscard]] ApiTable archive_routes();
[[nodiscard]] ApiTable export_routes();
[[nodiscard]] ApiTable job_routes();
[[nodiscard]] ApiTable event_routes();
/// All of them.
[[nodiscard]] inline std::array<ApiTable, 7> api_tables() {
  return {status_routes(), node_routes(), snapshot_routes(), archive_routes(), export_routes(), job_routes(), event_routes()};
}

/// Hub time when a request came in: what it waited for a worker does not count.
[[nodiscard]] int64_t arrival_ns(const http::Request& request, const Clock& clock);
/// The most bytes of a body where none is needed.
inline constexpr uint64_t kMaxEmptyBytes = 4 << 10;
/// The body of a route that runs as an order, which has limited it.
[[nodiscard]] Result<std::string> read_document(http::Request& request);
[[nodiscard]] http::Response no_content();
/// The outcome as a response: 204 or a problem.
[[nodiscard]] http::Response answer(const Result<>& result);
[[nodiscard]] std::string status_document(const ApiContext& context);

}  // namespace lookback::hub
