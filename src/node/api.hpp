#pragma once
// The HTTP API of the capture daemon as a table; each handler is a thin shell around a call. man/lookback-api.5 tells of every route.

#include <functional>
#include <string>

#include "lookback/http/route.hpp"
#include "node/documents.hpp"
#include "node/freeze_service.hpp"
#include "node/member_pool.hpp"
#include "node/memory_budget.hpp"

namespace lookback::node {

struct ApiParts {
  FreezeService* freezes = nullptr;
  MemberPool* pool = nullptr;
  MemoryBudget* memory = nullptr;
  /// How much of the gaps' list is wanted goes with it: it may be long.
  std::function<DaemonState()> state;
  /// Who asks for freezes or members: address and port.
  std::function<void(const std::string&, uint16_t)> on_caller;
  /// What was left out of the recording at any time of a window.
  std::function<std::vector<ExcludedInterval>(TimeWindow)> excluded;
};

using ApiRoute = http::Route<const ApiParts>;

[[nodiscard]] std::span<const ApiRoute> api_routes();

}  // namespace lookback::node
